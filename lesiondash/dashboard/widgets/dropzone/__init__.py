"""A drop zone for scans of any size, and the lists of loaded scans and demonstration cases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class DropZone(anywidget.AnyWidget):
    """Files arrive in chunks small enough for any websocket, each acknowledged.

    receive: called with each message and its bytes; what it returns is sent back. reading: [] or the bytes that were
    read so far and are to be read in all.
    """

    _esm = module(HERE, "dropzone")
    _css = HERE / "dropzone.css"
    scans = t.List().tag(sync=True)
    cases = t.List().tag(sync=True)
    active = t.Unicode("").tag(sync=True)
    rejected = t.List().tag(sync=True)
    reading = t.List().tag(sync=True)

    def __init__(self, receive: Callable[[dict[str, Any], memoryview], dict[str, Any] | None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._receive = receive
        self.on_msg(self._on_message)

    def _on_message(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        reply = self._receive(content, memoryview(buffers[0]) if buffers else memoryview(b""))
        if reply is not None:
            self.send(reply)
