"""What real files hold that tidy ones do not: no positions, false colours in segments, wrong labels, other formats."""

from __future__ import annotations

import io
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from ct_files import ct_dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut
from pydicom.uid import MPEG2MPML, JPEGBaseline8Bit

from lesiondash.errors import ScanError
from lesiondash.images.dicom import load_dicom
from lesiondash.records import Series

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
UNREAD = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "another size than its header says",
    "MR_truncated.dcm": "cut short",
}
"""Files with pixels, shipped with pydicom, that it does not decode either."""


def written(dataset: pydicom.Dataset) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(content)
    return content.getvalue()


def one(dataset: pydicom.Dataset) -> Series:
    (series,) = load_dicom(written(dataset)).series
    return series


def refusal(given: Any) -> str:
    with pytest.raises(ScanError) as caught:
        load_dicom(given)
    return str(caught.value)


def shipped() -> list[Path]:
    return sorted(path for path in SHIPPED.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc", ".json"))


@pytest.mark.filterwarnings("ignore")
def test_every_file_that_pydicom_ships_agrees_with_it_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("pydicom"), "disabled", True)
    agreed = 0
    for path in shipped():
        try:
            dataset = pydicom.dcmread(path, force=True)
            stored = dataset.pixel_array
        except Exception:  # whatever pydicom trips over, the reader must end in a series or a sentence
            stored = None
        try:
            (series,) = load_dicom(path).series
        except ScanError as error:
            refused = str(error)
            assert refused.startswith(path.name), refused
            nothing_to_see = stored is None or any(f"({name})" in refused for name in ("SEG", "RTDOSE"))
            assert nothing_to_see or "localizer" in refused, refused
            continue
        plain = (
            stored is not None and dataset.SamplesPerPixel == 1 and dataset.PhotometricInterpretation == "MONOCHROME2"
        )
        if plain and "PixelPaddingValue" not in dataset:
            expected = np.atleast_3d(apply_modality_lut(stored, dataset)).reshape(series.hu.shape)
            np.testing.assert_allclose(series.hu, expected, rtol=1e-6, err_msg=path.name)
            agreed += 1
    assert agreed >= 30


@pytest.mark.parametrize(("name", "reason"), UNREAD.items())
def test_what_pydicom_cannot_decode_either_is_named(name: str, reason: str) -> None:
    assert reason in refusal(SHIPPED / name)


def test_slice_locations_stand_in_for_missing_positions() -> None:
    files = [
        written(
            ct_dataset(np.full((4, 6), at), ImagePositionPatient=None, InstanceNumber=None, SliceLocation=float(at))
        )
        for at in (10, 0, 5, 20)
    ]
    (series,) = load_dicom(files).series
    assert series.hu[:, 0, 0].tolist() == [-1024, -1019, -1014, -1004]
    assert series.positions_mm == (0, 5, 10, 20)
    assert series.spacing_mm[0] == 5
    assert any("in the order of their slice locations" in note for note in series.notes)
    assert any("uneven" in note for note in series.notes)


@pytest.mark.parametrize("spacing", [[1e-9, 1e9], [0, 0], [-1, 1], [0.5]])
def test_a_pixel_spacing_that_no_machine_has_is_absent(spacing: list[float]) -> None:
    series = one(ct_dataset(np.zeros((4, 6)), PixelSpacing=spacing))
    assert series.spacing_mm[1:] == (1, 1)
    assert any("give no pixel spacing" in note for note in series.notes)


def test_a_position_beyond_any_body_is_absent() -> None:
    far = written(ct_dataset(np.zeros((4, 6)), 0, 1, ImagePositionPatient=[0, 0, 1e300]))
    (series,) = load_dicom([far, written(ct_dataset(np.ones((4, 6)), 0, 2, ImagePositionPatient=None))]).series
    assert len(series) == 2
    assert np.isfinite(series.positions_mm).all()


def test_a_missing_intercept_is_said() -> None:
    series = one(ct_dataset(np.full((4, 6), 7), RescaleIntercept=None))
    assert series.hu[0, 0, 0] == 7
    assert any("no rescale intercept" in note for note in series.notes)


def in_false_colours(stored: Any, **changes: Any) -> pydicom.Dataset:
    return ct_dataset(
        np.asarray(stored, np.uint16).view(np.int16),
        Modality="US",
        PhotometricInterpretation="PALETTE COLOR",
        PixelRepresentation=0,
        RescaleSlope=None,
        RescaleIntercept=None,
        **changes,
    )


def test_a_palette_in_segments_is_unfolded() -> None:
    dataset = in_false_colours([[10, 11], [12, 13], [0, 99]])
    segments = np.array([0, 1, 0, 1, 3, 0xFFFF], "<u2")  # one entry of 0, then three up to white
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [4, 10, 16])
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", segments.tobytes())
    assert one(dataset).hu[0].tolist() == [[0, 85], [170, 255], [0, 255]]


@pytest.mark.parametrize("segments", [[1, 3, 5], [0, 60_000] + 60_000 * [1] + 3 * [1, 60_000, 5], [2, 1, 0, 0], []])
def test_a_palette_that_makes_no_sense_leaves_the_stored_values(segments: list[int]) -> None:
    dataset = in_false_colours([[0, 40_000]])
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [4, 0, 16])
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", np.array(segments, "<u2").tobytes())
    series = one(dataset)
    assert series.hu[0].tolist() == [[0, 40_000]]
    assert any("stored values are shown" in note for note in series.notes)


def test_compressed_pixels_under_an_uncompressed_label_are_not_taken_for_values() -> None:
    dataset = ct_dataset(np.zeros((4, 6)))
    dataset.PixelData = encapsulate([b"\xff\xd8" + bytes(100)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    content = written(dataset).replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.1\0\0\0")
    assert "has compressed pixel data but says that they are not" in refusal(content)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"SamplesPerPixel": 4, "Modality": "OT"}, "stores 4 × 16 bits a pixel"),
        ({"BitsAllocated": 12, "BitsStored": 12}, "stores 1 × 12 bits a pixel"),
    ],
)
def test_pixels_of_an_unusual_layout_are_named(changes: dict[str, Any], reason: str) -> None:
    assert reason in refusal(written(ct_dataset(np.zeros((4, 6)), **changes)))


def test_a_compression_newer_than_the_dictionary_is_named() -> None:
    dataset = ct_dataset(np.zeros((4, 6)))
    dataset.PixelData = encapsulate([bytes(100)])
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML  # its length is that of the new ones
    # highdicom teaches pydicom some of the new names, where it has been imported: then "JPEG XL Lossless".
    for number, said in (
        (b"4.110", "JPEG XL( Lossless)?"),
        (b"4.999", r"transfer syntax 1\.2\.840\.10008\.1\.2\.4\.999"),
    ):
        content = written(dataset).replace(b"1.2.840.10008.1.2.4.100", b"1.2.840.10008.1.2." + number)
        assert re.search(f"is compressed as {said}, which cannot be decoded here", refusal(content))


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("brain.nii", b"\x5c\x01\0\0" + bytes(400), "is a NIfTI file"),
        ("brain.nii.gz", b"\x1f\x8b\x08" + bytes(300), "is a NIfTI file"),
        ("scan.tar", bytes(257) + b"ustar\x0000" + bytes(300), "is a tar archive"),
        ("scan.tar.gz", b"\x1f\x8b\x08" + bytes(300), "is compressed with gzip"),
        ("scan.tar.xz", b"\xfd7zXZ\0" + bytes(300), "is compressed with xz"),
        ("scan.7z", b"7z\xbc\xaf\x27\x1c" + bytes(300), "is a 7-Zip archive"),
        ("scan.rar", b"Rar!\x1a\x07" + bytes(300), "is a RAR archive"),
        ("scan.nrrd", b"NRRD0004\n" + bytes(300), "is an NRRD file"),
        ("scan.mha", b"ObjectType = Image\n" + bytes(300), "is a MetaImage file"),
        ("key.png", b"\x89PNG\r\n\x1a\n" + bytes(300), "is a PNG picture"),
        ("key.jpg", b"\xff\xd8\xff\xe0" + bytes(300), "is a JPEG picture"),
        ("annotations.json", b'{"format": "lesiondash annotations"}' + b" " * 200, "is a JSON text"),
        ("report.pdf", b"%PDF-1.7" + bytes(300), "is a PDF document"),
        ("notes.txt", b"hello" * 99, "is not a DICOM file"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, name: str, head: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(head)
    assert refusal(path).startswith(f"{name} {said}")


@pytest.mark.parametrize("given", [None, 5, 2.5, [None], "", np.zeros(2)])
def test_what_is_no_file_is_refused_in_the_same_words(given: Any) -> None:
    assert "give " in refusal(given)


def test_clutter_of_a_folder_handed_over_file_by_file_is_passed_over(tmp_path: Path) -> None:
    slice_ = tmp_path / "1.dcm"
    slice_.write_bytes(written(ct_dataset(np.zeros((4, 6)))))
    clutter = []
    for name in (".DS_Store", "._1.dcm", "Thumbs.db", "DICOMDIR"):
        (tmp_path / name).write_bytes(b"junk" * 99)
        clutter.append(tmp_path / name)
    reading = load_dicom([*clutter, slice_])
    assert len(reading.series) == 1
    assert reading.rejected == ()
    assert ".DS_Store is not a DICOM file" in refusal(clutter[0])


def test_a_file_that_is_named_after_the_patient_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "doe_JANE_4711.dcm"
    path.write_bytes(written(ct_dataset(np.zeros((4, 6)), PatientName="Doe^Jane", PatientID="PID 4711"))[:-8])
    assert refusal(path).startswith("…_…_….dcm is cut short")
    path = path.rename(tmp_path / "jane.dcm")
    assert refusal(path).startswith("jane.dcm is cut short"), "one word may be chance"
