"""Annotations as a CSV table: a row for each, in pixels and in mm, with what it measures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from lesiondash.annotations.measure import measures
from lesiondash.annotations.place import points_mm, slice_names
from lesiondash.records import Annotation, Series

COLUMNS = (
    *("id", "kind", "label", "note", "series_uid", "slice_index", "sop_instance_uid", "frame_number", "position_mm"),
    *("points_px", "points_mm", "length_mm", "long_mm", "short_mm", "angle_deg", "width_mm", "height_mm", "area_mm2"),
    *("unit", "mean", "sd", "minimum", "maximum", "pixels"),
)


def to_csv(series: Series, annotations: Iterable[Annotation]) -> str:
    """Return a table with the columns `COLUMNS`; slice_index counts from 0, points are `x y` pairs parted by `;`.

    mean to maximum are in `unit`. Raises `AnnotationError` for an annotation on a slice that is not there.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    names = slice_names(series)
    for one in annotations:
        found, in_mm = measures(series, one), points_mm(series, one)
        row: dict[str, object] = {
            "id": one.id,
            "kind": one.kind,
            "label": _plain(one.label),
            "note": _plain(one.note),
            "series_uid": series.uid,
            "slice_index": one.slice_index,
            "sop_instance_uid": names[one.slice_index].sop_instance_uid,
            "frame_number": names[one.slice_index].frame_number,
            "position_mm": _short(names[one.slice_index].position_mm),
            "points_px": _listed(one.points_px),
            "points_mm": _listed(in_mm.tolist()),
            "length_mm": _short(found.length_mm),
            "area_mm2": _short(found.area_mm2),
        }
        if found.recist is not None:
            axes = found.recist
            row.update(long_mm=_short(axes.long_mm), short_mm=_short(axes.short_mm), angle_deg=_short(axes.angle_deg))
        if found.size_mm is not None:
            row.update(width_mm=_short(found.size_mm[0]), height_mm=_short(found.size_mm[1]))
        if found.statistics is not None and found.statistics.count:
            values = found.statistics
            row.update(
                unit=series.unit,
                mean=_short(values.mean),
                sd=_short(values.sd),
                minimum=_short(values.minimum),
                maximum=_short(values.maximum),
                pixels=values.count,
            )
        writer.writerow(row)
    return text.getvalue()


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def _listed(points: Iterable[Iterable[float]]) -> str:
    return ";".join(" ".join(_short(value) for value in point) for point in points)


def _plain(text: str) -> str:
    """Keep spreadsheets from taking a text for a formula: it may be of somebody else's file."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
