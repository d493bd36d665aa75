"""Annotations of DeepHealth Annotate: its exported JSON, read onto the scan that is shown.

The form, as the program's export and import have it (umb-deephealth/deephealth-annotate, saveToolState): a list with an
object for each image that has any, with `studyID`, `seriesID`, `SOPInstanceUID` and `annotations`; in these,
`rectangleData` and `lengthData` are lists, or null, of the measurements of cornerstone-tools (RectangleRoi, Length),
whose `handles.start` and `handles.end` are the x and y of two corners or ends in pixels, (0, 0) being the outer corner
of the first one. An early version exported a list of `{"data": […]}` that names no image: it cannot be placed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from lesiondash.annotations.place import SliceName, find_slice, slice_names
from lesiondash.errors import AnnotationError
from lesiondash.images.dicom import series_uid_hash
from lesiondash.records import Annotation, AnnotationKind, Series

_KINDS: dict[str, AnnotationKind] = {"rectangleData": "box", "lengthData": "length"}


def is_deephealth(found: Any) -> bool:
    """Whether a JSON value looks like an export of DeepHealth Annotate, of any of its versions."""
    return isinstance(found, list) and all(
        isinstance(item, dict) and ("SOPInstanceUID" in item or "data" in item) for item in found
    )


def from_deephealth(
    found: list[dict[str, Any]], series: Series, remap_uid: Callable[[str], str]
) -> tuple[Annotation, ...]:
    """Return the boxes and lengths of an export that lie on a series, all of them.

    remap_uid: what made the series' UIDs of those in the files, which the export names. Images of other series are
    passed over. Raises `AnnotationError`, with the reason, where none is of this series, or one lies on a slice that
    is not there.
    """
    if any("data" in item for item in found):
        raise AnnotationError(
            "This file is of an early version of DeepHealth Annotate, which did not say on which image an annotation "
            "lies; it cannot be placed. Draw them again, or export with a newer version."
        )
    images = [item for item in found if _is_of(item, series, remap_uid)]
    if found and not images:
        raise AnnotationError(
            "These annotations of DeepHealth Annotate are of another series than the one shown; show theirs and try "
            "again."
        )
    taken: list[Annotation] = []
    for item in images:
        marks = list(_marks(item))
        index = _slice_of(str(item["SOPInstanceUID"]), series, remap_uid)
        if index is None and marks:
            raise AnnotationError(
                "This file of DeepHealth Annotate has annotations on slices that are not loaded; nothing was taken "
                "over. Load all of the series."
            )
        for number, (kind, points) in enumerate(marks):
            name = f"{item['SOPInstanceUID']}/{kind}/{number}/{points}"
            # The same file again gives the same ids: dropped twice, nothing is there twice.
            mark_id = f"deephealth-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
            taken.append(Annotation(mark_id, kind, series.uid, index or 0, points))
    return tuple(taken)


def _is_of(item: dict[str, Any], series: Series, remap_uid: Callable[[str], str]) -> bool:
    """Whether an image is of the series; one whose series is not named may be, and its slice decides."""
    named, source = item.get("seriesID"), series.source
    if not isinstance(named, str) or series.uid == series_uid_hash(named):
        return True
    return source is not None and source.series_uid in {remap_uid(named), named}


def _slice_of(sop_instance_uid: str, series: Series, remap_uid: Callable[[str], str]) -> int | None:
    known = {name.sop_instance_uid for name in slice_names(series)} - {None}
    if not known:
        raise AnnotationError(
            "The scan shown does not say which image each slice is, so annotations of DeepHealth Annotate cannot be "
            "placed; load its DICOM files again."
        )
    mapped = remap_uid(sop_instance_uid)
    if mapped not in known:
        return None
    return find_slice(series, SliceName(mapped, None, float("nan")))


def _marks(item: dict[str, Any]) -> Iterator[tuple[AnnotationKind, tuple[tuple[float, float], ...]]]:
    annotations = item.get("annotations")
    if not isinstance(annotations, dict):
        raise _malformed()
    for name, kind in _KINDS.items():
        for mark in annotations.get(name) or ():
            try:
                handles = mark["handles"]
                points = tuple((float(handles[end]["x"]), float(handles[end]["y"])) for end in ("start", "end"))
            except (TypeError, KeyError, ValueError):
                raise _malformed() from None
            if not all(-1e5 < value < 1e5 for point in points for value in point):
                raise _malformed()
            if points[0] != points[1]:  # a click that drew nothing is kept by that program
                yield kind, points


def _malformed() -> AnnotationError:
    return AnnotationError(
        "This file of DeepHealth Annotate has an annotation without its two points; nothing was taken over. "
        "Export it again."
    )
