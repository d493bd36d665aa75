from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lesiondash.errors import TrainingError
from lesiondash.images.collection import collect_crops
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.dataset import (
    TrainingCrops,
    _overlap,
    _patches,
    labelled_crops,
    responses_of,
    steps_of_epochs,
    training_crops,
    training_lesions,
)
from lesiondash.learning.settings import PretrainSettings
from lesiondash.records import Box, Lesion


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


def lesion_at(x: float, y: float, side: float, *, slice_index: int = 10, series: str = "s") -> Lesion:
    """A lesion in pixels of 1 mm, on slices 5 mm apart."""
    box = Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    name = f"{series}-{x}-{y}-{slice_index}"
    return Lesion(
        name, "p", "st", series, slice_index, box, "liver", "train", (side, side), (5.0, 1.0, 1.0), (0, 0, 0), (0, 20),
        Path(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("other", "slices", "met"),
    [
        (lesion_at(300, 200, 100), 1, True),  # a large one on the same slice
        (lesion_at(300, 200, 30, slice_index=12), 1, True),  # 10 mm away, 15 mm of reach
        (lesion_at(300, 200, 30, slice_index=14), 1, False),
        (lesion_at(300, 200, 30, slice_index=14), 3, True),  # on the patch's own outer slice
        (lesion_at(300, 200, 100, series="another"), 1, False),
    ],
)
def test_patches_keep_off_every_lesion_of_their_series(other: Lesion, slices: int, met: bool) -> None:
    body = np.full((400, 600), -1000, np.int16)
    body[180:220, 180:320] = 40  # a strip in which every patch is near the one lesion or the other
    first = lesion_at(200, 200, 20)
    collection: Any = SimpleNamespace(lesions=(first, other), slice_hu=lambda series, index: body)
    patches = _patches(collection, [first], slices)
    half = 50 * 1.5 / 2
    gaps = [abs(patch.box.center[0] - 200) - half - 10 for patch in patches]
    assert len(patches) == (not met)
    assert all(gap >= 0 for gap in gaps)


def test_a_patch_is_parted_along_one_axis() -> None:
    half = np.array([37.5, 37.5])
    box = Box(0, 0, 100, 100)
    assert _overlap(101, 50, half, box)  # 51 mm from its centre
    assert not _overlap(138, 50, half, box)
    assert not _overlap(50, 138, half, box)
