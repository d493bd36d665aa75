"""What the page benchmarks share: the command started as a person does, and a browser with outside hosts blocked."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
LIVE = ".ld-chip:has-text('device')"


@contextmanager
def dashboard() -> Iterator[tuple[str, float, int]]:
    """Run `lesiondash dashboard`; yields its address, the seconds until it was printed, and its process."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "lesiondash.cli", "dashboard", "--no-browser", "--port", "8940"]
    server = subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split(" at ")[1].split()[0]
        yield address, time.perf_counter() - start, server.pid
    finally:
        server.terminate()
        server.wait(20)


@contextmanager
def chromium_page(width: int = 1440) -> Iterator[Any]:
    """A page in headless Chromium that can reach this machine only."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": 1000})
        local = ("http://localhost:", "data:", "blob:")
        page.route("**/*", lambda r: r.continue_() if r.request.url.startswith(local) else r.abort())
        yield page
        browser.close()


def kernel_memory_mb(server: int) -> float:
    """Peak-free resident memory of the largest kernel below a server, as the operating system counts it."""
    pages = subprocess.run(["ps", "-eo", "pid=,ppid=,rss=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 3) for line in pages.stdout.splitlines()]
    family = {str(server)}
    for _ in range(4):
        family |= {pid for pid, parent, *_ in rows if parent in family}
    return max((int(rss) / 1024 for pid, _, rss, args in rows if pid in family and "ipykernel" in args), default=0.0)
