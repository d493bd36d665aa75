"""Two slices side by side: a result beside its query, two series scrolled together by mm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_page import drop, open_case

pytestmark = pytest.mark.browser
FIRST, SECOND = ".ld-stage >> nth=0", ".ld-stage >> nth=1"


def z_mm(page: Any, stage: str) -> float:
    return float(page.locator(stage).locator(".ld-tl").inner_text().split("z ")[1].removesuffix(" mm"))


def slice_of(page: Any, stage: str) -> int:
    return int(page.locator(stage).locator(".ld-tl").inner_text().split()[1])


def wait_for_slices(page: Any, first: int, second: int) -> None:
    """Wait until the two pictures show these slices: each is drawn with its next frame."""
    for place, number in enumerate((first, second)):
        page.wait_for_function(
            f"document.querySelectorAll('.ld-tl')[{place}].textContent.startsWith('slice {number} ')"
        )


def wait_for_second(page: Any) -> None:
    page.wait_for_function("document.querySelectorAll('.ld-stage')[1].dataset.drawn")


def pixels(page: Any, stage: str) -> str:
    return page.locator(stage).locator("canvas").evaluate("canvas => canvas.toDataURL()")


@pytest.fixture
def compared(opened: Any, shared_dicom: Path) -> Any:
    """A head scan, and beside it a chest scan."""
    page = opened.page
    for number, name in enumerate(("ge_thorax_3slice", "ge_head_gantry_tilt_28"), start=1):
        drop(page, sorted((shared_dicom / name).iterdir()))
        page.wait_for_function(f"document.querySelectorAll('.ld-scan').length === {number}")
    page.locator(".ld-scan").first.hover()
    page.get_by_role("button", name="Beside the open scan: Scan 1").click()
    wait_for_second(page)
    return opened


def test_result_stands_beside_its_query_with_the_same_window(opened: Any) -> None:
    page = opened.page
    open_case(page)
    before = page.locator(FIRST).locator(".ld-tl").inner_text()
    page.locator("button.ld-tile").nth(1).press("Enter")
    wait_for_second(page)
    assert page.locator(FIRST).locator(".ld-tl").inner_text() == before
    scales = [page.locator(stage).locator(".ld-scale").bounding_box()["width"] for stage in (FIRST, SECOND)]
    assert scales[0] == pytest.approx(scales[1], abs=1)
    seen = pixels(page, SECOND)
    page.locator(FIRST).locator("canvas").press("1")
    page.wait_for_function("document.querySelectorAll('.ld-tr')[1].textContent === 'W 1500 L -600'")
    assert pixels(page, SECOND) != seen
    page.locator(FIRST).locator("canvas").press("g")  # both lesions, enlarged
    page.wait_for_function("document.querySelector('.ld-br span').textContent !== '100 mm'")
    page.locator(SECOND).locator("canvas").press("x")
    page.wait_for_selector(".ld-stage >> nth=1", state="hidden")
    assert opened.errors == []


def test_two_series_scroll_together_by_mm(compared: Any) -> None:
    page = compared.page
    apart = z_mm(page, SECOND) - z_mm(page, FIRST)
    assert slice_of(page, SECOND) == 2
    page.locator(SECOND).locator("canvas").hover()
    page.mouse.wheel(0, 100)  # one slice of 1 mm: none of the 4 mm slices is nearer yet
    first = slice_of(page, FIRST)
    wait_for_slices(page, first, 3)
    page.locator(FIRST).locator("canvas").press("ArrowUp")
    wait_for_slices(page, first - 1, 1)  # the nearest slice in mm, and there are but three
    page.locator(FIRST).locator("canvas").press("ArrowDown")
    wait_for_slices(page, first, 2)
    assert z_mm(page, SECOND) - z_mm(page, FIRST) == pytest.approx(apart, abs=0.51)
    assert compared.errors == []


def test_apart_each_scrolls_zooms_and_pans_alone(compared: Any) -> None:
    page = compared.page
    page.get_by_role("button", name="Y Linked").press("Enter")
    first, second = slice_of(page, FIRST), pixels(page, FIRST)
    canvas = page.locator(SECOND).locator("canvas")
    canvas.press("ArrowUp")
    page.wait_for_function("document.querySelectorAll('.ld-tl')[1].textContent.startsWith('slice 1 ')")
    bounds = canvas.bounding_box()
    for button in ("left", "right"):
        page.mouse.move(bounds["x"] + 100, bounds["y"] + 100)
        seen = pixels(page, SECOND)
        page.mouse.down(button=button)
        page.mouse.move(bounds["x"] + 130, bounds["y"] + 140, steps=4)
        page.mouse.up(button=button)
        page.wait_for_timeout(100)
        assert pixels(page, SECOND) != seen, button
    assert slice_of(page, FIRST) == first
    assert pixels(page, FIRST) == second
    page.keyboard.press("y")
    assert page.get_by_role("button", name="Y Linked").get_attribute("aria-pressed") == "true"


def test_wide_open_and_close(compared: Any) -> None:
    page = compared.page
    narrow = page.locator(SECOND).bounding_box()["width"]
    page.get_by_role("button", name="Wide").click()
    page.wait_for_function(f"document.querySelectorAll('.ld-stage')[1].clientWidth > {1.5 * narrow}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 390, "height": 900})
    boxes = [page.locator(stage).bounding_box() for stage in (FIRST, SECOND)]
    assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"], "one below the other where there is no room"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Open", exact=True).click()
    page.wait_for_selector(".ld-stage >> nth=1", state="hidden")
    assert "of 3" not in page.locator(FIRST).locator(".ld-tl").inner_text()
    assert "/ 3" in page.locator(FIRST).locator(".ld-tl").inner_text()
