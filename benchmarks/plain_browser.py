"""Chromium watched as little as can be: a driver that listens to the network copies every byte of an upload."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket
from page import FLAGS

_ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"


class PlainPage:
    """A page that can be opened, asked for values, and given files."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, suppress_origin=True, timeout=180)
        self._number = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv())).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(answer["error"]["message"])
        return dict(answer["result"])

    def value(self, expression: str) -> Any:
        """Return what an expression is in the page."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        return self.call("Runtime.evaluate", **asked)["result"].get("value")

    def wait(self, expression: str, limit_s: float = 120) -> float:
        """Wait until an expression is true; returns the moment."""
        end = time.perf_counter() + limit_s
        while not self.value(expression):
            if time.perf_counter() > end:
                raise TimeoutError(expression)
            time.sleep(0.05)
        return time.perf_counter()

    def choose(self, selector: str, files: list[Path]) -> float:
        """Give files to a file input, as its chooser does; returns the moment."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        start = time.perf_counter()
        place = found["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(path) for path in files], objectId=place)
        return start


@contextmanager
def plain_page() -> Iterator[PlainPage]:
    """A page in headless Chromium that can reach this machine only."""
    with tempfile.TemporaryDirectory() as profile:
        command = [str(shutil.which("chromium")), "--headless=new", "--remote-debugging-port=0", _ALONE, *FLAGS]
        browser = subprocess.Popen([*command, f"--user-data-dir={profile}", "about:blank"], stderr=subprocess.DEVNULL)
        try:
            port_file = Path(profile, "DevToolsActivePort")
            while not (port_file.is_file() and port_file.read_text().strip()):
                time.sleep(0.1)
            port = port_file.read_text().split()[0]
            with urllib.request.urlopen(f"http://localhost:{port}/json") as listing:
                pages = [each for each in json.load(listing) if each["type"] == "page"]
            yield PlainPage(pages[0]["webSocketDebuggerUrl"])
        finally:
            browser.terminate()
            browser.wait(20)
