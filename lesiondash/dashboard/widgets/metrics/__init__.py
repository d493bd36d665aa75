"""The evaluation's scores as a table with pictures: interval, chance and the best possible on one line each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class Metrics(anywidget.AnyWidget):
    """Asks `act` to measure or to show another scope; scopes: name, title and rows of scores for each.

    tables: what the report has beside them, each with title, head and rows of text.
    """

    _esm = module(HERE, "metrics")
    _css = HERE / "metrics.css"
    scopes = t.List().tag(sync=True)
    tables = t.List().tag(sync=True)
    notes = t.List().tag(sync=True)
    running = t.Bool(False).tag(sync=True)
    status = t.Unicode("").tag(sync=True)

    def __init__(self, act: Callable[[dict[str, Any]], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: act(content))
