"""Planes and 3-D, the header and the PACS list in a real Chromium with software WebGL."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import CHROMIUM_FLAGS, Site, Watched
from PIL import Image

pytestmark = pytest.mark.browser
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
CANVAS = ".ld-panel-volume canvas"


@pytest.fixture
def drawn(site: Site) -> Iterator[Watched]:
    """The page in a Chromium that draws WebGL without a GPU, its first case opened."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        if os.environ.get("LESIONDASH_REQUIRE_BROWSER"):
            pytest.fail("Chromium is not installed, and this run must not skip the browser tests")
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    flags = [flag for flag in CHROMIUM_FLAGS if flag != "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*flags, *WEBGL])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        watch = Watched(page)
        page.on("request", lambda request: watch.outside.append(request.url) if _outside(request.url) else None)
        page.on("console", lambda message: watch.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: watch.errors.append(str(error)))
        page.goto(site.url)
        page.wait_for_selector(".ld-chip:has-text('device')", timeout=60_000)
        page.locator(".ld-load .ld-item").first.click()
        page.wait_for_selector("button.ld-tile", timeout=30_000)
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
    if os.environ.get("LESIONDASH_SHOTS"):
        page.locator(".ld-panel-volume").screenshot(path=os.environ["LESIONDASH_SHOTS"] + "/volume.png")
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
    if os.environ.get("LESIONDASH_SHOTS"):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (1440, 390):
                page.set_viewport_size({"width": width, "height": 1000})
                page.wait_for_timeout(500)
                page.screenshot(path=f"{os.environ['LESIONDASH_SHOTS']}/page-{scheme}-{width}.png", full_page=True)
    assert drawn.errors == []
