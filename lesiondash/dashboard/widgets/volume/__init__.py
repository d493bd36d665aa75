"""The controls of three planes and 3-D; the picture itself is ipyniivue's, made when it is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class VolumeBar(anywidget.AnyWidget):
    """Asks `act` to open, close, lay out, move the crosshair, show its slice, or open itkwidgets.

    ready: a series is there with slices enough; crosshair: shares of the way to the right, front and head.
    """

    _esm = module(HERE, "volume")
    _css = HERE / "volume.css"
    ready = t.Bool(False).tag(sync=True)
    opened = t.Bool(False).tag(sync=True)
    layout_name = t.Unicode("all").tag(sync=True)
    crosshair = t.List([0.5, 0.5, 0.5]).tag(sync=True)
    status = t.Unicode("").tag(sync=True)
    itk = t.Dict().tag(sync=True)

    def __init__(self, act: Callable[[dict[str, Any]], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: act(content))
