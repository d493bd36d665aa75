"""The list of a series' annotations: to look at, to label, to search by, to save and to read back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class Annotations(anywidget.AnyWidget):
    """Tells `act` what a hand did: show, search, label, delete, add, remove, save, take; `marks` are the rows,
    `added` the lesions that were added to the collection.

    A file that `save` asks for comes back as a message `{"type": "file", "name", "mime"}` with its bytes.
    """

    _esm = module(HERE, "annotations")
    _css = HERE / "annotations.css"
    marks = t.List().tag(sync=True)
    labels = t.List().tag(sync=True)
    added = t.List().tag(sync=True)
    scan = t.Unicode("").tag(sync=True)
    shown = t.Int(-1).tag(sync=True)

    def __init__(self, act: Callable[[dict[str, Any]], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: act(content))
