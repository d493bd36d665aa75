"""Images that are no CT, and pixels stored in unusual ways."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ct_files import SHARED, ct_dataset, enhanced_ct
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lesiondash.errors import ScanError, SearchError
from lesiondash.images.crops import searchable_hu
from lesiondash.images.dicom import load_dicom
from lesiondash.records import Series

XA = SHARED / "dicom" / "xa_multiframe_jpeg" / "0009.DCM"


def read(stored: Any = ((1, 2), (3, 4)), edit: Any = None, **changes: Any) -> Series:
    """The series of one file; edit may change its dataset further."""
    dataset = ct_dataset(np.asarray(stored), **changes)
    if edit is not None:
        edit(dataset)
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    (series,) = load_dicom(content.getvalue()).series
    return series


PLAIN = {"RescaleSlope": None, "RescaleIntercept": None}


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for key, value in elements.items():
        setattr(made, key, value)
    return made


def test_an_mr_image_is_shown_without_hu_and_not_searched() -> None:
    series = read([[0, 700], [800, 900]], Modality="MR", **PLAIN)
    assert (series.modality, series.unit) == ("MR", "values")
    np.testing.assert_array_equal(series.hu[0], [[0, 700], [800, 900]])
    assert not any("HU" in note for note in series.notes)
    with pytest.raises(SearchError, match=r"\(MR\) holds no HU"):
        searchable_hu(series)
    assert searchable_hu(read()) is not None


def test_a_modality_that_is_no_defined_term_is_not_repeated() -> None:
    assert read(Modality="MUELLER").modality == "OT"
    assert read(Modality=None).modality == "CT", "the SOP class says so"


def test_monochrome1_is_turned_round_only_where_there_is_no_hu() -> None:
    stored = [[0, 4095], [1000, 3000]]
    options = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
    series = read(stored, Modality="DX", **PLAIN, **options)
    np.testing.assert_array_equal(series.hu[0], [[4095, 0], [3095, 1095]])
    assert any("MONOCHROME1" in note for note in series.notes)
    np.testing.assert_array_equal(read(stored, **options).hu[0], np.array(stored) - 1024)


def test_signed_monochrome1_is_mirrored_about_its_own_middle() -> None:
    series = read([[-5, 0], [4, 7]], Modality="CR", PhotometricInterpretation="MONOCHROME1", **PLAIN)
    np.testing.assert_array_equal(series.hu[0], [[4, -1], [-5, -8]])


def test_colour_becomes_brightness() -> None:
    def colour(dataset: Any) -> None:
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
        dataset.PhotometricInterpretation = "RGB"
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0
        dataset.PixelData = bytes([255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 0, 255])

    series = read(np.zeros((2, 2)), colour, Modality="US", **PLAIN)
    np.testing.assert_array_equal(series.hu[0], [[255, 0], [76, 29]])
    assert any("text burned in" in note for note in series.notes)


def test_false_colours_become_brightness() -> None:
    def palette(dataset: Any) -> None:
        for name, colours in (("Red", (0, 255, 0)), ("Green", (0, 255, 255)), ("Blue", (0, 255, 0))):
            setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16])
            content = (np.array(colours, "<u2") * 257).tobytes()
            setattr(dataset, f"{name}PaletteColorLookupTableData", content)

    options = {"PixelRepresentation": 0, "PhotometricInterpretation": "PALETTE COLOR"}
    series = read([[0, 1], [2, 9]], palette, Modality="NM", **PLAIN, **options)
    np.testing.assert_array_equal(series.hu[0], [[0, 255], [150, 150]])


def test_a_sign_that_was_not_extended_is() -> None:
    series = read([[0x0FFF, 0x0800], [0x07FF, 0]], BitsStored=12, HighBit=11, RescaleIntercept=0.0)
    np.testing.assert_array_equal(series.hu[0], [[-1, -2048], [2047, 0]])


def test_an_overlay_in_the_unused_bits_is_taken_away() -> None:
    stored = np.array([[0x1005, 5], [0x1FFF, 0x0FFF]])
    options = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleIntercept": 0.0}
    np.testing.assert_array_equal(read(stored, **options).hu[0], [[5, 5], [4095, 4095]])


def test_pixels_in_the_upper_bits_are_moved_down() -> None:
    stored = np.array([[0x0010, 0x0020], [0x7FF0, 0]])
    series = read(stored, BitsStored=12, HighBit=15, PixelRepresentation=0, RescaleIntercept=0.0)
    np.testing.assert_array_equal(series.hu[0], [[1, 2], [2047, 0]])


def test_padding_of_other_images_is_their_darkest() -> None:
    series = read([[-2000, 300], [40, 900]], Modality="MR", PixelPaddingValue=-2000, **PLAIN)
    np.testing.assert_array_equal(series.hu[0], [[40, 300], [40, 900]])


def test_ct_of_another_measure_is_not_hu() -> None:
    series = read(RescaleType="Z_EFF")
    assert series.unit == "values"
    assert any("another measure" in note for note in series.notes)
    code = item(CodeValue="ml/100ml/s", CodingSchemeDesignator="UCUM", CodeMeaning="flow")
    mapping = item(MeasurementUnitsCodeSequence=Sequence([code]))
    assert read(RealWorldValueMappingSequence=Sequence([mapping])).unit == "values"
    hounsfield = item(CodeValue="[hnsf'U]", CodingSchemeDesignator="UCUM", CodeMeaning="Hounsfield unit")
    mapping = item(MeasurementUnitsCodeSequence=Sequence([hounsfield]))
    assert read(RealWorldValueMappingSequence=Sequence([mapping])).unit == "HU"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"BurnedInAnnotation": "YES"}, "say that text is burned into"),
        ({"BurnedInAnnotation": "NO", "Modality": "US"}, None),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, "often have text burned in"),
        ({}, None),
    ],
)
def test_burned_in_text_is_warned_of(changes: dict[str, Any], said: str | None) -> None:
    notes = " ".join(read(**changes).notes)
    assert (said in notes) if said else ("burned" not in notes)


def test_a_run_of_frames_has_a_rate_and_no_places() -> None:
    stored = np.arange(12).reshape(3, 2, 2)
    series = read(stored, Modality="XA", NumberOfFrames=3, FrameTime=40.0, **PLAIN)
    assert series.frame_rate_hz == pytest.approx(25)
    assert series.description.startswith("XA, 3 frames, 25 per second")
    assert any("moments in time" in note for note in series.notes)
    assert not any("slice distance" in note or "no positions" in note for note in series.notes)
    assert series.source is not None
    assert (series.source.frame_numbers, series.source.origins_mm) == ((1, 2, 3), None)
    np.testing.assert_array_equal(series.hu, stored)
    vector = read(stored, Modality="XA", NumberOfFrames=3, FrameTimeVector=[0, 50, 50], **PLAIN)
    assert vector.frame_rate_hz == pytest.approx(20)


def test_placed_frames_are_no_run() -> None:
    dataset = enhanced_ct(np.zeros((2, 4, 6)), [0.0, 2.0], [1.0, 1.0])
    dataset.FrameTime = 40.0
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    assert load_dicom(content.getvalue()).series[0].frame_rate_hz is None


def test_spacing_comes_from_where_each_kind_of_image_gives_it() -> None:
    at_detector = read(Modality="XA", PixelSpacing=None, ImagerPixelSpacing=[0.4, 0.2], **PLAIN)
    assert at_detector.spacing_mm[1:] == (0.4, 0.2)
    assert any("at the detector" in note for note in at_detector.notes)
    region = item(PhysicalUnitsXDirection=3, PhysicalUnitsYDirection=3, PhysicalDeltaX=0.01, PhysicalDeltaY=0.02)
    sound = read(Modality="US", PixelSpacing=None, SequenceOfUltrasoundRegions=Sequence([region]), **PLAIN)
    assert sound.spacing_mm[1:] == pytest.approx((0.2, 0.1))


def test_float_pixels_are_read() -> None:
    def floats(dataset: Any) -> None:
        del dataset.PixelData
        dataset.FloatPixelData = np.array([[0.5, 1.5], [np.nan, 2.25]], "<f4").tobytes()
        dataset.BitsAllocated = 32

    series = read(np.zeros((2, 2)), floats, Modality="PT", **PLAIN)
    assert series.hu.dtype == np.float32
    np.testing.assert_allclose(series.hu[0], [[0.5, 1.5], [0, 2.25]])


@pytest.mark.skipif(not XA.is_file(), reason="the real DICOM files of ../shared/data are not here")
def test_the_real_run_plays_at_its_rate() -> None:
    (series,) = load_dicom(XA).series
    assert len(series) == 137
    assert series.frame_rate_hz == 25
    assert series.unit == "values"


def test_a_truncated_run_leaves_nothing_loaded(tmp_path: Path) -> None:
    dataset = ct_dataset(np.zeros((4, 64, 64)), NumberOfFrames=4, Modality="XA")
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    with pytest.raises(ScanError, match="cut short"):
        load_dicom(content.getvalue()[:-100])
