"""A slice viewer: values are sent once as int16; windowing, zoom, pan and marks happen in the browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import numpy.typing as npt
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent
PARTS = ("geometry", "marks", "draw", "slices", "controls", "gestures", "pane", "beside", "viewer")
"""Joined in this order: a widget is one module, and what is declared above is known below."""


class Viewer(anywidget.AnyWidget):
    """Shows the series described by `scan`; asks `slice_hu(uid, index)` for a slice when it first comes into view.

    box: [x0, y0, x1, y1, slice] in pixels, then which of the browser's own wishes it answers, if any; or []. beside:
    a second series as in `scan`, with its slice_index, its box and, where both lie in one space, shift_mm: what to
    add, (x, y), to a place's mm from the first image's middle to have those from the second's; {} for none. window:
    [center_hu, width_hu]. annotations: {uid, items, by, revision}; by is the view whose own change, of that revision,
    the items only answer, or "kernel". loaded grows when a series was read anew: the slices that the browser has are
    no longer its own. overlay(uid, index) is the filter's response to a slice, uint8 (y, x); those of an older
    overlay_version are forgotten.
    """

    _esm = module(HERE, *PARTS)
    _css = HERE / "viewer.css"
    scan = t.Dict().tag(sync=True)
    slice_index = t.Int(0).tag(sync=True)
    box = t.List().tag(sync=True)
    window = t.List([40.0, 400.0]).tag(sync=True)
    beside = t.Dict().tag(sync=True)
    banner = t.Unicode("").tag(sync=True)
    annotations = t.Dict().tag(sync=True)
    overlay_version = t.Int(0).tag(sync=True)
    loaded = t.Int(0).tag(sync=True)

    def __init__(
        self,
        slice_hu: Callable[[str, int], tuple[npt.NDArray[np.int16], float, float] | None],
        overlay: Callable[[str, int], npt.NDArray[np.uint8] | None],
        on_action: Callable[[dict[str, Any]], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._slice_hu, self._overlay = slice_hu, overlay
        self._on_action = on_action
        self.on_msg(self._on_message)

    def _on_message(self, _: Any, content: dict[str, Any], __: list[Any]) -> None:
        kind, uid = content.get("type"), str(content.get("uid", ""))
        if kind == "slices":
            for index in content["indices"]:
                self._send_slice(uid, int(index))
        elif kind == "overlay":
            index = int(content["index"])
            told = {"type": "overlay", "uid": uid, "index": index, "version": self.overlay_version}
            self._send_picture(told, self._overlay(uid, index))
        else:
            self._on_action(content)

    def _send_slice(self, uid: str, index: int) -> None:
        found = self._slice_hu(uid, index)
        if found is not None:
            pixels, slope, intercept = found
            scale = {} if (slope, intercept) == (1.0, 0.0) else {"slope": slope, "intercept": intercept}
            self._send_picture({"type": "slice", "uid": uid, "index": index, **scale}, pixels)

    def _send_picture(self, told: dict[str, Any], picture: npt.NDArray[Any] | None) -> None:
        if picture is not None:
            self.send(told, [np.ascontiguousarray(picture).tobytes()])
