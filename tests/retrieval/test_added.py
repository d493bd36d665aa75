"""Lesions added to a collection: found, kept whole, taken out, and carried over to another encoder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesiondash.errors import BoxError, CollectionError, SearchError
from lesiondash.images.crops import crop
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.paths import encoder_path, gallery_dir
from lesiondash.records import Box, Series
from lesiondash.retrieval.added import REACH_SLICES, AddedLesions
from lesiondash.retrieval.gallery import Gallery

BOX = Box(30, 40, 60, 75)


def scan(slices: int = 60, z_mm: float = 0.7) -> Series:
    rng = np.random.default_rng(3)
    hu = rng.normal(40, 60, (slices, 96, 128)).astype(np.float32)
    return Series("0" * 16, "CT", "CT", hu, (z_mm, 0.8, 0.8), tuple(np.arange(slices) * z_mm))


@pytest.fixture(scope="module")
def encoder(demonstration: Path) -> Any:
    from lesiondash.learning.encoder import Encoder

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONDASH_DATA", str(demonstration))
        return Encoder.load(encoder_path())


@pytest.fixture(scope="module")
def gallery(demonstration: Path) -> Gallery:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONDASH_DATA", str(demonstration))
        root = demonstration / "demo"
        return Gallery.open(DeepLesion(root), gallery_dir(root))


def add(kept: AddedLesions, encoder: Any, **changes: Any) -> Any:
    options = {"type": "liver", "patient_id": "new-1", "study_id": "new-1", **changes}
    return kept.add(scan(), 30, BOX, encoder, **options)


def test_it_is_found_first_by_its_own_vector_and_is_gone_when_removed(
    tmp_path: Path, encoder: Any, gallery: Gallery
) -> None:
    kept = AddedLesions(tmp_path)
    before = gallery.index.search(gallery.vectors[0], k=9)
    added = add(kept, encoder)
    joined = gallery.joined(kept.all())
    query = encoder.embed(crop(scan().hu[30], BOX, spacing_mm=(0.8, 0.8))[None])[0]
    assert joined.index.search(query, k=9)[0].lesion_id == added.lesion.lesion_id
    assert joined.index.search(query, k=9)[0].similarity == pytest.approx(1, abs=1e-3)  # HU were rounded
    row = len(joined.lesions) - 1
    assert joined.lesions[row] == added.lesion
    assert len(joined.crops) == len(joined.vectors) == len(joined.xy) == len(joined.index) == row + 1
    np.testing.assert_array_equal(joined.crops[row], added.crop)
    assert (gallery.xy.min(0) <= joined.xy[row]).all()
    assert (joined.xy[row] <= gallery.xy.max(0)).all()
    assert len(gallery.index) == len(gallery.lesions) == row  # the collection's own is as it was
    kept.remove(added.lesion.lesion_id)
    assert gallery.joined(kept.all()) is gallery
    assert gallery.index.search(gallery.vectors[0], k=9) == before
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CollectionError, match="removed already"):
        kept.remove(added.lesion.lesion_id)


def test_it_is_there_after_a_restart_with_its_slices(tmp_path: Path, encoder: Any) -> None:
    kept = AddedLesions(tmp_path)
    first = add(kept, encoder, diameters_mm=(22.0, 11.0), origin=("0" * 16, "mark"))
    second = add(kept, encoder)
    again = AddedLesions(tmp_path)
    assert [one.lesion.lesion_id for one in again.all()] == [first.lesion.lesion_id, second.lesion.lesion_id]
    found = again.all()[0]
    assert replace(found.lesion, normalized_location=(0, 0, 0)) == replace(first.lesion, normalized_location=(0, 0, 0))
    np.testing.assert_array_equal(found.vector, first.vector)
    np.testing.assert_array_equal(found.crop, first.crop)
    assert again.made_of("0" * 16, "mark") == first.lesion.lesion_id
    assert again.made_of("0" * 16, "other") is None
    lesion = found.lesion
    series = again.series(lesion.series_id, lesion)
    indices = again.slice_indices(lesion.series_id)
    assert len(series) == len(indices) == 2 * REACH_SLICES + 1
    expected = np.rint(scan().hu[30]).astype(np.int16)
    np.testing.assert_array_equal(series.hu[indices.index(30)], expected)
    np.testing.assert_array_equal(again.slice_hu(lesion.series_id, 30), expected)
    assert lesion.diameters_mm == (22, 11)
    assert second.lesion.diameters_mm == pytest.approx((35 * 0.8, 30 * 0.8))


@pytest.mark.parametrize("name", ["lesion.json", "slices.npz", "crop.npy", "embedding.npz"])
def test_a_damaged_one_is_left_out_and_said(tmp_path: Path, encoder: Any, name: str) -> None:
    kept = AddedLesions(tmp_path)
    bad, good = add(kept, encoder), add(kept, encoder)
    path = tmp_path / bad.lesion.lesion_id / name
    if name == "slices.npz":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20])
    again = AddedLesions(tmp_path)
    assert [one.lesion.lesion_id for one in again.all()] == [good.lesion.lesion_id]
    assert bad.lesion.lesion_id in again.problems[0]


@pytest.mark.parametrize("vector", [np.full(512, np.nan), np.zeros(512), np.ones((1, 512)) / 512**0.5])
def test_a_vector_that_is_none_is_left_out(tmp_path: Path, encoder: Any, vector: Any) -> None:
    added = add(AddedLesions(tmp_path), encoder)
    path = tmp_path / added.lesion.lesion_id / "embedding.npz"
    np.savez(path, vector=vector, encoder=np.array(added.encoder))
    again = AddedLesions(tmp_path)
    assert len(again) == 0
    assert again.problems


def test_what_cannot_be_added_leaves_nothing(tmp_path: Path, encoder: Any) -> None:
    kept = AddedLesions(tmp_path / "kept")
    with pytest.raises(BoxError):
        kept.add(scan(), 3, Box(500, 500, 510, 510), encoder, type="liver", patient_id="p", study_id="s")
    assert len(kept) == 0
    assert not (tmp_path / "kept").exists()
    (tmp_path / "kept").write_text("here no folder can be")
    with pytest.raises(CollectionError, match="disk"):
        add(kept, encoder)
    assert len(kept) == 0


def test_another_encoder_embeds_them_anew(tmp_path: Path, encoder: Any, gallery: Gallery) -> None:
    kept = AddedLesions(tmp_path)
    added = add(kept, encoder)
    path = tmp_path / added.lesion.lesion_id / "embedding.npz"
    np.savez(path, vector=np.roll(added.vector, 1), encoder=np.array("an earlier one"))
    again = AddedLesions(tmp_path)
    assert again.of_encoder(encoder.fingerprint) == ()
    with pytest.raises(SearchError, match="encoder"):
        gallery.joined(again.all())
    assert again.embed_anew(encoder) == 1
    assert again.embed_anew(encoder) == 0
    for reopened in (again, AddedLesions(tmp_path)):
        np.testing.assert_allclose(reopened.of_encoder(encoder.fingerprint)[0].vector, added.vector, atol=1e-6)


def test_slices_that_vanish_are_said(tmp_path: Path, encoder: Any) -> None:
    kept = AddedLesions(tmp_path)
    lesion = add(kept, encoder).lesion
    shutil.rmtree(tmp_path / lesion.lesion_id)
    with pytest.raises(CollectionError, match="gone or damaged"):
        kept.series(lesion.series_id)
    kept.remove(lesion.lesion_id)
    assert lesion.lesion_id not in kept
