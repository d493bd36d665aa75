"""Planes and 3-D, the header and the PACS list in a real Chromium with software WebGL."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from conftest import CHROMIUM_FLAGS, Site, Watched
from PIL import Image

WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
CANVAS = ".ld-panel-volume canvas"


@pytest.fixture(scope="module")
def drawn(launch: Callable[[list[str]], Any], site: Site) -> Iterator[Watched]:
    """The page in a Chromium that draws WebGL without a GPU, its first case opened."""
    browser = launch([*(flag for flag in CHROMIUM_FLAGS if flag != "--disable-gpu"), *WEBGL])
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    watch = Watched(page)
    page.on("request", lambda request: watch.outside.append(request.url) if _outside(request.url) else None)
    page.on("console", lambda message: watch.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: watch.errors.append(str(error)))
    page.goto(site.url)
    page.wait_for_selector(".ld-chip:has-text('device')", timeout=150_000)
    page.locator(".ld-load .ld-item").first.click()
    page.wait_for_selector("button.ld-tile", timeout=60_000)
    yield watch
    browser.close()


def _outside(url: str) -> bool:
    return not url.startswith(("http://localhost:", "data:", "blob:"))


def brightness(page: Any) -> float:
    """Mean grey of the picture as the screen shows it."""
    picture = page.locator(CANVAS).screenshot()
    return float(np.asarray(Image.open(io.BytesIO(picture)).convert("L")).mean())


def test_planes_open_follow_the_viewer_and_close(drawn: Watched) -> None:
    page = drawn.page
    assert page.locator(CANVAS).count() == 0, "nothing heavy before somebody asks"
    page.get_by_role("button", name="Open planes and 3-D").click()
    page.wait_for_selector(CANVAS, timeout=30_000)
    page.wait_for_function("document.querySelector('.ld-volume [role=status]').textContent.includes('voxels')")
    for _ in range(60):
        page.wait_for_timeout(250)
        if brightness(page) > 5:
            break
    before = brightness(page)
    assert before > 5, "the volume is drawn"
    page.locator(".ld-view canvas").first.focus()
    page.keyboard.press("1")  # the lung window: everything soft is white
    for _ in range(40):
        page.wait_for_timeout(100)
        if abs(brightness(page) - before) > 10:
            break
    assert abs(brightness(page) - before) > 10, "the window follows the viewer's"
    head = page.get_by_role("slider", name="crosshair, feet – head")
    was = page.locator(".ld-view").get_attribute("data-slice")
    head.focus()
    page.keyboard.press("End")
    page.get_by_role("button", name="Show this slice").click()
    page.wait_for_function(f"document.querySelector('.ld-view').dataset.slice !== '{was}'")
    assert float(head.input_value()) > 0.9
    page.locator(".ld-volume").get_by_role("button", name="Close").click()
    page.wait_for_function(f"!document.querySelector('{CANVAS}')")
    assert drawn.outside == []
    assert drawn.errors == []


def test_header_is_searched_and_copied(drawn: Watched) -> None:
    page = drawn.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel = page.locator(".ld-panel-header")
    panel.scroll_into_view_if_needed()
    rows = panel.locator("tbody tr")
    page.wait_for_function("!document.querySelector('.ld-header').innerText.includes('Load a scan')")
    if rows.count() == 0:
        assert "without a header" in panel.inner_text()
        pytest.skip("this case has no header to search in")
    everything = rows.count()
    panel.get_by_role("searchbox").fill("modality")
    page.wait_for_function(f"document.querySelectorAll('.ld-header tbody tr').length < {everything}")
    panel.get_by_role("button", name="Copy").click()
    page.wait_for_function("document.querySelector('.ld-header [role=status]').textContent.includes('copied')")
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0] == "Tag\tName\tVR\tValue"
    assert len(lines) == rows.count() + 1
    assert drawn.errors == []


def test_pacs_says_what_is_wrong(drawn: Watched) -> None:
    page = drawn.page
    page.locator(".ld-pacs summary").click()
    form = page.locator(".ld-pacs form")
    form.get_by_label("Server").fill("dicom://NOBODY@127.0.0.1:9")
    assert form.get_by_label("Our AE title").is_visible()
    assert not form.get_by_label("Password").is_visible()
    form.get_by_label("Patient ID").fill("P-1")
    form.get_by_label("Patient ID").press("Enter")
    notice = page.wait_for_selector(".ld-notice.error", timeout=30_000)
    assert "cannot be reached" in notice.inner_text()
    assert "P-1" not in json.dumps(notice.inner_text())
    assert drawn.errors == []
