"""Annotations as JSON: whole, back on their scan, and refused on another."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from marked_series import marked_series, marks, reordered

from lesiondash.annotations.document import SCHEMA_PATH, parse, restore, to_document
from lesiondash.errors import AnnotationError
from lesiondash.records import Annotation, Series


def written(series: Series) -> dict[str, Any]:
    return json.loads(json.dumps(to_document(series, marks(series))))


def test_everything_comes_back() -> None:
    series = marked_series()
    assert restore(parse(json.dumps(written(series))), series) == marks(series)


def test_the_schema_holds_and_can_fail() -> None:
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    for series in (marked_series(), marked_series(source=None)):
        Draft202012Validator(schema).validate(written(series))
    broken = written(marked_series())
    broken["annotations"][2]["points_px"].pop()  # three points are no RECIST
    assert not Draft202012Validator(schema).is_valid(broken)


def test_millimetres_are_those_of_the_patient() -> None:
    series = marked_series()
    document = written(series)
    assert document["series"]["points_mm_are"] == "patient"
    length = document["annotations"][1]
    # Pixel (4, 4) is 3.5 px × 0.5 mm along y and 3.5 px × 2 mm down z from the centre of the first one; slice 2 is at
    # x = 10 − 6.
    assert length["points_mm"][0] == [4, 20 + 1.75, 30 - 7]
    assert length["points_mm"][1] == [4, 20 + 5.75, 30 - 13]
    distance = np.linalg.norm(np.subtract(*length["points_mm"]))
    assert length["measures"]["length_mm"] == pytest.approx(distance) == pytest.approx(np.hypot(8 * 0.5, 3 * 2))
    assert document["annotations"][2]["measures"] == {"long_mm": 12, "short_mm": 8, "angle_deg": 90}
    assert document["annotations"][0]["measures"] == {"area_mm2": 200, "width_mm": 10, "height_mm": 20}
    assert document["annotations"][3]["slice"]["sop_instance_uid"] == series.source.sop_instance_uids[1]


def test_without_a_place_they_are_from_the_first_pixel() -> None:
    series = marked_series(source=None)
    document = written(series)
    assert document["series"]["points_mm_are"] == "first pixel"
    assert document["series"]["sop_instance_uids"] is None
    assert document["annotations"][1]["points_mm"] == [[1.75, 7, 6], [5.75, 13, 6]]
    assert restore(document, series) == marks(series)


@pytest.mark.parametrize("source", [True, False])
def test_the_order_of_slices_does_not_matter(source: bool) -> None:
    series = marked_series() if source else marked_series(source=None)
    document = written(series)
    turned = reordered(series, [4, 3, 2, 1, 0])
    found = restore(document, turned)
    assert [one.slice_index for one in found] == [4 - one.slice_index for one in marks(series)]
    for before, after in zip(marks(series), found, strict=True):
        assert dataclasses.replace(after, slice_index=before.slice_index) == before
        np.testing.assert_array_equal(series.hu[before.slice_index], turned.hu[after.slice_index])


def test_uids_mapped_anew_are_found_by_position() -> None:
    series = marked_series()
    other = tuple(f"2.25.{k}" for k in range(5))
    again = dataclasses.replace(series, source=dataclasses.replace(series.source, sop_instance_uids=other))
    assert restore(written(series), again) == marks(series)


def test_files_without_uids_are_told_apart_by_position() -> None:
    series = marked_series()
    nameless = dataclasses.replace(series, source=dataclasses.replace(series.source, sop_instance_uids=("",) * 5))
    assert restore(written(nameless), nameless) == marks(series)
    assert written(nameless)["annotations"][0]["slice"]["sop_instance_uid"] is None


def test_frames_of_one_file_are_told_apart() -> None:
    series = marked_series(multi_frame=True)
    assert restore(written(series), reordered(series, [1, 0, 2, 3, 4]))[0].slice_index == 0


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (marked_series(uid="f" * 16), "another series"),
        (marked_series(slices=4), "5 slices"),
        (marked_series(size=(41, 60)), "40 rows"),
        (marked_series(size=(40, 61)), "60 columns"),
        (marked_series(spacing_mm=(3.0, 2.0, 0.6)), "another size"),
        (marked_series(source=None, positions_mm=(0.5, 3.5, 6.5, 9.5, 12.5)), "slices that this scan does not have"),
    ],
)
def test_another_scan_is_refused_with_the_reason(other: Series, reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        restore(written(marked_series()), other)


def changed(**of_first: Any) -> str:
    document = written(marked_series())
    document["annotations"][0].update(of_first)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no annotations"),
        ('{"format": "lesiondash annotations", "version": 2}', "version"),
        ('{"format": "lesiondash annotations", "version": 1}', "whole"),
        (changed(kind="circle"), "annotations/0/kind"),
        (changed(points_px=[[1, 2]]), "annotations/0/points_px"),
        (changed(points_px=[[1, "2"], [3, 4]]), "annotations/0/points_px/0/1"),
        (changed(slice_index=-1), "slice_index"),
        (changed(id="b"), "one id"),
        (changed(label=7), "label"),
        (changed(points_px=[[1, float("nan")], [3, 4]]), "no JSON"),
    ],
)
def test_what_is_no_document_is_refused(text: str, reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        parse(text)


@pytest.mark.parametrize("points", [[[1, 1], [5000, 9]], [[-20, 1], [5, 9]], [[1, 1], [5, 1e999]]])
def test_points_outside_of_the_image_are_refused(points: Any) -> None:
    text = json.dumps(written(marked_series()))
    document = json.loads(text)
    document["annotations"][0]["points_px"] = points
    with pytest.raises(AnnotationError, match="nothing was taken over"):
        restore(document, marked_series())


def test_an_error_repeats_nothing_of_the_file() -> None:
    with pytest.raises(AnnotationError) as caught:
        parse(changed(kind="SECRET^NAME"))
    assert "SECRET" not in str(caught.value)


def test_nothing_is_written_of_a_slice_that_is_not_there() -> None:
    series = marked_series()
    with pytest.raises(AnnotationError):
        to_document(series, [Annotation("x", "box", series.uid, 9, ((1, 1), (2, 2)))])
