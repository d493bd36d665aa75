"""Files made to do harm: bombs, endless sequences, links and loops. Each is refused by a limit that it names."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from ct_files import ct_dataset, write_series
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from lesiondash.errors import ScanError
from lesiondash.images.dicom import load_dicom
from lesiondash.images.limits import Limits

UNDEFINED = 0xFFFFFFFF


def written(dataset: object) -> bytes:
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)  # type: ignore[attr-defined]
    return content.getvalue()


def refusal(content: bytes | Path, limits: Limits | None = None) -> str:
    with pytest.raises(ScanError) as caught:
        load_dicom(content, limits=limits)
    return str(caught.value)


def with_sequence(items: bytes, length: int = UNDEFINED) -> bytes:
    """A CT file with a sequence of functional groups before its pixels."""
    whole = written(ct_dataset(np.zeros((8, 8)), NumberOfFrames=2))
    pixels = whole.index(b"\xe0\x7f\x10\x00OW")
    return whole[:pixels] + struct.pack("<HH2sHL", 0x5200, 0x9230, b"SQ", 0, length) + items + whole[pixels:]


@pytest.mark.parametrize("defined", [True, False], ids=["length", "delimiter"])
def test_a_sequence_of_a_million_items_is_not_parsed(defined: bool) -> None:
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 1_000_000
    end = b"" if defined else struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    text = refusal(with_sequence(items + end, len(items) if defined else UNDEFINED))
    assert "more than 100,000 elements in its header, the limit max_elements" in text
    assert "LESIONDASH_MAX_ELEMENTS" in text


def test_sequences_within_sequences_without_end_are_refused() -> None:
    opening = struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED) + struct.pack(
        "<HH2sHL", 0x5200, 0x9230, b"SQ", 0, UNDEFINED
    )
    assert "is damaged" in refusal(with_sequence(opening * 100_000))


def test_a_deflated_bomb_is_stopped() -> None:
    dataset = ct_dataset(np.zeros((8, 8)))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    whole = written(dataset)
    start = whole.index(zlib_part(whole))
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    blown_up = packer.compress(struct.pack("<HH2sHL", 8, 5, b"UN", 0, 2**29)) + b"".join(
        packer.compress(bytes(2**20)) for _ in range(400)
    )
    text = refusal(whole[:start] + blown_up + packer.flush())
    assert "inflates to more than" in text
    assert "LESIONDASH_MAX_ZIP_RATIO" in text


def zlib_part(whole: bytes) -> bytes:
    """What follows the meta information of a file."""
    length = struct.unpack("<L", whole[140:144])[0]
    return whole[144 + length :]


def test_pixels_in_a_million_fragments_are_not_walked() -> None:
    dataset = ct_dataset(np.zeros((8, 8)))
    dataset.compress(RLELossless)
    whole = written(dataset)
    start = whole.index(b"\xe0\x7f\x10\x00") + 12
    fragments = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 1_000_000
    assert "LESIONDASH_MAX_ELEMENTS" in refusal(whole[:start] + fragments)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=["RLE", "JPEG 2000"])
def test_a_small_frame_that_claims_to_be_huge_reserves_nothing(syntax: str) -> None:
    dataset = ct_dataset(np.zeros((64, 64)))
    dataset.compress(syntax)
    dataset.Rows = dataset.Columns = 8000
    assert any(words in refusal(written(dataset)) for words in ("cut short", "another size"))
    dataset.Rows = dataset.Columns = 65_535
    assert "the limit max_frame_px" in refusal(written(dataset))


def test_a_billion_frames_are_refused() -> None:
    text = refusal(written(ct_dataset(np.zeros((1, 1)), NumberOfFrames=1_000_000_000)))
    assert "claims to hold 1,000,000,000 frames" in text
    assert "LESIONDASH_MAX_FRAMES" in text


def test_a_value_of_a_million_numbers_is_taken_as_absent() -> None:
    whole = written(ct_dataset(np.zeros((8, 8)), ImagePositionPatient=None))
    at = whole.index(b"\x20\x00\x37\x00DS")  # before ImageOrientationPatient
    numbers = b"1\\" * 999_999 + b"1 "
    element = struct.pack("<HH2sHL", 0x0020, 0x0032, b"UN", 0, len(numbers)) + numbers
    (series,) = load_dicom(whole[:at] + element + whole[at:]).series
    assert series.source is not None
    assert series.source.origins_mm is None


def test_too_many_series_and_too_much_in_all_are_refused(tmp_path: Path) -> None:
    for number in range(3):
        write_series(tmp_path / str(number), [0.0, 1.0], SeriesInstanceUID=f"1.2.{number}")
    assert "more than 2 series, the limit max_series" in refusal(tmp_path, Limits(max_series=2))
    assert "decode to more than" in refusal(tmp_path, Limits(max_volume_bytes=200))
    assert "more than 4 files" in refusal(tmp_path, Limits(max_files=4))
    assert len(load_dicom(tmp_path, limits=Limits(max_series=3, max_files=6)).series) == 3


def test_limits_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path, [0.0, 1.0])
    monkeypatch.setenv("LESIONDASH_MAX_FILES", "1")
    assert "more than 1 files" in refusal(tmp_path)
    monkeypatch.setenv("LESIONDASH_MAX_FILES", "many")
    assert "LESIONDASH_MAX_FILES must be a whole number" in refusal(tmp_path)
    with pytest.raises(ScanError, match="max_files must be a whole number of 0 or more"):
        Limits(max_files=-1)


def test_folders_too_deep_are_refused_and_loops_end(tmp_path: Path) -> None:
    deep = tmp_path / "scan" / "/".join("abcdef")
    write_series(deep, [0.0, 1.0])
    (deep / "loop").symlink_to(tmp_path / "scan")
    (deep / "itself").symlink_to(deep / "itself")
    reading = load_dicom(tmp_path / "scan")
    assert len(reading.series[0]) == 2
    assert "max_folder_depth" in refusal(tmp_path / "scan", Limits(max_folder_depth=3))


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write_series(tmp_path / "elsewhere", [0.0, 1.0])
    write_series(tmp_path / "scan", [5.0], SeriesInstanceUID="1.2.9")
    (tmp_path / "scan" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scan" / "file.dcm").symlink_to(tmp_path / "elsewhere" / "1.dcm")
    (tmp_path / "scan" / "inside.dcm").symlink_to(tmp_path / "scan" / "1.dcm")
    reading = load_dicom(tmp_path / "scan")
    assert [len(series) for series in reading.series] == [1]
    assert {item.name for item in reading.rejected} == {"folder", "file.dcm"}
    assert all("leads out of the folder" in item.reason for item in reading.rejected)


def test_what_is_no_ordinary_file_is_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, [0.0])
    os.mkfifo(tmp_path / "pipe.dcm")
    (item,) = load_dicom(tmp_path).rejected
    assert (item.name, item.reason) == ("pipe.dcm", "is no ordinary file; leave it out")


def test_a_link_within_a_zip_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "scan.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.dcm", written(ct_dataset(np.zeros((4, 6)))))
        link = zipfile.ZipInfo("b.dcm")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    (item,) = load_dicom(path).rejected
    assert item.name == "b.dcm"
    assert "is a link" in item.reason


def test_names_lose_what_a_terminal_would_act_on(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr("a\x1b[2Jb\r.dcm", b"no scan")
    assert refusal(tmp_path / "scan.zip").startswith("a[2Jb.dcm is not a DICOM file")
