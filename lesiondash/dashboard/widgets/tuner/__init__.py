"""Sliders of the filter beside its response; one request at a time, the last value wins."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent
PARTS = ("paint", "sliders", "why", "tuner")
"""Joined in this order: a widget is one module, and what is declared above is known below."""
Answer = tuple[dict[str, Any], list[bytes]] | None


class Tuner(anywidget.AnyWidget):
    """Asks `actions` by the message's type; each answers with a description and pictures, or None where it cannot."""

    _esm = module(HERE, *PARTS)
    _css = HERE / "tuner.css"
    values = t.Dict().tag(sync=True)
    presets = t.List().tag(sync=True)
    windows = t.List().tag(sync=True)
    revision = t.Int(0).tag(sync=True)
    job = t.Dict({"running": False, "text": "", "share": 0.0}).tag(sync=True)

    def __init__(self, actions: Mapping[str, Callable[[dict[str, Any]], Answer]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._actions = actions
        self.on_msg(self._on_message)

    def _on_message(self, _: Any, content: dict[str, Any], __: list[Any]) -> None:
        kind, seq = str(content.get("type")), content.get("seq", 0)
        answer = self._actions[kind](content) if kind in self._actions else None
        if answer is None:
            self.send({"type": "refused", "of": kind, "seq": seq})
        else:
            self.send({"type": kind, "seq": seq, **answer[0]}, answer[1])
