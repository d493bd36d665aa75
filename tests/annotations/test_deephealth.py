"""DeepHealth Annotate's export, as that program writes it, on the scan that it is of."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from marked_series import marked_series

from lesiondash.annotations.deephealth import from_deephealth, is_deephealth
from lesiondash.errors import AnnotationError
from lesiondash.images.dicom import series_uid_hash

ORIGINAL = "1.3.6.1.4.1.14519.5.2.1"
SERIES = dataclasses.replace(marked_series(), uid=series_uid_hash(f"{ORIGINAL}.9"))


def remap(uid: str) -> str:
    """What reading the files did to their UIDs: image k of the original became image k of the series."""
    return f"{SERIES.source.sop_instance_uids[0][:-2]}.{uid.rpartition('.')[2]}"


def handle(x: float, y: float) -> dict[str, Any]:
    return {"x": x, "y": y, "highlight": True, "active": False}


def mark(x0: float, y0: float, x1: float, y1: float, **more: Any) -> dict[str, Any]:
    box = {"active": False, "hasMoved": False, "movesIndependently": False, "allowedOutsideImage": True}
    handles = {"start": handle(x0, y0), "end": handle(x1, y1), "initialRotation": 0, "textBox": box}
    return {"visible": True, "active": False, "invalidated": False, "uuid": "b", "handles": handles, **more}


def image(number: int, rectangles: Any = None, lengths: Any = None, series: str = "9") -> dict[str, Any]:
    return {
        "studyID": f"{ORIGINAL}.8",
        "seriesID": f"{ORIGINAL}.{series}",
        "SOPInstanceUID": f"{ORIGINAL}.7.{number}",
        "annotations": {"lengthData": lengths, "rectangleData": rectangles},
    }


def test_boxes_and_lengths_come_over() -> None:
    stats = {"area": 12.5, "count": 25, "mean": 7, "stdDev": 1, "min": 1, "max": 9}
    text = json.dumps(
        [
            image(2, rectangles=[mark(10.5, 5, 30, 15.25, cachedStats=stats, unit="HU")]),
            image(4, lengths=[mark(1, 2, 3, 4, length=2.2, unit="mm"), mark(9, 9, 9, 9)]),
            image(1, rectangles=[mark(1, 1, 2, 2)], series="other"),
        ]
    )
    found = json.loads(text)
    assert is_deephealth(found)
    box, length = from_deephealth(found, SERIES, remap)
    assert (box.kind, box.slice_index, box.points_px) == ("box", 1, ((10.5, 5), (30, 15.25)))
    assert (length.kind, length.slice_index, length.points_px) == ("length", 3, ((1, 2), (3, 4)))
    assert box.series_uid == SERIES.uid
    assert from_deephealth(found, SERIES, remap) == (box, length)  # the same ids again


def test_images_without_a_mark_need_no_slice() -> None:
    assert from_deephealth([image(77, rectangles=[])], SERIES, remap) == ()
    assert from_deephealth([], SERIES, remap) == ()


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([image(1, rectangles=[mark(1, 1, 5, 5)], series="other")], "another series"),
        ([image(77, rectangles=[mark(1, 1, 5, 5)])], "not loaded"),
        ([{"data": [mark(1, 1, 5, 5)]}], "early version"),
        ([image(1, rectangles=[{"handles": {"start": handle(1, 1)}}])], "two points"),
        ([image(1, rectangles=[mark(1, 1, 5, float("inf"))])], "two points"),
        ([{"SOPInstanceUID": "1"}], "two points"),
    ],
)
def test_what_cannot_be_placed_is_refused(found: Any, reason: str) -> None:
    assert is_deephealth(found)
    with pytest.raises(AnnotationError, match=reason):
        from_deephealth(found, SERIES, remap)


def test_a_scan_without_image_names_is_said() -> None:
    with pytest.raises(AnnotationError, match="load its DICOM files"):
        from_deephealth([image(1, [mark(1, 1, 5, 5)])], dataclasses.replace(SERIES, source=None), remap)


@pytest.mark.parametrize("other", [{}, "text", [1], [{"x": 1}], None])
def test_other_json_is_told_apart(other: Any) -> None:
    assert not is_deephealth(other)
