"""CSV, structured report and segmentation, written and read back by other programs' readers."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom import sr
from marked_series import ROOT, marked_series, marks
from pydicom.sr.codedict import codes

from lesiondash.annotations.evidence import evidence
from lesiondash.annotations.masks import to_seg
from lesiondash.annotations.measure import measures, region_mask
from lesiondash.annotations.report import to_bytes, to_sr
from lesiondash.annotations.table import COLUMNS, to_csv
from lesiondash.errors import AnnotationError
from lesiondash.records import Annotation, Series


def rows(series: Series) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(series, marks(series)))))


def test_the_table_has_a_row_for_each_with_mm_and_pixels() -> None:
    series = marked_series()
    box, length, recist, ellipse, arrow, text = rows(series)
    assert tuple(box) == COLUMNS
    assert (box["points_px"], box["width_mm"], box["height_mm"], box["area_mm2"]) == ("10 5;30 15", "10", "20", "200")
    assert (box["mean"], box["pixels"], box["unit"]) == ("110", "200", "HU")
    assert float(length["length_mm"]) == pytest.approx(math.hypot(4, 6), abs=1e-4)
    assert (recist["long_mm"], recist["short_mm"], recist["angle_deg"]) == ("12", "8", "90")
    assert float(ellipse["area_mm2"]) == pytest.approx(math.pi * 100, abs=1e-3)
    assert (arrow["note"], arrow["length_mm"], arrow["mean"]) == ("look here", "", "")
    assert text["points_mm"] == "-2 23.5 14.5"
    assert [row["slice_index"] for row in rows(series)] == ["1", "2", "3", "1", "0", "4"]


def test_the_table_says_units_and_no_formula() -> None:
    series = marked_series(unit="values", modality="MR", source=None)
    evil = Annotation("x", "box", series.uid, 0, ((1, 1), (5, 5)), "=1+1", 'a "quoted", note\nof two lines')
    (row,) = csv.DictReader(io.StringIO(to_csv(series, [evil])))
    assert row["unit"] == "values"
    assert row["label"] == "'=1+1"
    assert row["note"] == 'a "quoted", note\nof two lines'
    assert row["sop_instance_uid"] == ""


def read_back(dataset: Any) -> Any:
    return pydicom.dcmread(io.BytesIO(to_bytes(dataset)))


def reported(series: Series) -> tuple[Any, Any]:
    file = to_bytes(to_sr(series, marks(series)))
    return pydicom.dcmread(io.BytesIO(file)), sr.srread(io.BytesIO(file)).content


def value(group: Any, name: Any, derivation: Any = None) -> float:
    (found,) = [one for one in group.get_measurements(name=name) if derivation is None or one.derivation == derivation]
    return float(found.value)


@pytest.mark.parametrize("multi_frame", [False, True])
def test_the_report_is_tid_1500_with_the_measured_values(multi_frame: bool) -> None:
    series = marked_series(multi_frame=multi_frame)
    dataset, content = reported(series)
    assert dataset.SOPClassUID == pydicom.uid.ComprehensiveSRStorage
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert dataset.ConceptNameCodeSequence[0].CodeValue == "126000"  # Imaging Measurement Report
    regions = {group.roi.GraphicType: group for group in content.get_planar_roi_measurement_groups()}
    for graphic, one in (("POLYLINE", marks(series)[0]), ("ELLIPSE", marks(series)[3])):
        group, expected = regions[graphic], measures(series, one)
        assert value(group, codes.SCT.Area) == pytest.approx(expected.area_mm2, abs=1e-6)
        attenuation = codes.DCM.AttenuationCoefficient
        assert value(group, attenuation, codes.SCT.Mean) == pytest.approx(expected.statistics.mean, abs=1e-6)
        assert value(group, attenuation, codes.SCT.StandardDeviation) == pytest.approx(expected.statistics.sd, abs=1e-6)
        assert value(group, attenuation, codes.SCT.Minimum) == expected.statistics.minimum
        assert value(group, attenuation, codes.SCT.Maximum) == expected.statistics.maximum
    groups = {group.tracking_identifier: group for group in content.get_image_measurement_groups()}
    assert set(groups) == {"2 length", "3 recist", "5 arrow", "6 text"}
    assert value(groups["2 length"], codes.SCT.Length) == pytest.approx(math.hypot(4, 6), abs=1e-6)
    assert value(groups["3 recist"], codes.SCT.LongAxis) == 12
    assert value(groups["3 recist"], codes.SCT.ShortAxis) == 8
    assert groups["3 recist"].finding_sites[0].value == codes.SCT.Lung
    assert groups["3 recist"].finding_type == codes.SCT.Lesion
    assert regions["ELLIPSE"].finding_type.meaning == "odd thing"
    assert not groups["5 arrow"].get_measurements()


@pytest.mark.parametrize(("modality", "meaning"), [("MR", "MR signal intensity"), ("XA", "Pixel value")])
def test_values_that_are_no_hu_are_not_called_so(modality: str, meaning: str) -> None:
    _, content = reported(marked_series(unit="values", modality=modality))
    measured = content.get_planar_roi_measurement_groups()[0].get_measurements()
    assert [one.name.meaning for one in measured] == ["Area"] + 4 * [meaning]
    assert measured[1].unit == codes.UCUM.NoUnits


def test_the_reports_shapes_are_the_pixels_that_were_drawn() -> None:
    series = marked_series()
    _, content = reported(series)
    box, ellipse = (group.roi for group in content.get_planar_roi_measurement_groups())
    np.testing.assert_array_equal(box.value, [(10, 5), (30, 5), (30, 15), (10, 15), (10, 5)])
    np.testing.assert_array_equal(ellipse.value, [(20, 20), (40, 20), (30, 10), (30, 30)])
    image = box.ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPInstanceUID == series.source.sop_instance_uids[1]
    (recist,) = [g for g in content.get_image_measurement_groups() if g.tracking_identifier == "3 recist"]
    (long_axis,) = recist.get_measurements(name=codes.SCT.LongAxis)
    np.testing.assert_array_equal(long_axis.referenced_coordinates[0].value, [(10, 20), (34, 20)])


def test_the_report_names_frames_of_multi_frame_images() -> None:
    _, content = reported(marked_series(multi_frame=True))
    box = content.get_planar_roi_measurement_groups()[0].roi
    assert box.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber == 2


def texts(dataset: Any) -> list[str]:
    return [element.value for element in dataset.iterall() if element.keyword == "TextValue"]


def test_notes_are_comments_and_an_export_is_the_same_lesion_again() -> None:
    series = marked_series()
    first, second = (to_sr(series, marks(series)) for _ in range(2))
    assert {"round, =sharp", "look here", "nothing to see"} <= set(texts(first))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    tracked = [[element.value for element in one.iterall() if element.keyword == "UID"] for one in (first, second)]
    assert tracked[0] == tracked[1]
    assert len(tracked[0]) > len(marks(series))


def masks_of(dataset: Any) -> tuple[Any, Any]:
    seg = hd.seg.Segmentation.from_dataset(read_back(dataset))
    return seg, seg.get_volume(combine_segments=False)


@pytest.mark.parametrize("multi_frame", [False, True])
def test_masks_read_back_equal(multi_frame: bool) -> None:
    series = marked_series(multi_frame=multi_frame)
    drawn = (*marks(series), Annotation("g", "box", series.uid, 3, ((0, 0), (4, 4)), "own word"))
    seg = hd.seg.Segmentation.from_dataset(read_back(to_seg(series, drawn)))
    wanted = [one for one in drawn if one.kind in ("box", "ellipse")]
    assert seg.number_of_segments == len(wanted) == 3
    assert [seg.get_segment_description(k).segment_label for k in (1, 2, 3)] == ["liver", "odd thing", "own word"]
    for one, number in zip(wanted, (1, 2, 3), strict=True):
        if multi_frame:
            found = seg.get_pixels_by_source_frame(
                series.source.sop_instance_uids[0], [one.slice_index + 1], segment_numbers=[number]
            )
        else:
            found = seg.get_pixels_by_source_instance(
                [series.source.sop_instance_uids[one.slice_index]], segment_numbers=[number]
            )
        np.testing.assert_array_equal(found[0, :, :, 0], region_mask(one, series.hu.shape[1:]))


def test_masks_lie_where_the_slices_lie() -> None:
    series = marked_series()
    seg = read_back(to_seg(series, marks(series)[:1]))
    frame = seg.PerFrameFunctionalGroupsSequence[0]
    assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == [7, 20, 30]
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [2, 0.5]
    assert seg.FrameOfReferenceUID == f"{ROOT}.3"


def test_masks_may_lie_over_each_other() -> None:
    series = marked_series()
    pair = [Annotation(str(k), "box", series.uid, 2, ((5, 5), (20 + 5 * k, 20))) for k in (1, 2)]
    seg = hd.seg.Segmentation.from_dataset(read_back(to_seg(series, pair)))
    found = seg.get_pixels_by_source_instance([series.source.sop_instance_uids[2]])
    for k in (0, 1):
        np.testing.assert_array_equal(found[0, :, :, k], region_mask(pair[k], (40, 60)))


@pytest.mark.parametrize("make", [to_sr, to_seg])
def test_no_person_is_in_what_is_exported(make: Any) -> None:
    series = marked_series()
    dataset = read_back(make(series, marks(series)))
    assert str(dataset.PatientName) == "Anonymous^"
    assert dataset.PatientID.startswith("study-")
    assert not dataset.PatientBirthDate
    assert not dataset.get("StudyDate")
    assert dataset.StudyInstanceUID == series.source.study_uid
    other = marked_series(source=None)
    assert evidence(series, [0])[0].PatientID == dataset.PatientID
    with pytest.raises(AnnotationError, match="DICOM files"):
        make(other, marks(other))


def test_what_cannot_be_exported_is_said() -> None:
    series = marked_series()
    with pytest.raises(AnnotationError, match="draw"):
        to_sr(series, [])
    with pytest.raises(AnnotationError, match="draw"):
        to_seg(series, marks(series)[1:2])
    nameless = dataclasses.replace(series.source, sop_instance_uids=("",) * len(series))
    for make in (to_sr, to_seg):
        with pytest.raises(AnnotationError, match="UIDs"):
            make(dataclasses.replace(series, source=nameless), marks(series))
    for lacking in ({"orientation": None}, {"origins_mm": None}, {"frame_of_reference_uid": ""}):
        floating = dataclasses.replace(series, source=dataclasses.replace(series.source, **lacking))
        with pytest.raises(AnnotationError, match="place in the patient"):
            to_seg(floating, marks(series))
        assert to_sr(floating, marks(series)).SOPClassUID  # a report needs no place
