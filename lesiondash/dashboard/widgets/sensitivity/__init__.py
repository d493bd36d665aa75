"""A heat map of what two parameters of the filter do to an outcome, computed while the page stays alive."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class Sensitivity(anywidget.AnyWidget):
    """Asks `act` to start, stop or export; shows `result`, which grows region by region, `share` done, and `status`.

    how: what the outcome of this run is measured by, where that is not plain from its name.
    """

    _esm = module(HERE, "sensitivity")
    _css = HERE / "sensitivity.css"
    choices = t.Dict().tag(sync=True)
    result = t.Dict().tag(sync=True)
    running = t.Bool(False).tag(sync=True)
    status = t.Unicode("").tag(sync=True)
    share = t.Float(0.0).tag(sync=True)
    how = t.Unicode("").tag(sync=True)

    def __init__(self, act: Callable[[dict[str, Any]], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: act(content))
