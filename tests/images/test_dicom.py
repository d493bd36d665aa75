from __future__ import annotations

import json
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ct_files import SECRET, SERIES_UID, SHARED, ct_dataset, enhanced_ct, write_ct, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lesiondash.errors import ScanError
from lesiondash.images.dicom import load_dicom, read_dicom, series_uid_hash

REAL = SHARED / "dicom"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real DICOM files of ../shared/data are not here")
EXPECTED: dict[str, dict[str, Any]] = (
    json.loads((REAL / "expected.json").read_text()) if (REAL / "expected.json").is_file() else {}
)
READABLE = [
    name
    for name, facts in EXPECTED.items()
    if "shape" in facts or "Process" in name  # the latter gdcm decodes alone
]


def only(reading: Any) -> Any:
    assert len(reading.series) == 1
    return reading.series[0]


def test_a_slice_is_rescaled_to_hu(tmp_path: Path) -> None:
    stored = np.arange(24).reshape(4, 6)
    series = only(load_dicom(write_ct(tmp_path / "a.dcm", stored, RescaleSlope=2.0, RescaleIntercept=-10.0)))
    assert series.hu.dtype == np.int16
    np.testing.assert_array_equal(series.hu[0], 2 * stored - 10)
    assert series.spacing_mm == (3.0, 2.0, 0.5)
    assert series.description == "CT, 1 slice, 2.00 × 0.50 × 3 mm"
    assert series.uid == series_uid_hash(SERIES_UID)


def test_hu_that_are_not_whole_or_do_not_fit_are_float(tmp_path: Path) -> None:
    stored = np.array([[1, 2], [3, 4]])
    half = only(load_dicom(write_ct(tmp_path / "half.dcm", stored, RescaleSlope=0.5, RescaleIntercept=0.0)))
    assert half.hu.dtype == np.float32
    np.testing.assert_allclose(half.hu[0], stored / 2)
    large = only(load_dicom(write_ct(tmp_path / "large.dcm", stored, RescaleSlope=20000.0, RescaleIntercept=0.0)))
    np.testing.assert_allclose(large.hu[0], stored * 20000.0)


def test_slices_are_sorted_by_position_whatever_their_names(tmp_path: Path) -> None:
    paths = write_series(tmp_path, [10.0, -5.0, 5.0, 0.0])
    expected = only(load_dicom(tmp_path))
    assert expected.positions_mm == (-5.0, 0.0, 5.0, 10.0)
    np.testing.assert_array_equal(expected.hu[:, 0, 0], [-5, 0, 5, 10])
    for seed in range(3):
        shuffled = random.Random(seed).sample(paths, len(paths))
        series = only(load_dicom(shuffled))
        np.testing.assert_array_equal(series.hu, expected.hu)
        assert (series.uid, series.spacing_mm) == (expected.uid, expected.spacing_mm)


def test_positions_follow_the_normal_of_oblique_slices(tmp_path: Path) -> None:
    angle = np.radians(30)
    normal = np.array([0, -np.sin(angle), np.cos(angle)])
    for number, step in enumerate([4.0, 0.0, 2.0], start=1):
        write_ct(
            tmp_path / f"{number}.dcm",
            np.full((4, 6), int(step)),
            number=number,
            ImageOrientationPatient=[1, 0, 0, 0, round(np.cos(angle), 7), round(np.sin(angle), 7)],
            ImagePositionPatient=[round(float(value), 5) for value in step * normal],
        )
    series = only(load_dicom(tmp_path))
    np.testing.assert_allclose(series.positions_mm, [0, 2, 4], atol=1e-4)
    assert series.spacing_mm[0] == pytest.approx(2, abs=1e-4)
    assert not any("tilt" in note for note in series.notes)


def test_what_is_unusual_is_said(tmp_path: Path) -> None:
    def notes(name: str, positions: list[float], **changes: Any) -> str:
        write_series(tmp_path / name, positions, **changes)
        return " ".join(only(load_dicom(tmp_path / name)).notes)

    assert notes("plain", [0.0, 2.0, 4.0, 6.0]) == ""
    assert "Slices may be missing at 1 of 3 steps" in notes("gap", [0.0, 2.0, 4.0, 8.0])
    assert "share their position" in notes("twice", [0.0, 2.0, 2.0, 4.0])
    assert "tilted by 12.0°" in notes("tilted", [0.0, 2.0], GantryDetectorTilt=12.0)
    assert "taken as HU" in notes("raw", [0.0, 2.0], RescaleSlope=None, RescaleIntercept=None)
    assert "no pixel spacing" in notes("unscaled", [0.0, 2.0], PixelSpacing=None)
    assert "no positions" in notes("unplaced", [0.0, 2.0], ImagePositionPatient=None)
    assert "no slice distance" in notes("flat", [0.0], SliceThickness=None)
    assert "coronal" in notes("coronal", [0.0], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])


def test_a_sheared_stack_is_recognised_by_its_geometry(tmp_path: Path) -> None:
    for number in range(4):
        position = [0.0, 2.0 * number * float(np.tan(np.radians(20))), 2.0 * number]
        write_ct(tmp_path / f"{number}.dcm", np.zeros((4, 6)), number=number, ImagePositionPatient=position)
    series = only(load_dicom(tmp_path))
    assert any("tilted by 20.0°" in note and "sheared" in note for note in series.notes)
    assert series.spacing_mm[0] == pytest.approx(2)


def test_slices_without_position_follow_their_instance_number(tmp_path: Path) -> None:
    for number, name in ((2, "a"), (1, "b"), (3, "c")):
        stored = np.full((4, 6), number + 1024)
        write_ct(tmp_path / f"{name}.dcm", stored, number=number, ImagePositionPatient=None)
    series = only(load_dicom(tmp_path))
    np.testing.assert_array_equal(series.hu[:, 0, 0], [1, 2, 3])
    assert series.positions_mm == (0.0, 3.0, 6.0)


def test_padding_becomes_air_even_when_its_sign_is_wrong(tmp_path: Path) -> None:
    stored = np.array([[-2000, 0], [-1999, 5]])
    dataset = ct_dataset(stored)
    dataset.add_new(0x00280120, "US", 63536)  # the bits of −2000
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    series = only(load_dicom(tmp_path / "a.dcm"))
    np.testing.assert_array_equal(series.hu[0], [[-1024, -1024], [-3023, -1019]])


def test_a_padding_range_is_air(tmp_path: Path) -> None:
    stored = np.array([[-2000, -1990], [-1980, 5]])
    path = write_ct(tmp_path / "a.dcm", stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1985)
    np.testing.assert_array_equal(only(load_dicom(path)).hu[0], [[-1024, -1024], [-3004, -1019]])


def test_a_modality_lookup_table_is_applied(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [3, 0, 16]
    table.ModalityLUTType = "HU"
    table.LUTData = np.array([100, 200, 700], dtype="<u2").tobytes()
    stored = np.array([[0, 1], [2, 9]])
    path = write_ct(
        tmp_path / "a.dcm",
        stored,
        RescaleSlope=None,
        RescaleIntercept=None,
        PixelRepresentation=0,
        ModalityLUTSequence=Sequence([table]),
    )
    np.testing.assert_array_equal(only(load_dicom(path)).hu[0], [[100, 200], [700, 700]])


def test_a_multi_frame_file_places_and_rescales_each_frame(tmp_path: Path) -> None:
    stored = np.stack([np.full((4, 6), 100), np.full((4, 6), 50)])
    path = tmp_path / "enhanced.dcm"
    enhanced_ct(stored, [7.0, 2.0], [1.0, 2.0]).save_as(path, enforce_file_format=True)
    series = only(load_dicom(path))
    assert series.positions_mm == (2.0, 7.0)
    assert series.spacing_mm == (5.0, 2.0, 0.5)
    np.testing.assert_array_equal(series.hu[:, 0, 0], [2 * 50 - 1000, 100 - 1000])


def test_series_are_kept_apart_and_a_mixed_one_is_split(tmp_path: Path) -> None:
    write_series(tmp_path / "one", [0.0, 1.0, 2.0])
    write_series(tmp_path / "other", [0.0, 1.0], SeriesInstanceUID="1.2.3")
    write_ct(tmp_path / "one" / "wide.dcm", np.zeros((4, 8)), 3.0, 9)
    reading = load_dicom(tmp_path)
    assert [series.hu.shape for series in reading.series] == [(3, 4, 6), (2, 4, 6), (1, 4, 8)]
    assert len({series.uid for series in reading.series}) == 3
    assert reading.series[0].uid == series_uid_hash(SERIES_UID)
    assert "split into 2" in reading.series[2].notes[0]


def test_a_file_given_twice_counts_once(tmp_path: Path) -> None:
    first, second = write_series(tmp_path, [0.0, 1.0])
    shutil.copy(first, tmp_path / "copy.dcm")
    series = only(load_dicom(tmp_path))
    assert len(series) == 2
    assert series.notes == ("Copies of the same slice were left out: 1.",)
    assert len(only(load_dicom([first, second, first]))) == 2


def test_a_zip_reads_as_its_folder_does(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "scan", [0.0, 1.0, 2.0])
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, f"deep/er/{path.name}")
        archive.writestr("__MACOSX/._1.dcm", b"clutter")
        archive.writestr("deep/notes.txt", b"not an image, though it is quite long for a text" * 4)
    zipped, plain = load_dicom(tmp_path / "scan.zip"), load_dicom(tmp_path / "scan")
    np.testing.assert_array_equal(only(zipped).hu, only(plain).hu)
    assert only(zipped).uid == only(plain).uid
    assert [item.name for item in zipped.rejected] == ["notes.txt"]


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    dataset = ct_dataset(np.full((4, 6), 1024))
    whole = tmp_path / "whole.dcm"
    dataset.save_as(whole, enforce_file_format=True)
    bare = tmp_path / "bare"
    head = whole.read_bytes().index(b"\x08\x00\x08\x00")  # ImageType, the first element after the meta information
    bare.write_bytes(whole.read_bytes()[head:])
    assert not only(load_dicom(bare)).hu.any()


def test_nothing_of_the_person_is_kept(tmp_path: Path) -> None:
    write_series(tmp_path, [0.0, 1.0])
    text = repr(load_dicom(tmp_path)) + repr(read_dicom(tmp_path))
    assert SECRET not in text
    assert SERIES_UID not in text


@real
@pytest.mark.parametrize("name", READABLE)
def test_real_files_decode_to_the_expected_values(name: str) -> None:
    facts = EXPECTED[name]
    series = only(load_dicom(REAL / name))
    assert series.modality == facts["mod"]
    assert (series.unit == "HU") == (facts["mod"] == "CT" and facts["nf"] != 2)  # those two frames are of blood flow
    if "shape" not in facts:  # pydicom's plugins did not decode it, gdcm does
        assert series.hu.shape == (1, facts["rows"], facts["cols"])
        return
    in_colour = facts["shape"][-1] == 3
    assert series.hu.shape == (1, *facts["shape"][: 2 if in_colour else 3])[-3:]
    if in_colour:
        return
    slope, intercept = (float(facts[key]) if facts[key] != "None" else 0 for key in ("slope", "icpt"))
    if not slope:
        slope, intercept = 1, -1024 if facts["mod"] == "CT" and facts["rows"] == 512 else 0  # in the frames' own groups
    lossy = 2 * slope if facts["ts"].endswith(".51") else 0.01  # 12-bit JPEG: decoders round each in its own way
    assert series.hu.max() == pytest.approx(slope * facts["max"] + intercept, abs=lossy)
    lowest = slope * facts["min"] + intercept
    assert series.hu.min() == pytest.approx(lowest, abs=lossy) or series.hu.min() == -1024
    if facts["px"] != "None":
        assert series.spacing_mm[1:] == pytest.approx(json.loads(facts["px"]))


@real
@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in READABLE])
def test_real_files_that_are_not_readable_say_why(name: str) -> None:
    with pytest.raises(ScanError) as caught:
        load_dicom(REAL / name)
    text = str(caught.value)
    assert text.startswith(Path(name).name)
    assert "\n" not in text
    assert len(text) < 250
    assert "make no sense" not in text, "it has a reason of its own"


@real
def test_every_real_file_is_either_read_or_refused() -> None:
    assert len(EXPECTED) == 88
    reading = load_dicom(REAL)
    slices = sum(len(series) for series in reading.series)
    assert slices + len(reading.rejected) > 88  # frames count each
    assert {Path(name).name for name in EXPECTED if name not in READABLE} <= {item.name for item in reading.rejected}


@real
def test_retired_jpeg_of_twelve_bits_is_decoded_too() -> None:
    folder = REAL / "transfer_syntaxes"
    (sequential,) = folder.glob("*Process2_4*")
    reference = only(load_dicom(sequential)).hu
    for kind in ("Process6_8", "Process10_12"):
        (path,) = folder.glob(f"*{kind}*")
        assert np.abs(only(load_dicom(path)).hu - reference).max() <= 3 * 2.0002442  # other rounding, same picture


@real
def test_lossless_transfer_syntaxes_agree_to_the_pixel() -> None:
    folder = REAL / "transfer_syntaxes"
    reference = only(load_dicom(folder / "CTImage.dcm"))
    for kind in (
        "BigEndian",
        "Deflated",
        "JPEG2000LosslessOnly",
        "JPEGLSLossless",
        "JPEGProcess14SV1",
        "RLE",
    ):
        (path,) = folder.glob(f"CTImage_{kind}*")
        np.testing.assert_array_equal(only(load_dicom(path)).hu, reference.hu)


@real
def test_the_tilted_head_is_ordered_and_said_to_be_uneven() -> None:
    series = only(load_dicom(REAL / "ge_head_gantry_tilt_28"))
    origins = [EXPECTED[f"ge_head_gantry_tilt_28/{number:02d}.dcm"]["ipp"] for number in range(1, 29)]
    assert len(series) == 28
    assert np.all(np.diff(series.positions_mm) > 0)
    travel = np.diff(np.array(origins)[:, 2]) * np.cos(np.radians(18.5))
    np.testing.assert_allclose(np.diff(series.positions_mm), travel, rtol=1e-3)
    assert any("18.5°" in note for note in series.notes)
    assert any("uneven" in note for note in series.notes)


@real
def test_the_multi_frame_twin_equals_its_single_frame_series() -> None:
    twin = only(load_dicom(REAL / "enhanced_ct" / "tiny_24x38x3_mf.dcm"))
    plain = only(load_dicom(REAL / "tiny_series_24x38x3"))
    np.testing.assert_array_equal(twin.hu, plain.hu)
    assert twin.spacing_mm == pytest.approx(plain.spacing_mm)
    assert twin.positions_mm == pytest.approx(plain.positions_mm)
