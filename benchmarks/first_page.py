"""From the command to a usable page, when everything is prepared; against a page of voila that shows one slider."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from machine import describe
from page import CHECKOUT, LIVE, chromium_page, dashboard, kernel_memory_mb

ROUNDS = 3


def trivial_page() -> float:
    """Seconds from starting plain voila with one slider to seeing it."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell("import ipywidgets; ipywidgets.IntSlider()")]
        )
        nbformat.write(notebook, Path(folder, "one.ipynb"))
        settings = json.loads((CHECKOUT / "voila.json").read_text())
        settings["VoilaConfiguration"]["template"] = "lab"
        Path(folder, "voila.json").write_text(json.dumps(settings))
        start = time.perf_counter()
        command = [sys.executable, "-m", "voila", "one.ipynb", "--port=8941", "--no-browser"]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with chromium_page() as page:
                while True:
                    try:
                        page.goto("http://localhost:8941/")
                        break
                    except Exception:
                        time.sleep(0.1)
                page.wait_for_selector(".jupyter-widgets", timeout=60_000)
            return time.perf_counter() - start
        finally:
            server.terminate()
            server.wait(20)


def own_page() -> tuple[float, ...]:
    """Seconds: to the address; page asked to first paint; command to usable panels; page asked to live; in all; MB."""
    start = time.perf_counter()
    with dashboard() as (url, up, pid), chromium_page() as page:
        asked = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.wait_for_selector("#loading")
        painted = time.perf_counter() - asked
        page.wait_for_selector(".ld-load .ld-item", timeout=60_000)
        usable = time.perf_counter() - start
        page.wait_for_selector(LIVE, timeout=120_000)
        page.wait_for_selector(".ld-map .scatterlayer", timeout=60_000)
        live = time.perf_counter() - asked
        total = time.perf_counter() - start
        page.locator(".ld-load .ld-item").first.click()
        page.wait_for_selector("button.ld-tile")
        return up, painted, usable, live, total, kernel_memory_mb(pid)


def main() -> None:
    print(describe())
    rows, plain = [], []
    for _ in range(ROUNDS):
        rows.append(own_page())
        plain.append(trivial_page())
    names = (
        "command to address, s",
        "first paint, s",
        "command to usable page, s",
        "page live, s",
        "command to live page, s",
        "kernel memory, MB",
    )
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        print(f"{name:<28} median {statistics.median(values):7.1f}   {', '.join(f'{v:.1f}' for v in values)}")
    print(f"{'one-slider voila page, s':<28} median {statistics.median(plain):7.1f}")
    ratio = statistics.median(row[2] for row in rows) / statistics.median(plain)
    print(f"ratio, usable page to one-slider page: {ratio:.2f}")


if __name__ == "__main__":
    main()
