"""Sliders of the filter beside its response; one request at a time, the last value wins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

HERE = Path(__file__).parent


class Tuner(anywidget.AnyWidget):
    """Sends its values to `respond`, which answers with a description and pictures; never more than one pending."""

    _esm = HERE / "tuner.js"
    _css = HERE / "tuner.css"
    values = t.Dict().tag(sync=True)
    revision = t.Int(0).tag(sync=True)

    def __init__(
        self, respond: Callable[[dict[str, Any]], tuple[dict[str, Any], list[bytes]] | None], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._respond = respond
        self.on_msg(self._on_message)

    def _on_message(self, _: Any, content: dict[str, Any], __: list[Any]) -> None:
        answer = self._respond(content)
        if answer is None:
            self.send({"type": "refused", "seq": content.get("seq", 0)})
        else:
            self.send({"type": "response", "seq": content.get("seq", 0), **answer[0]}, answer[1])
