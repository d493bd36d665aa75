"""A CT slice viewer: HU are sent once as int16; windowing, zoom and pan happen in the browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import numpy.typing as npt
import traitlets as t

HERE = Path(__file__).parent


class Viewer(anywidget.AnyWidget):
    """Shows the series described by `scan`; asks `slice_hu(uid, index)` for a slice when it first comes into view.

    box: [x0, y0, x1, y1] in pixels, or []; window: [center_hu, width_hu].
    """

    _esm = HERE / "viewer.js"
    _css = HERE / "viewer.css"
    scan = t.Dict().tag(sync=True)
    slice_index = t.Int(0).tag(sync=True)
    box = t.List().tag(sync=True)
    window = t.List([40.0, 400.0]).tag(sync=True)
    banner = t.Unicode("").tag(sync=True)

    def __init__(
        self,
        slice_hu: Callable[[str, int], npt.NDArray[np.int16] | None],
        on_action: Callable[[dict[str, Any]], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._slice_hu = slice_hu
        self._on_action = on_action
        self.on_msg(self._on_message)

    def _on_message(self, _: Any, content: dict[str, Any], __: list[Any]) -> None:
        if content.get("type") != "slice":
            self._on_action(content)
            return
        uid, index = str(content["uid"]), int(content["index"])
        hu = self._slice_hu(uid, index)
        if hu is not None:
            self.send({"type": "slice", "uid": uid, "index": index}, [np.ascontiguousarray(hu).tobytes()])
