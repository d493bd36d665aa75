"""A real voila, a real Chromium, and every outside host blocked."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lesiondash.serve import server_command

CHECKOUT = Path(__file__).parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Site:
    """A running voila: its address, its process and its log."""

    url: str
    pid: int
    log: Path

    def kernels(self) -> int:
        """How many kernels it runs, as the operating system sees it."""
        listing = subprocess.run(["ps", "--ppid", str(self.pid), "-o", "args="], capture_output=True, text=True)
        return sum("ipykernel" in line for line in listing.stdout.splitlines())


@pytest.fixture(scope="session")
def serve() -> Callable[[Path, Path], AbstractContextManager[Site]]:
    """How a voila is started: with a data folder, and a log file, beside which annotations are kept."""
    return _serve


@contextmanager
def _serve(data: Path, log: Path) -> Iterator[Site]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Shorter than the page's own, for the test that waits for it; longer than a slow browser takes to connect.
    culling = ["--MappingKernelManager.cull_idle_timeout=20", "--MappingKernelManager.cull_interval=1"]
    with log.open("w") as output:
        server = subprocess.Popen(
            [*server_command(port), *culling],
            cwd=CHECKOUT,
            env={
                **os.environ,
                "LESIONDASH_DATA": str(data),
                "LESIONDASH_ANNOTATIONS": str(log.parent / "annotations"),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        url = f"http://localhost:{port}/"
        for _ in range(300):
            try:
                urllib.request.urlopen(url + "voila/static/voila.js", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Site(url, server.pid, log)
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="session")
def site(
    serve: Callable[[Path, Path], AbstractContextManager[Site]],
    demonstration: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    with serve(demonstration, tmp_path_factory.mktemp("voila") / "voila.log") as started:
        yield started


@dataclass
class Watched:
    """A page whose console errors and outside requests are written down."""

    page: Any
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[[list[str]], Any]]:
    """Start Chromium with some flags; one Playwright for all, since a process can run no second one beside it."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        if os.environ.get("LESIONDASH_REQUIRE_BROWSER"):
            pytest.fail("Chromium is not installed, and this run must not skip the browser tests")
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield lambda flags: playwright.chromium.launch(executable_path=executable, args=flags)


@pytest.fixture(scope="session")
def browser(launch: Callable[[list[str]], Any]) -> Iterator[Any]:
    started = launch(CHROMIUM_FLAGS)
    yield started
    started.close()


@contextmanager
def _watched(browser: Any) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    watch = Watched(page)

    def route(route: Any) -> None:
        if route.request.url.startswith(("http://localhost:", "data:", "blob:")):
            route.continue_()
        else:
            watch.outside.append(route.request.url)
            route.abort()

    context.route("**/*", route)
    page.on("console", lambda message: watch.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: watch.errors.append(str(error)))
    yield watch
    context.close()


def _opened(watched: Watched, site: Site) -> Watched:
    watched.page.goto(site.url)
    watched.page.wait_for_selector(".ld-chip:has-text('device')", timeout=150_000)
    try:
        # The legend comes with the lesions: a busy browser may draw the map without them first, and then anew.
        watched.page.wait_for_selector(".ld-map .js-plotly-plot .legend", timeout=60_000)
    except Exception as error:
        said = watched.page.locator(".ld-notice, .ld-map").all_inner_texts()
        raise AssertionError(f"The map is not drawn; the page says {said}.") from error
    return watched


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    """An empty page."""
    with _watched(browser) as watch:
        yield watch


@pytest.fixture
def opened(watched: Watched, site: Site) -> Watched:
    """The page, live: its map drawn and its encoder loaded."""
    return _opened(watched, site)


@pytest.fixture(scope="module")
def opened_once(browser: Any, site: Site) -> Iterator[Watched]:
    """The same, one for all tests of a file: each of them has to begin with what it needs."""
    with _watched(browser) as watch:
        yield _opened(watch, site)
