"""View: one slice at a time, windowed in the browser, with the box that everything else follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.dashboard.state import Region, State, tells_errors
from lesiondash.dashboard.store import LESION_UID, Scan, Store
from lesiondash.dashboard.widgets import Viewer
from lesiondash.errors import AnnotationError, BoxError
from lesiondash.frangi.response import frangi_filter
from lesiondash.images.dicom_series import NO_PIXEL_SPACING
from lesiondash.images.space import shift_between
from lesiondash.records import Annotation, Box, Series, Window

POINTS = {"box": 2, "length": 2, "recist": 4, "ellipse": 2, "arrow": 2, "text": 1}
MOST_MARKS = 5000
SLACK_PX = 1.0
TOLERANCE = 1e-4
"""Of the overlay: not one of its 255 levels."""
LONGEST = {"id": 200, "label": 200, "note": 10_000}
"""As in the schema of annotations."""


class ViewPanel:
    """Shows what the focus asks for; writes the slice, the window, the region and the annotations."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        window = [state.window.center_hu, state.window.width_hu]
        self.widget = Viewer(self.slice_hu, self.overlay, self.act, window=window)
        self._query: Region | None = None
        self._seen: dict[str, Series] = {}
        state.observe(self._follow_focus, "focus")
        state.observe(self._follow_beside, "beside")
        state.observe(self._follow_window, "wished_window")
        state.observe(self._follow_annotations, "wished_annotations")
        state.observe(self._forget_overlays, ["params", "window"])

    def slice_hu(self, uid: str, index: int) -> tuple[npt.NDArray[np.int16], float, float] | None:
        """Return one slice as int16, (y, x), with slope and intercept to HU or values; None where there is none."""
        scan = self.store.scans.get(uid)
        if scan is None or not 0 <= index < len(scan.series):
            return None
        hu = scan.series.hu[index]
        if hu.dtype == np.int16:
            return hu, 1.0, 0.0
        if scan.series.unit == "HU":
            return np.clip(np.rint(hu), -32768, 32767).astype(np.int16), 1.0, 0.0
        low, high = float(hu.min()), float(hu.max())  # a slice's own range: a map of diffusion lies within 0.01
        slope, intercept = max(high - low, 1e-12) / 65_000, (low + high) / 2
        return np.rint((hu - intercept) / slope).astype(np.int16), slope, intercept

    @tells_errors
    def overlay(self, uid: str, index: int) -> npt.NDArray[np.uint8] | None:
        """Return the filter's response to a slice, at the present setting and window, as 0 to 255, (y, x)."""
        scan = self.store.scans.get(uid)
        if scan is None or not 0 <= index < len(scan.series):
            return None
        seen, step_y, step_x = self.state.window.apply(scan.series.hu[index]), *scan.series.spacing_mm[1:]
        # The audit of scikit-image knows neither spacing nor interpolated scales; else σ is in pixels of a column.
        options: dict[str, Any] = {"tolerance": TOLERANCE, "spacing_mm": (1.0, step_x / step_y)}
        if self.state.params.formula == "skimage":
            options = {}
        response = frangi_filter(seen, self.state.params, dtype=np.float32, **options).response
        return np.asarray(np.rint(255 * response / max(float(response.max()), 1e-9)), np.uint8)

    @tells_errors
    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did in the viewer: box, slice, window, marks, back, the second series."""
        kind = message["type"]
        if kind == "box":
            self.draw(*message["box"], slice_index=int(message["index"]), number=int(message.get("number", 0)))
        elif kind == "box_gone":
            self.clear_box()
        elif kind == "slice_shown":
            self.state.slice_index = int(message["index"])
        elif kind == "window":
            self._set_window(Window(float(message["center"]), max(float(message["width"]), 1.0)))
        elif kind == "annotate":
            told = {"by": str(message["view"]), "revision": int(message["revision"])}
            self.annotate(str(message["uid"]), message["items"], **told)
        elif kind == "back":
            self.back()
        elif kind == "beside_open":
            self.open_beside(int(message["index"]))
        elif kind == "beside_close":
            self.close_beside()

    @tells_errors
    def annotate(self, uid: str, items: list[dict[str, Any]], *, by: str = "kernel", revision: int = 0) -> None:
        """Keep these marks, and no others, on a series; raises `AnnotationError`, and keeps the old, for a bad one.

        by: which view of the widget changed them, in its how-manieth change; the others follow it.
        """
        scan = self.store.scans.get(uid)
        if scan is None:
            raise AnnotationError("The scan that was drawn on is not loaded; drop it again, the marks are kept.")
        marks = _checked(items, scan.series)
        self.store.annotations.replace(uid, marks)
        if uid == self.widget.scan.get("uid"):
            self._tell_annotations(by=by, revision=revision)

    def draw(self, x0: float, y0: float, x1: float, y1: float, *, slice_index: int, number: int = 0) -> None:
        """Draw a box, in pixels, on a slice of the series shown; raises `BoxError` where it cannot be.

        number: which of the browser's wishes this is; its answer says so.
        """
        scan = self.store.scans.get(str(self.widget.scan.get("uid", "")))
        if scan is None:
            raise BoxError("There is no scan to draw on; load one first.")
        if not all(isinstance(value, int | float) for value in (x0, y0, x1, y1)):
            raise BoxError("The box needs four numbers: left, top, right and bottom, in pixels.")
        box = Box(x0, y0, x1, y1).inside(*scan.series.hu.shape[1:])
        self.widget.banner = ""
        self._set_region(Region(scan.uid, slice_index, box), number)

    def clear_box(self) -> None:
        """Take the box off the slice; the nine that it found stay until the next search."""
        self.widget.box = []
        self.state.region = None

    def _follow_window(self, change: Any) -> None:
        if change.new is not None:
            # A message, not the trait: a trait that still holds the wish would not tell the browser of it again.
            self.widget.send({"type": "window", "center": change.new.center_hu, "width": change.new.width_hu})
            self._set_window(change.new)

    def _follow_annotations(self, change: Any) -> None:
        if change.new is None:
            return
        uid = str(self.widget.scan.get("uid", ""))
        self.store.annotations.replace(uid, [item for item in change.new if item.series_uid == uid])
        self._tell_annotations()

    def _tell_annotations(self, *, by: str = "kernel", revision: int = 0) -> None:
        """Let page and panels know the marks of the series shown."""
        uid = str(self.widget.scan.get("uid", ""))
        marks = self.store.annotations.of(uid)
        self.widget.annotations = {
            "uid": uid,
            "by": by,
            "revision": revision,
            "items": [_as_dict(item) for item in marks],
        }
        self.state.annotations = marks

    def _forget_overlays(self, _: Any) -> None:
        self.widget.overlay_version += 1

    def _set_window(self, window: Window) -> None:
        self.widget.window = [window.center_hu, window.width_hu]
        self.state.window = window

    def back(self) -> None:
        """Return from a result to the query."""
        if self._query is not None:
            query = self._query
            self.state.show(query.series_uid, query.slice_index, query.box, search=False)

    def close_beside(self) -> None:
        """Show one series alone again."""
        self.widget.beside = {}

    def open_beside(self, slice_index: int | None = None) -> None:
        """Show the second series in the first one's place, at this slice or at that of its box."""
        beside = self.widget.beside
        if beside:
            *edges, of_box = beside["box"] or (None,)
            at = beside["slice_index"] if slice_index is None else slice_index
            self.state.show(beside["uid"], at, Box(*edges) if edges and at == of_box else None, search=False)

    @tells_errors
    def _follow_beside(self, _: Any) -> None:
        """Show a second series beside the first; alone where there is no first."""
        wish = self.state.beside
        if wish is None:
            return
        first = self.store.scans.get(str(self.widget.scan.get("uid", "")))
        if first is None:
            self.state.show(wish.series_uid, wish.slice_index, wish.box, search=False)
            return
        scan = self.store.scans[wish.series_uid]
        shift_mm = shift_between(first.series, scan.series)
        self.widget.beside = {
            **_described(scan),
            "slice_index": wish.slice_index,
            "box": [] if wish.box is None else _edges(wish.box, wish.slice_index),
            "shift_mm": None if shift_mm is None else list(shift_mm),
        }

    def _follow_focus(self, _: Any) -> None:
        focus = self.state.focus
        if focus is None:
            return
        scan = self.store.scans[focus.series_uid]
        if self._seen.get(scan.uid, scan.series) is not scan.series:
            self.widget.loaded += 1
        self._seen[scan.uid] = scan.series
        looking = not focus.search and focus.series_uid.startswith(LESION_UID)
        self.widget.banner = scan.title if looking else ""
        if scan.uid != self.widget.scan.get("uid"):
            self.close_beside()
        with self.widget.hold_sync():
            self.widget.scan = _described(scan)
            self.widget.slice_index = focus.slice_index
            self.widget.box = [] if focus.box is None else _edges(focus.box, focus.slice_index)
            self._tell_annotations()
        self.state.slice_index = focus.slice_index
        if focus.box is None:
            self.state.region = None
        else:
            self._set_region(Region(scan.uid, focus.slice_index, focus.box, focus.search))

    def _set_region(self, region: Region, number: int = 0) -> None:
        self.widget.box = [*_edges(region.box, region.slice_index), *([number] if number else [])]
        if region.search:
            self._query = region
        self.state.region = region


def _described(scan: Scan) -> dict[str, Any]:
    """Return what the browser has to know of a series to show it."""
    height, width = scan.series.hu.shape[1:]
    return {
        "uid": scan.uid,
        "title": scan.title,
        "count": len(scan.series),
        "height": height,
        "width": width,
        "spacing_mm": list(scan.series.spacing_mm),
        "positions_mm": list(scan.series.positions_mm),
        "notes": list(scan.series.notes),
        "unit": scan.series.unit,
        "orientation": _orientation(scan.series),
        "frame_rate_hz": scan.series.frame_rate_hz,
        "spacing_assumed": NO_PIXEL_SPACING in scan.series.notes,
    }


def _orientation(series: Series) -> list[float]:
    """Return the six direction cosines, or nothing where the files do not say."""
    return [] if series.source is None or series.source.orientation is None else list(series.source.orientation)


def _as_dict(item: Annotation) -> dict[str, Any]:
    return {
        "id": item.id,
        "kind": item.kind,
        "slice": item.slice_index,
        "points": [list(point) for point in item.points_px],
        "label": item.label,
        "note": item.note,
    }


def _checked(items: list[dict[str, Any]], series: Series) -> tuple[Annotation, ...]:
    """Return what the browser sent as annotations; raises `AnnotationError` for what cannot be one."""
    if len(items) > MOST_MARKS:
        raise AnnotationError(f"There are {len(items):,} marks on this series; keep {MOST_MARKS:,} at most.")
    marks = tuple(_annotation(item, series) for item in items)
    if len({mark.id for mark in marks}) < len(marks):
        raise AnnotationError("Two marks have the same id; draw the last one again.")
    return marks


def _annotation(item: dict[str, Any], series: Series) -> Annotation:
    kind, points = item.get("kind"), item.get("points", [])
    if kind not in POINTS or len(points) != POINTS[kind]:
        raise AnnotationError(f"A mark of kind {str(kind)[:20]!r} with {len(points)} points is none; draw it again.")
    try:
        index, placed = int(item["slice"]), np.array(points, np.float64)
    except (KeyError, TypeError, ValueError):
        raise AnnotationError("A mark's points are not pairs of numbers; draw it again.") from None
    if not 0 <= index < len(series):
        raise AnnotationError(f"A mark is on slice {index + 1}; this series has slices 1 to {len(series)}.")
    if placed.shape != (POINTS[kind], 2) or not np.isfinite(placed).all():
        raise AnnotationError("A mark's points are not pairs of numbers; draw it again.")
    height, width = series.hu.shape[1:]
    if (placed < -SLACK_PX).any() or (placed > np.array([width, height]) + SLACK_PX).any():
        raise AnnotationError(f"A mark lies outside the image of {width} × {height} pixels; draw it again.")
    words = {name: str(item.get(name, "")) for name in LONGEST}
    for name, most in LONGEST.items():
        if len(words[name]) > most:
            raise AnnotationError(f"The {name} of a mark has {len(words[name]):,} letters; write {most:,} at most.")
    spots = tuple((float(x), float(y)) for x, y in placed)
    return Annotation(words["id"], kind, series.uid, index, spots, words["label"], words["note"])


def _edges(box: Box, slice_index: int) -> list[float]:
    return [box.x0, box.y0, box.x1, box.y1, slice_index]
