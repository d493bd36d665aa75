"""Suggested boxes as buttons: one click draws the box and searches for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class Suggest(anywidget.AnyWidget):
    """boxes: each suggestion's size in mm, strongest first; chosen: the place of the last one taken, −1 for none."""

    _esm = module(HERE, "suggest")
    _css = HERE / "suggest.css"
    boxes = t.List().tag(sync=True)
    chosen = t.Int(-1).tag(sync=True)
    status = t.Unicode("").tag(sync=True)

    def __init__(self, on_action: Callable[[dict[str, Any]], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: on_action(content))
