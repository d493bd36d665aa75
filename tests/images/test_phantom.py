"""The generated collection: same seed same bytes, DeepLesion's form, anatomy in plausible HU, lesions that recur."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesiondash.errors import CollectionError
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.images.dicom import load_dicom, series_uid_hash
from lesiondash.images.phantom import PhantomSettings, generate
from lesiondash.images.phantom_files import COLUMNS
from lesiondash.images.phantom_lesions import cover
from lesiondash.images.phantom_study import make_studies, measure
from lesiondash.records import LESION_TYPES

SMALL = PhantomSettings(patients=14, seed=3, image_px=128, dicom_patients=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantom") / "demo"
    generate(root, SMALL, workers=1)
    return root


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_bytes_with_any_number_of_workers(root: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", SMALL, workers=2)
    assert digest(tmp_path / "again") == digest(root)


def test_another_seed_is_another_collection(root: Path, tmp_path: Path) -> None:
    generate(tmp_path / "other", PhantomSettings(patients=2, seed=4, image_px=64, dicom_patients=0), workers=1)
    assert digest(tmp_path / "other")["DL_info.csv"] != digest(root)["DL_info.csv"]


def test_table_has_deeplesions_form(root: Path) -> None:
    with (root / "DL_info.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert len(COLUMNS) == 18
    assert {row["Train_Val_Test"] for row in rows} == {"1", "2", "3"}
    assert all(1 <= int(row["Coarse_lesion_type"]) <= 8 for row in rows)
    for row in rows:
        x0, y0, x1, y1 = map(float, row["Bounding_boxes"].split(","))
        axes = np.array(list(map(float, row["Measurement_coordinates"].split(",")))).reshape(4, 2)
        assert (axes >= [x0, y0]).all()
        assert (axes <= [x1, y1]).all()
        long_px, short_px = map(float, row["Lesion_diameters_Pixel_"].split(","))
        assert long_px == pytest.approx(float(np.linalg.norm(axes[1] - axes[0])), rel=1e-3)
        assert short_px <= long_px


def test_the_loader_of_the_real_set_reads_all_of_it(root: Path) -> None:
    collection = DeepLesion(root)
    assert collection.problems == ()
    patients = Counter(lesion.patient_id for lesion in collection.lesions)
    assert len(patients) == SMALL.patients
    splits = {lesion.patient_id: lesion.split for lesion in collection.lesions}
    assert all(splits[lesion.patient_id] == lesion.split for lesion in collection.lesions)
    for lesion in collection.lesions:
        assert len(collection.slice_indices(lesion.series_id)) >= 3
        low, high = lesion.slice_range
        assert low <= lesion.slice_index <= high


def test_lesions_recur_in_every_second_patient(root: Path) -> None:
    collection = DeepLesion(root)
    studies = {lesion.patient_id: set() for lesion in collection.lesions}
    for lesion in collection.lesions:
        studies[lesion.patient_id].add(lesion.study_id)
    assert sum(len(found) == 2 for found in studies.values()) == SMALL.patients // 2
    first = {
        (item.patient_id, item.type, round(item.normalized_location[2], 3))
        for item in collection.lesions
        if item.study_id.endswith("_01")
    }
    second = [item for item in collection.lesions if item.study_id.endswith("_02")]
    again = [(item.patient_id, item.type, round(item.normalized_location[2], 3)) in first for item in second]
    assert np.mean(again) > 0.9


def test_hu_are_those_of_a_body() -> None:
    study = make_studies(0, 2, 128)[0]
    chest = study.render(study.slice_of(520))
    belly = study.render(study.slice_of(250))
    assert chest[:4, :4].mean() < -980
    lung = ((chest > -905) & (chest < -780)).mean()
    assert lung > 3 * ((belly > -905) & (belly < -780)).mean()
    for slice_hu in (chest, belly):
        assert (slice_hu > 400).mean() > 0.001  # bone
        assert ((slice_hu > -130) & (slice_hu < -70)).mean() > 0.02  # fat
        assert ((slice_hu > 20) & (slice_hu < 200)).mean() > 0.05  # muscle and organs


def test_noise_is_correlated_and_new_in_every_slice() -> None:
    study = make_studies(0, 2, 128)[0]
    first, second = study.render(60).astype(float), study.render(61).astype(float)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(study.render(60), first)
    patch = (first - second)[50:70, 50:70]
    grain = patch - patch.mean()
    assert (grain[:, 1:] * grain[:, :-1]).mean() > 0.1 * grain.var()


def test_a_lesion_is_seen_where_it_is_measured() -> None:
    """Painting a patient's lesions changes the box's inside more than the rest of the slice."""
    from dataclasses import replace

    for number in range(1, 9):
        study = make_studies(0, number, 128)[0]
        finding = next((f for g in study.growths if (f := measure(study, g)) is not None), None)
        if finding is None:
            continue
        without = replace(study, growths=())
        change = np.abs(study.render(finding.index).astype(float) - without.render(finding.index))
        x0, y0, x1, y1 = (round(edge) for edge in finding.box)
        assert change[y0:y1, x0:x1].mean() > 5 * change.mean()


def test_lesions_lie_where_their_type_belongs() -> None:
    """Independently of how places are found: the HU that were there before, under what is painted, fit the type."""
    under: dict[int, list[float]] = {code: [] for code in range(1, 9)}
    for number in range(1, 31):
        study = make_studies(0, number, 128)[0]
        for growth in study.growths:
            index = study.slice_of(growth.z)
            if measure(study, growth) is None:
                continue
            anatomy = study.anatomy(index)
            mask = cover(anatomy.canvas, growth, study.height_of(index), anatomy.host(growth.code)) > 0.5
            hu, regions = anatomy.canvas.hu[mask], anatomy.regions
            fits = {
                1: hu > 80,
                3: (hu > -450) & (regions.lung[mask] > 0.5),
                4: regions.liver[mask] > 0.5,
                5: regions.lung[mask] > 0.5,
                7: (regions.lung + regions.abdomen)[mask] < 0.5,
            }.get(growth.code, regions.bone[mask] == 0)
            under[growth.code].append(float(np.mean(fits)))
    for code, shares in under.items():
        assert len(shares) >= 3, code
        assert np.mean(shares) > (0.5 if code == 1 else 0.8), (code, np.round(shares, 2))


def test_manifest_counts(root: Path) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    collection = DeepLesion(root)
    assert manifest["patients"] == len({lesion.patient_id for lesion in collection.lesions})
    assert manifest["series"] == len({lesion.series_id for lesion in collection.lesions})
    assert manifest["slices"] == len(list((root / "Images_png").rglob("*.png")))
    assert manifest["lesions"] == len(collection.lesions)
    assert manifest["dicom_series"] == SMALL.dicom_patients


def test_dicom_cases_match_the_collection(root: Path) -> None:
    collection = DeepLesion(root)
    by_id = {lesion.lesion_id: lesion for lesion in collection.lesions}
    cases = json.loads((root / "cases.json").read_text())
    assert len(cases) == SMALL.dicom_patients
    for case in cases:
        reading = load_dicom(root / case["folder"])
        assert reading.rejected == ()
        (series,) = reading.series
        assert series.uid == series_uid_hash(case["series_instance_uid"])
        assert series.notes == ()
        assert case["type"] in LESION_TYPES
        lesion = by_id[case["lesion_ids"][0]]
        assert lesion.split == "test"
        shown = series.hu[lesion.slice_index - case["first_slice_index"]]
        np.testing.assert_array_equal(shown, collection.slice_hu(lesion.series_id, lesion.slice_index))
        np.testing.assert_allclose(series.spacing_mm, lesion.spacing_mm, rtol=1e-4)


def test_pixels_are_16_bit(root: Path) -> None:
    path = next((root / "Images_png").rglob("*.png"))
    pixels = np.asarray(Image.open(path)).astype(int)
    assert len(np.unique(pixels)) > 300
    assert pixels.min() >= 32768 - 1024


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "demo", SMALL, workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("manifest", [None, "not json", '{"name": "of something else"}'])
def test_a_folder_of_somebody_is_never_replaced(tmp_path: Path, manifest: str | None) -> None:
    (tmp_path / "mine.txt").write_text("a thesis")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(CollectionError, match="not replaced"):
        generate(tmp_path, SMALL, workers=1)
    assert (tmp_path / "mine.txt").read_text() == "a thesis"


def test_an_earlier_collection_or_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    tiny = PhantomSettings(patients=2, seed=4, image_px=64, dicom_patients=0)
    generate(tmp_path, tiny, workers=1)
    first = digest(tmp_path)
    generate(tmp_path, tiny, workers=1)
    assert digest(tmp_path) == first
