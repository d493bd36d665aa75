"""Serve the page with voila, and say so when it is ready to be opened."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path

from lesiondash.errors import LesionDashError

STARTUP_LIMIT_S = 60


def serve(port: int, *, collection: Path | None, partial: bool, browser: bool, say: Callable[[str], object]) -> int:
    """Run voila on the page until it ends; returns its exit code. Raises `LesionDashError` if it does not start."""
    root = page_root()
    port = free_port(port)
    environment = dict(os.environ)
    if collection is not None:
        environment["LESIONDASH_COLLECTION"] = str(collection.resolve())
    if partial:
        environment["LESIONDASH_PARTIAL"] = "1"
    # Told to end, Python would not clean up: voila and its kernels would go on without us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = subprocess.Popen(server_command(port), cwd=root, env=environment)
    url = f"http://localhost:{port}/"
    try:
        _wait_until_up(url, server)
        say(f"lesiondash is at {url}  (Ctrl+C ends it)")
        if browser and _has_browser():
            webbrowser.open(url)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait(10)


def server_command(port: int) -> list[str]:
    """Return the command that serves the page, for the folder that `page_root` returns."""
    page = "notebooks/dashboard.ipynb"
    return [sys.executable, "-m", "lesiondash.startup", page, f"--port={port}", "--no-browser"]


def page_root() -> Path:
    """Return the folder of `notebooks/dashboard.ipynb` and `voila.json`: the checkout, or where one is worked in."""
    for root in (Path(__file__).resolve().parents[1], Path.cwd()):
        if (root / "notebooks" / "dashboard.ipynb").is_file():
            return root
    raise LesionDashError(
        "notebooks/dashboard.ipynb was not found; run `lesiondash dashboard` in a checkout of lesiondash."
    )


def free_port(first: int) -> int:
    """Return the first port from `first` on that nothing listens to."""
    for port in range(first, first + 50):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise LesionDashError(f"Ports {first} to {first + 49} are all in use; choose another with --port.")


def _wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTUP_LIMIT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise LesionDashError(f"voila ended at once with code {server.returncode}; its message is above.")
        try:
            with urllib.request.urlopen(url + "voila/static/voila.js", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise LesionDashError(f"voila did not answer on {url} within {STARTUP_LIMIT_S} s; see its messages above.")


def _has_browser() -> bool:
    """Whether opening a browser can work: a desktop, not a server or a container."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and any(
        shutil.which(name) for name in ("xdg-open", "firefox", "chromium", "google-chrome")
    )
