"""Search a PACS and fetch from it: what is typed travels as a message and never becomes part of the page's state."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class PacsList(anywidget.AnyWidget):
    """Asks `act` to search, fetch or stop.

    given: whether the server is set by whoever runs the page; found: rows of the answer, without a name or a UID;
    running: "", "search" or "fetch"; progress: [images that came, images expected]; status: a sentence.
    """

    _esm = module(HERE, "pacs")
    _css = HERE / "pacs.css"
    given = t.Bool(False).tag(sync=True)
    found = t.List().tag(sync=True)
    running = t.Unicode("").tag(sync=True)
    progress = t.List([0, 0]).tag(sync=True)
    status = t.Unicode("").tag(sync=True)

    def __init__(self, act: Callable[[dict[str, Any]], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: act(content))
