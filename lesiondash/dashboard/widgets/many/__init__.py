"""Many boxes searched for at once: a line for each, and files of all that was found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class Many(anywidget.AnyWidget):
    """lines: a dict for each box answered; sources: what can be searched for, [name, text]; done, total: progress."""

    _esm = module(HERE, "many")
    _css = HERE / "many.css"
    sources = t.List().tag(sync=True)
    lines = t.List().tag(sync=True)
    status = t.Unicode("").tag(sync=True)
    running = t.Bool(False).tag(sync=True)
    done = t.Int(0).tag(sync=True)
    total = t.Int(0).tag(sync=True)

    def __init__(self, on_action: Callable[[dict[str, Any]], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: on_action(content))
