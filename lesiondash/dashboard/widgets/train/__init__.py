"""A training watched: its curves, its views, and buttons to start, pause, stop and resume it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class Train(anywidget.AnyWidget):
    """Asks `act` to start, pause, resume, stop, show or use a run.

    runs: name and state of each, the latest first; run: what is known of the one shown; curves: step and one list a
    measure, of the same length; views: a PNG of two views of a few lesions.
    """

    _esm = module(HERE, "train")
    _css = HERE / "train.css"
    choices = t.Dict().tag(sync=True)
    runs = t.List().tag(sync=True)
    run = t.Dict().tag(sync=True)
    curves = t.Dict().tag(sync=True)
    views = t.Bytes(b"").tag(sync=True)

    def __init__(self, act: Callable[[dict[str, Any]], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: act(content))
