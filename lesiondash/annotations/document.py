"""Annotations as JSON: written with everything that finds them again, read back onto their scan and no other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lesiondash.annotations.measure import measures
from lesiondash.annotations.place import SliceName, find_slice, known_in_patient, points_mm, slice_names
from lesiondash.errors import AnnotationError
from lesiondash.records import Annotation, Series

FORMAT = "lesiondash annotations"
VERSION = 1
SCHEMA_PATH = Path(__file__).with_name("schema.json")
_SPACING_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Placed:
    """Annotations that found their slices, and how many did not; `rest` keeps those as they were written."""

    annotations: tuple[Annotation, ...]
    rest: tuple[dict[str, Any], ...] = ()


def to_document(series: Series, annotations: Iterable[Annotation]) -> dict[str, Any]:
    """Return annotations of a series as the JSON object that `schema.json` describes.

    Raises `AnnotationError` for an annotation on a slice that the series does not have.
    """
    names = slice_names(series)
    source = series.source
    return {
        "format": FORMAT,
        "version": VERSION,
        "series": {
            "uid": series.uid,
            "modality": series.modality,
            "unit": series.unit,
            "slices": len(series),
            "rows": int(series.hu.shape[1]),
            "columns": int(series.hu.shape[2]),
            "spacing_mm": [float(value) for value in series.spacing_mm],
            "frame_of_reference_uid": (source.frame_of_reference_uid or None) if source else None,
            "sop_instance_uids": list(dict.fromkeys(filter(None, source.sop_instance_uids))) if source else None,
            "points_mm_are": "patient" if known_in_patient(series) else "first pixel",
        },
        "annotations": [_item(series, names, annotation) for annotation in annotations],
    }


def _item(series: Series, names: tuple[SliceName, ...], annotation: Annotation) -> dict[str, Any]:
    in_mm = points_mm(series, annotation)
    name = names[annotation.slice_index]
    return {
        "id": annotation.id,
        "kind": annotation.kind,
        "label": annotation.label,
        "note": annotation.note,
        "slice_index": annotation.slice_index,
        "slice": {**asdict(name), "position_mm": float(name.position_mm)},
        "points_px": [[float(x), float(y)] for x, y in annotation.points_px],
        "points_mm": np.round(in_mm, 4).tolist(),
        "measures": _measured(series, annotation),
    }


def _measured(series: Series, annotation: Annotation) -> dict[str, float]:
    found = measures(series, annotation)
    values: dict[str, float | None] = {"length_mm": found.length_mm, "area_mm2": found.area_mm2}
    if found.recist is not None:
        values.update(long_mm=found.recist.long_mm, short_mm=found.recist.short_mm, angle_deg=found.recist.angle_deg)
    if found.size_mm is not None:
        values.update(width_mm=found.size_mm[0], height_mm=found.size_mm[1])
    return {name: round(value, 4) for name, value in values.items() if value is not None}


def parse(text: str) -> dict[str, Any]:
    """Read the JSON text of a document; raises `AnnotationError`, saying where, for anything that is none."""
    document = read_json(text)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise AnnotationError("This JSON file holds no annotations of lesiondash; choose one that was saved here.")
    if document.get("version") != VERSION:
        raise AnnotationError(
            f"These annotations are of another version than {VERSION}, which this program reads; update lesiondash."
        )
    problem = next(iter(sorted(_validator().iter_errors(document), key=lambda error: list(map(str, error.path)))), None)
    if problem is not None:
        # The value itself is not repeated: nobody knows what stands in a file from elsewhere.
        where = "/".join(map(str, problem.path)) or "the whole"
        raise AnnotationError(
            f"The annotations do not have their form at {where} (“{problem.validator}” does not hold); "
            "nothing was taken over. Save them again."
        )
    ids = [item["id"] for item in document["annotations"]]
    if len(set(ids)) < len(ids):
        raise AnnotationError("Two of the annotations have one id, so they cannot be told apart; save them again.")
    return document


def read_json(text: str) -> Any:
    """Read a JSON text; raises `AnnotationError` where it is damaged or holds numbers that are none."""

    def refuse(_: str) -> float:
        raise ValueError

    try:
        found = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise AnnotationError("This file is no JSON, or damaged; save the annotations again.") from None
    return found


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    return Draft202012Validator(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


def check_scan(document: dict[str, Any], series: Series) -> None:
    """Raise `AnnotationError`, with the reason, where a document is of another scan than a series."""
    saved = document["series"]
    if saved["uid"] != series.uid:
        raise AnnotationError("These annotations are of another series than the one shown; show theirs and try again.")
    for name, here, what in (
        ("slices", len(series), "slices"),
        ("rows", series.hu.shape[1], "rows of pixels"),
        ("columns", series.hu.shape[2], "columns of pixels"),
    ):
        if saved.get(name, here) != here:
            raise AnnotationError(
                f"These annotations are of a scan with {saved[name]:,} {what}; the one shown has {here:,}. "
                "Load the same files and try again."
            )
    spacing = saved.get("spacing_mm", series.spacing_mm)
    if not np.allclose(spacing, series.spacing_mm, rtol=_SPACING_TOLERANCE, atol=0):
        raise AnnotationError("These annotations are of a scan with pixels of another size in mm; load that scan.")


def place(document: dict[str, Any], series: Series) -> Placed:
    """Put a document's annotations on the slices of a series that they name, whatever their order."""
    found, rest = [], []
    for item in document["annotations"]:
        index = _slice_of(item, series)
        if index is None:
            rest.append(item)
            continue
        found.append(_annotation(item, series.uid, index))
    return Placed(tuple(found), tuple(rest))


def restore(document: dict[str, Any], series: Series) -> tuple[Annotation, ...]:
    """Return a document's annotations on their scan, all of them.

    Raises `AnnotationError`, with the reason, for another scan, for a slice that it does not have, and for points
    outside of its pixels.
    """
    check_scan(document, series)
    placed = place(document, series)
    if placed.rest:
        raise AnnotationError(
            f"{len(placed.rest)} of {len(document['annotations'])} annotations lie on slices that this scan does not "
            "have; nothing was taken over. Load all of its slices."
        )
    height, width = series.hu.shape[1:]
    for one in placed.annotations:
        if not all(-1 <= x <= width + 1 and -1 <= y <= height + 1 for x, y in one.points_px):
            raise AnnotationError(
                f"An annotation on slice {one.slice_index + 1} lies outside of the image of {width} × {height} "
                "pixels; nothing was taken over."
            )
    return placed.annotations


def _slice_of(item: dict[str, Any], series: Series) -> int | None:
    name = item.get("slice")
    if name is None:
        return item["slice_index"] if item["slice_index"] < len(series) else None
    return find_slice(series, SliceName(name.get("sop_instance_uid"), name.get("frame_number"), name["position_mm"]))


def _annotation(item: dict[str, Any], series_uid: str, slice_index: int) -> Annotation:
    points = tuple((float(x), float(y)) for x, y in item["points_px"])
    if not all(math.isfinite(value) for point in points for value in point):
        raise AnnotationError("An annotation has a point that is no number; nothing was taken over.")
    return Annotation(
        id=item["id"],
        kind=item["kind"],
        series_uid=series_uid,
        slice_index=slice_index,
        points_px=points,
        label=item.get("label", ""),
        note=item.get("note", ""),
    )
