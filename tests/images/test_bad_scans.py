from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ct_files import SECRET, ct_dataset, write_ct, write_series
from pydicom.uid import RLELossless

from lesiondash.errors import ScanError
from lesiondash.images import dicom_zip
from lesiondash.images.dicom import UnreadableFileWarning, load_dicom, read_dicom
from lesiondash.images.limits import Limits


def complaint(path: Path | list[Path], limits: Limits | None = None) -> str:
    with pytest.raises(ScanError) as caught:
        load_dicom(path, limits=limits)
    text = str(caught.value)
    assert SECRET not in text
    assert str(path) not in text, "no folder of the person's disk belongs in a message"
    return text


def zip_with(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def ct_bytes(z_mm: float = 0.0, number: int = 1, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    ct_dataset(np.zeros((side, side)), z_mm, number).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_an_empty_file_and_a_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "letter.dcm").write_text("Dear colleague, " * 20)
    assert complaint(tmp_path / "empty.dcm").startswith("empty.dcm is empty")
    assert complaint(tmp_path / "letter.dcm").startswith("letter.dcm is not a DICOM file")


def test_a_missing_path_and_an_empty_folder_are_said(tmp_path: Path) -> None:
    assert "nowhere.dcm does not exist" in complaint(tmp_path / "nowhere.dcm")
    assert "holds no series" in complaint(tmp_path)
    assert "No file was given" in complaint([])
    assert "cannot be opened" in complaint(tmp_path / ("long" * 200))
    assert "it is empty" in complaint(zip_with(tmp_path / "empty.zip"))


def test_truncated_pixel_data_is_named(tmp_path: Path) -> None:
    path = write_ct(tmp_path / "cut.dcm", np.zeros((64, 64)))
    path.write_bytes(path.read_bytes()[:-1000])
    assert "cut.dcm is cut short" in complaint(path)


def test_every_truncation_of_a_file_ends_in_a_sentence(tmp_path: Path) -> None:
    whole = ct_bytes()
    path = tmp_path / "cut.dcm"
    for length in range(1, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        assert complaint(path).startswith("cut.dcm ")


@pytest.mark.parametrize("compressed", [False, True])
def test_random_damage_never_escapes_as_another_error(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "noisy.dcm"
    rng = np.random.default_rng(0)
    dataset = ct_dataset(rng.integers(0, 9, (16, 16)))
    if compressed:
        dataset.compress(RLELossless)
    dataset.save_as(path, enforce_file_format=True)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for _ in range(300):
        damaged = whole.copy()
        damaged[rng.integers(132, len(whole), 12)] = rng.integers(0, 256, 12)
        path.write_bytes(damaged.tobytes())
        try:
            text = repr(load_dicom(path))
        except ScanError as error:
            text = str(error)
        assert SECRET not in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Modality": "RTPLAN"}, "radiotherapy plan"),
        ({"Modality": "RTDOSE"}, "radiotherapy dose"),
        ({"Modality": "SEG"}, "segmentation"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"PixelData": None}, "holds no image"),
        ({"Rows": 0}, "does not say how large"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour image"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "ImagePositionPatient": None},
            "picture of a screen",
        ),
    ],
)
def test_what_is_no_ct_slice_has_its_own_reason(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    assert reason in complaint(write_ct(tmp_path / "odd.dcm", np.zeros((4, 6)), **changes))


def test_an_impossibly_large_image_is_not_decoded(tmp_path: Path) -> None:
    path = write_ct(tmp_path / "a.dcm", np.zeros((40, 40)))
    assert "impossibly large" in complaint(path, Limits(max_frame_px=1000))
    assert "LESIONDASH_MAX_VOLUME_BYTES" in complaint(path, Limits(max_volume_bytes=1000))
    assert "LESIONDASH_MAX_FILE_BYTES" in complaint(path, Limits(max_file_bytes=1000))


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    dataset = ct_dataset(np.zeros((4, 6)))
    path = tmp_path / "video.dcm"
    dataset.save_as(path, enforce_file_format=True)
    old, new = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4."  # no such syntax
    path.write_bytes(path.read_bytes().replace(old, new))
    assert "video.dcm" in complaint(path)


def test_a_folder_without_images_says_so(tmp_path: Path) -> None:
    write_series(tmp_path, [0.0, 1.0, 2.0, 3.0], Modality="RTPLAN")
    text = complaint(tmp_path)
    assert text.startswith("The folder holds no series: ")
    assert "and 3 more" in text


def test_the_good_files_load_and_the_bad_ones_are_listed(tmp_path: Path) -> None:
    write_series(tmp_path, [0.0, 1.0])
    (tmp_path / "notes.txt").write_text("hello " * 40)
    (tmp_path / ".DS_Store").write_bytes(b"clutter")
    write_ct(tmp_path / "sub" / "plan.dcm", np.zeros((4, 6)), Modality="RTPLAN")
    reading = load_dicom(tmp_path)
    assert len(reading.series[0]) == 2
    assert {item.name for item in reading.rejected} == {"notes.txt", "plan.dcm"}
    with pytest.warns(UnreadableFileWarning, match="2 files were not read") as caught:
        read_dicom(tmp_path)
    assert len(caught) == 1


def test_pydicom_stays_silent_and_its_settings_come_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import logging

    path = write_ct(tmp_path / "a.dcm", np.zeros((4, 6)), PatientID=SECRET * 20)  # longer than LO allows
    level, filters = logging.getLogger("pydicom").level, list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_dicom(path)
    assert not caught
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("pydicom").level == level
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("name", ["../up.dcm", "a/../../up.dcm", "/etc/a.dcm", "C:\\a.dcm", "..\\up.dcm"])
def test_a_zip_with_outward_names_is_refused(tmp_path: Path, name: str) -> None:
    path = zip_with(tmp_path / "scan.zip", **{"good.dcm": ct_bytes(), name: ct_bytes(1.0, 2)})
    assert "scan.zip holds a file name that points outside" in complaint(path)


def test_zip_limits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_with(tmp_path / "scan.zip", a=ct_bytes(side=64), b=ct_bytes(1.0, 2, side=64))
    assert len(load_dicom(path).series[0]) == 2
    text = complaint(path, Limits(max_files=1))
    assert "holds 2 files, more than 1, the limit max_files; to allow more, set LESIONDASH_MAX_FILES" in text
    assert "unpacks to more than" in complaint(path, Limits(max_unpacked_bytes=10_000))
    monkeypatch.setattr(dicom_zip, "RATIO_FREE_BYTES", 0)
    assert "like a zip bomb" in complaint(path, Limits(max_zip_ratio=3))


def test_what_unpacks_to_more_than_it_says_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_with(tmp_path / "scan.zip", **{"a.dcm": ct_bytes(side=64), "b.dcm": ct_bytes(1.0, 2, side=64)})
    monkeypatch.setattr(dicom_zip, "_check_table", lambda *_: None)  # as if the contents had lied
    monkeypatch.setattr(dicom_zip, "_CHUNK_BYTES", 512)
    text = complaint(path, Limits(max_unpacked_bytes=12_000))
    assert "scan.zip unpacks to more than" in text, "nor may its first slice stay loaded"


def test_zips_in_zips_are_read_to_a_depth(tmp_path: Path) -> None:
    inner = zip_with(tmp_path / "inner.zip", **{"b.dcm": ct_bytes(1.0, 2)}).read_bytes()
    middle = zip_with(tmp_path / "middle.zip", **{"inner.zip": inner}).read_bytes()
    path = zip_with(tmp_path / "scan.zip", **{"a.dcm": ct_bytes(), "middle.zip": middle, "broken.zip": inner[:-30]})
    reading = load_dicom(path)
    assert len(reading.series[0]) == 2
    assert [item.name for item in reading.rejected] == ["broken.zip"]
    (shallow,) = [item for item in load_dicom(path, limits=Limits(max_zip_depth=2)).rejected if "inner" in item.name]
    assert "lies in more than 2 zips, the limit max_zip_depth" in shallow.reason


def test_broken_and_locked_zips_are_named(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "scan.zip", **{"good.dcm": ct_bytes(), "other.dcm": ct_bytes(1.0, 2)})
    path.write_bytes(path.read_bytes()[:300])
    assert "damaged zip" in complaint(path)
    locked = bytearray(zip_with(tmp_path / "locked.zip", **{"a.dcm": ct_bytes()}).read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + place] |= 1
    (tmp_path / "locked.zip").write_bytes(bytes(locked))
    assert "password" in complaint(tmp_path / "locked.zip")


def test_a_damaged_member_is_named_and_the_others_load(tmp_path: Path) -> None:
    path = tmp_path / "scan.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.dcm", ct_bytes())
        archive.writestr("b.dcm", ct_bytes(1.0, 2))
    content = bytearray(path.read_bytes())
    content[600] ^= 0xFF  # inside a.dcm, so that its checksum fails
    path.write_bytes(bytes(content))
    reading = load_dicom(path)
    assert len(reading.series[0]) == 1
    assert reading.rejected[0].name == "a.dcm"
