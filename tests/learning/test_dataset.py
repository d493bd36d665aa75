from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesiondash.errors import TrainingError
from lesiondash.images.collection import collect_crops
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.dataset import (
    TrainingCrops,
    labelled_crops,
    responses_of,
    steps_of_epochs,
    training_crops,
    training_lesions,
)
from lesiondash.learning.settings import PretrainSettings


@pytest.fixture(scope="module")
def collection(demonstration: Path) -> DeepLesion:
    """The demonstration with every twelfth lesion: enough of each split, quickly cut."""
    found = DeepLesion(demonstration / "demo")
    found.lesions = found.lesions[::12]
    return found


@pytest.fixture(scope="module")
def data(collection: DeepLesion) -> TrainingCrops:
    return training_crops(collection, PretrainSettings(architecture=Architecture(frangi="channel"), background=8))


def test_only_the_training_split_is_learnt_from(collection: DeepLesion, data: TrainingCrops) -> None:
    lesions = training_lesions(collection)
    assert 0 < len(lesions) < len(collection.lesions)
    assert len(data.hu) == 3 * len(lesions)  # each with a slice on both sides
    assert len(np.unique(data.patients)) == len({lesion.patient_id for lesion in lesions})
    assert data.hu.shape[1:] == (1, 96, 96)


def test_crops_of_a_lesion_are_its_own_and_the_slices_beside_it(collection: DeepLesion, data: TrainingCrops) -> None:
    lesions = training_lesions(collection)
    own = collect_crops(collection, lesions, size_px=96, margin=1.5)
    np.testing.assert_array_equal(data.hu[len(lesions) : 2 * len(lesions), 0], own)
    np.testing.assert_array_equal(np.bincount(data.lesions), np.full(len(lesions), 3))


def test_patches_lie_in_the_body_and_off_the_lesions(data: TrainingCrops) -> None:
    assert data.background is not None
    assert len(data.background) > 10
    centre = data.background[:, 0, 46:50, 46:50].mean(axis=(1, 2))
    assert (centre > -500).mean() > 0.9


def test_the_middle_of_a_wide_crops_response_is_the_crops_own(data: TrainingCrops) -> None:
    architecture = Architecture(frangi="channel")
    wide = data.responses[:20, :, 16:80, 16:80]  # type: ignore[index]
    narrow = responses_of(np.ascontiguousarray(data.hu[:20, :, 16:80, 16:80]), architecture)
    inner = np.s_[:, :, 28:36, 28:36]  # away from the border, which the narrow crop continues by reflection
    difference = np.abs(wide.astype(float) - narrow.astype(float))[inner]
    assert np.median(difference) < 0.02


def test_the_probe_is_of_other_patients(collection: DeepLesion, data: TrainingCrops) -> None:
    assert data.probe is not None
    validation = [lesion for lesion in collection.lesions if lesion.split == "validation"]
    assert len(data.probe.hu) == len(validation)
    assert len(np.unique(data.probe.labels)) == len({lesion.type for lesion in validation})


def test_labels_are_of_the_lesions(collection: DeepLesion) -> None:
    lesions = collection.lesions[:6]
    found = labelled_crops(collection, lesions, Architecture())
    names = sorted({lesion.type for lesion in lesions})
    assert [names[label] for label in found.labels] == [lesion.type for lesion in lesions]


def test_follow_ups_are_one_lesion(collection: DeepLesion) -> None:
    lesions = training_lesions(collection)
    first = lesions[0]
    later = replace(first, lesion_id="later", study_id=first.study_id + "x")
    collection_with = type("", (), {"lesions": (*collection.lesions, later)})()
    settings = PretrainSettings(batch=2)
    with_it, without = (steps_of_epochs(collection_with, replace(settings, follow_ups=f), 1) for f in (True, False))
    assert without == (len(lesions) + 1) // 2
    assert with_it <= without


def test_the_fingerprint_sees_a_changed_pixel_and_another_lesion(data: TrainingCrops) -> None:
    changed = data.hu.copy()
    changed[0, 0, 5, 5] += 1
    assert replace(data, hu=changed).fingerprint != data.fingerprint
    assert replace(data, lesions=data.lesions[::-1].copy()).fingerprint != data.fingerprint
    assert replace(data).fingerprint == data.fingerprint


CROPS = np.zeros((4, 1, 96, 96), np.int16)
NUMBERS = np.arange(4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hu": CROPS[:, 0]}, "n, slices"),
        ({"hu": CROPS.astype(float)}, "int16"),
        ({"patients": NUMBERS[:3]}, "one patient"),
        ({"patients": np.zeros(4, int)}, "two patients"),
        ({"responses": np.zeros((4, 1, 64, 64), np.float16)}, "do not go with"),
        ({"background": np.zeros((4, 1, 64, 64), np.int16)}, "background"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        TrainingCrops(**{"hu": CROPS, "patients": NUMBERS, "lesions": NUMBERS, **values})
