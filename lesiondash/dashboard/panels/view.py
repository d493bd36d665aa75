"""View: one slice at a time, windowed in the browser, with the box that everything else follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.dashboard.state import Region, State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Viewer
from lesiondash.errors import BoxError
from lesiondash.records import Box, Window


class ViewPanel:
    """Shows what the focus asks for; writes the slice, the window and the region."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self.widget = Viewer(self.slice_hu, self.act, window=[state.window.center_hu, state.window.width_hu])
        self._query: Region | None = None
        state.observe(self._follow_focus, "focus")
        state.observe(self._follow_window, "wished_window")

    def slice_hu(self, uid: str, index: int) -> npt.NDArray[np.int16] | None:
        """Return one slice as int16 HU, (y, x), or None for a slice that is not there."""
        scan = self.store.scans.get(uid)
        if scan is None or not 0 <= index < len(scan.series):
            return None
        hu = scan.series.hu[index]
        return hu if hu.dtype == np.int16 else np.clip(np.rint(hu), -32768, 32767).astype(np.int16)

    @tells_errors
    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did in the viewer: box, slice, window, back."""
        kind = message["type"]
        if kind == "box":
            self.draw(*message["box"], slice_index=int(message["index"]))
        elif kind == "slice_shown":
            self.state.slice_index = int(message["index"])
        elif kind == "window":
            self._set_window(Window(float(message["center"]), max(float(message["width"]), 1.0)))
        elif kind == "back":
            self.back()

    def draw(self, x0: float, y0: float, x1: float, y1: float, *, slice_index: int) -> None:
        """Draw a box, in pixels, on a slice of the series shown; raises `BoxError` where it cannot be."""
        scan = self.store.scans.get(str(self.widget.scan.get("uid", "")))
        if scan is None:
            raise BoxError("There is no scan to draw on; load one first.")
        if not all(isinstance(value, int | float) for value in (x0, y0, x1, y1)):
            raise BoxError("The box needs four numbers: left, top, right and bottom, in pixels.")
        box = Box(x0, y0, x1, y1).inside(*scan.series.hu.shape[1:])
        self.widget.banner = ""
        self._set_region(Region(scan.uid, slice_index, box))

    def _follow_window(self, change: Any) -> None:
        if change.new is not None:
            # A message, not the trait: a trait that still holds the wish would not tell the browser of it again.
            self.widget.send({"type": "window", "center": change.new.center_hu, "width": change.new.width_hu})
            self._set_window(change.new)

    def _set_window(self, window: Window) -> None:
        self.widget.window = [window.center_hu, window.width_hu]
        self.state.window = window

    def back(self) -> None:
        """Return from a result to the query."""
        if self._query is not None:
            query = self._query
            self.state.show(query.series_uid, query.slice_index, query.box, search=False)

    def _follow_focus(self, _: Any) -> None:
        focus = self.state.focus
        if focus is None:
            return
        scan = self.store.scans[focus.series_uid]
        looking = not focus.search and focus.series_uid.startswith("lesion ")
        self.widget.banner = scan.title if looking else ""
        height, width = scan.series.hu.shape[1:]
        with self.widget.hold_sync():
            self.widget.scan = {
                "uid": scan.uid,
                "title": scan.title,
                "count": len(scan.series),
                "height": height,
                "width": width,
                "spacing_mm": list(scan.series.spacing_mm),
                "positions_mm": list(scan.series.positions_mm),
                "notes": list(scan.series.notes),
            }
            self.widget.slice_index = focus.slice_index
            self.widget.box = [] if focus.box is None else _edges(focus.box, focus.slice_index)
        self.state.slice_index = focus.slice_index
        if focus.box is None:
            self.state.region = None
        else:
            self._set_region(Region(scan.uid, focus.slice_index, focus.box, focus.search))

    def _set_region(self, region: Region) -> None:
        self.widget.box = _edges(region.box, region.slice_index)
        if region.search:
            self._query = region
        self.state.region = region


def _edges(box: Box, slice_index: int) -> list[float]:
    return [box.x0, box.y0, box.x1, box.y1, slice_index]
