"""Every gesture and key of the slice viewer, in Chromium, on the demonstration's slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

VIEW = ".ld-view"
CANVAS = ".ld-view canvas"


def told(page: Any, what: str) -> Any:
    return page.locator(VIEW).get_attribute(f"data-{what}")


def wait_marks(page: Any, count: int) -> None:
    page.wait_for_function(f"document.querySelector('.ld-view').dataset.marks === '{count}'")


def drag(page: Any, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
    """Drag between two places given as shares of the canvas."""
    box = page.locator(CANVAS).first.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down(button=button)
    page.mouse.move(*[(a + b) / 2 for a, b in zip(*places, strict=True)])
    page.mouse.move(*places[1])
    page.mouse.up(button=button)


@pytest.fixture
def viewer(opened_once: Any) -> Iterator[Any]:
    """A page with the first case open, fitted, with no mark and nothing over it."""
    opened, page = opened_once, opened_once.page
    page.locator(".ld-load .ld-item").first.click()
    page.wait_for_function("document.querySelector('.ld-view').dataset.drawn")
    page.locator(CANVAS).first.focus()
    for key in ("Escape", "Escape", "2"):
        page.keyboard.press(key)
    if told(page, "overlay") == "yes":
        page.keyboard.press("f")
    while int(told(page, "marks") or 0):
        page.keyboard.press("n")
        count = int(told(page, "marks"))
        page.keyboard.press("Delete")
        wait_marks(page, count - 1)
    yield page
    # On leaving, voila's own page asks to end its kernel without the token that its server wants (voila #1458).
    assert [error for error in opened.errors if "403" not in error] == []
    assert opened.outside == []


def measure(page: Any) -> str:
    return str(page.locator(".ld-measure").inner_text())


def test_marks_are_drawn_measured_undone_and_deleted(viewer: Any) -> None:
    page = viewer
    for count, (key, said) in enumerate([("l", "length"), ("b", "RECIST"), ("e", "ellipse"), ("a", "arrow")], start=1):
        page.keyboard.press(key)
        drag(page, (0.4, 0.4 + count / 50), (0.55, 0.5 + count / 50))
        wait_marks(page, count)
        assert measure(page).startswith(said)
    page.keyboard.press("u")
    wait_marks(page, 3)
    page.keyboard.press("Control+z")
    wait_marks(page, 2)
    page.keyboard.press("Shift+U")
    wait_marks(page, 3)
    page.locator(VIEW).get_by_role("button", name="Redo").click()
    wait_marks(page, 4)
    page.locator(CANVAS).first.focus()
    page.keyboard.press("n")
    page.keyboard.press("Delete")
    wait_marks(page, 3)


def test_recist_axes_stay_at_right_angles_when_an_end_is_dragged(viewer: Any) -> None:
    page = viewer
    page.keyboard.press("b")
    drag(page, (0.4, 0.5), (0.6, 0.5))
    wait_marks(page, 1)
    first = measure(page)
    long, short = (float(part) for part in first.removeprefix("RECIST ").replace(" mm", "").split(" × "))
    assert short == pytest.approx(long / 2, rel=0.05)
    page.keyboard.press("v")
    drag(page, (0.6, 0.5), (0.65, 0.42))
    page.wait_for_function(f"document.querySelector('.ld-measure').textContent !== {first!r}")
    longer, same = (float(part) for part in measure(page).removeprefix("RECIST ").replace(" mm", "").split(" × "))
    assert longer > long
    assert same == pytest.approx(short, abs=0.2)


def test_an_ellipse_says_what_is_in_it_and_a_label_is_kept(viewer: Any) -> None:
    page = viewer
    page.keyboard.press("e")
    drag(page, (0.45, 0.45), (0.52, 0.52))
    wait_marks(page, 1)
    assert "±" in measure(page)
    assert "HU" in measure(page)
    assert "mm²" in measure(page)
    page.get_by_label("label of the selected mark").fill("cyst")
    page.get_by_label("label of the selected mark").press("Enter")
    page.wait_for_function(
        "[...document.querySelectorAll('.ld-panel-annotations input')].some((node) => node.value === 'cyst')"
    )


def test_marks_are_there_again_after_a_reload(viewer: Any) -> None:
    page = viewer
    page.keyboard.press("l")
    drag(page, (0.4, 0.4), (0.5, 0.5))
    wait_marks(page, 1)
    page.wait_for_function("!Object.keys(localStorage).some((key) => key.startsWith('lesiondash marks'))")
    page.reload()
    page.wait_for_selector(".ld-load .ld-item")
    page.locator(".ld-load .ld-item").first.click()
    wait_marks(page, 1)


def test_keys_alone_place_move_and_select(viewer: Any) -> None:
    page = viewer
    for key in ("l", "k", "e", "k"):
        page.keyboard.press(key)
    wait_marks(page, 2)
    before = measure(page)
    page.keyboard.press("Alt+Shift+ArrowRight")
    page.wait_for_function(f"document.querySelector('.ld-measure').textContent !== {before!r}")
    page.keyboard.press("n")
    page.wait_for_function("document.querySelector('.ld-measure').textContent.startsWith('length')")
    page.keyboard.press("Shift+N")
    page.wait_for_function("document.querySelector('.ld-measure').textContent.startsWith('ellipse')")
    page.keyboard.press("t")
    page.keyboard.press("k")
    wait_marks(page, 3)
    assert page.evaluate("document.activeElement.placeholder") == "label"


def test_wheel_cine_overlay_zoom_and_pan(viewer: Any) -> None:
    page = viewer
    start = int(told(page, "slice"))
    page.locator(CANVAS).first.hover()
    page.mouse.wheel(0, 100)
    page.wait_for_function(f"document.querySelector('.ld-view').dataset.slice === '{start + 1}'")
    page.keyboard.press("c")
    page.wait_for_function(f"document.querySelector('.ld-view').dataset.slice !== '{start + 1}'")
    page.keyboard.press("c")
    assert page.locator(VIEW).get_by_role("button", name="Cine").get_attribute("aria-pressed") == "false"
    page.keyboard.press("f")
    page.wait_for_function("document.querySelector('.ld-view').dataset.overlay === 'yes'")
    page.keyboard.press("f")
    page.wait_for_function("document.querySelector('.ld-view').dataset.overlay === ''")
    scale = ".ld-view .ld-br"
    for gesture in (lambda: drag(page, (0.5, 0.6), (0.5, 0.2), "right"), lambda: page.keyboard.press("+")):
        picture = page.locator(CANVAS).first.evaluate("canvas => canvas.toDataURL()")
        text = page.locator(scale).first.inner_html()
        gesture()
        page.wait_for_function(f"document.querySelector('{scale}').innerHTML !== {text!r}")
        assert page.locator(CANVAS).first.evaluate("canvas => canvas.toDataURL()") != picture
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    assert page.locator(VIEW).get_by_role("button", name="I Invert").get_attribute("aria-pressed") == "true"
    page.keyboard.press("i")


TOUCH = """(steps) => {
  const canvas = document.querySelector('.ld-view canvas'), box = canvas.getBoundingClientRect();
  for (const [type, pointerId, x] of steps) {
    canvas.dispatchEvent(new PointerEvent(type, { pointerId, pointerType: 'touch', bubbles: true, button: 0,
      clientX: box.left + x * box.width, clientY: box.top + 0.5 * box.height }));
  }
}"""


def test_two_fingers_zoom_and_one_draws(viewer: Any) -> None:
    page = viewer
    text = page.locator(".ld-view .ld-br").first.inner_html()
    apart = [("pointerdown", 11, 0.45), ("pointerdown", 12, 0.55), ("pointermove", 11, 0.3), ("pointermove", 12, 0.7)]
    page.evaluate(TOUCH, [*apart, ("pointerup", 11, 0.3), ("pointerup", 12, 0.7)])
    page.wait_for_function(f"document.querySelector('.ld-view .ld-br').innerHTML !== {text!r}")
    assert told(page, "marks") == "0"
    page.keyboard.press("l")
    page.evaluate(TOUCH, [("pointerdown", 13, 0.4), ("pointermove", 13, 0.5), ("pointerup", 13, 0.5)])
    wait_marks(page, 1)


def edge(page: Any) -> str:
    return str(page.get_by_label("box left edge, pixels").input_value())


def test_the_box_that_is_searched_for_goes_with_its_mark(viewer: Any) -> None:
    page = viewer
    page.keyboard.press("r")
    drag(page, (0.4, 0.4), (0.5, 0.5))
    wait_marks(page, 1)
    drawn = edge(page)
    page.keyboard.press("v")
    drag(page, (0.45, 0.4), (0.55, 0.4))  # a whole mark, by its edge
    page.wait_for_function(f"document.querySelector('.ld-edges input').value !== '{drawn}'")
    moved = edge(page)
    assert float(moved) > float(drawn)
    page.keyboard.press("u")
    page.wait_for_function(f"document.querySelector('.ld-edges input').value === '{drawn}'")
    page.keyboard.press("Shift+U")
    page.wait_for_function(f"document.querySelector('.ld-edges input').value === '{moved}'")
    page.keyboard.press("Delete")
    wait_marks(page, 0)
    page.wait_for_function("document.querySelector('.ld-edges input').value === ''")
    page.keyboard.press("u")
    wait_marks(page, 1)


def test_letters_go_on_working_from_a_button_that_was_clicked(viewer: Any) -> None:
    page = viewer
    page.locator(VIEW).get_by_role("button", name="1 lung").click()
    page.keyboard.press("e")
    assert page.locator(VIEW).get_by_role("button", name="E Ellipse").get_attribute("aria-pressed") == "true"
    start = int(told(page, "slice"))
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"document.querySelector('.ld-view').dataset.slice === '{start + 1}'")
    page.get_by_label("box left edge, pixels").fill("1")
    page.keyboard.press("l")
    assert page.locator(VIEW).get_by_role("button", name="L Length").get_attribute("aria-pressed") == "false"


def test_space_compares_two_settings_of_the_filter(viewer: Any) -> None:
    page = viewer
    beta, swap = page.locator(".ld-tune [data-name='beta']"), page.get_by_role("button", name="Space A ⇄ now")
    page.wait_for_function("document.querySelector('.ld-tune').dataset.peak > 0")
    assert swap.is_disabled()
    first = beta.input_value()
    page.keyboard.press(" ")
    page.get_by_role("button", name="Release A").wait_for()
    beta.fill("1.5")
    for expected in (first, "1.5"):
        page.locator(CANVAS).first.focus()
        page.keyboard.press(" ")
        page.wait_for_function(f"document.querySelector('.ld-tune [data-name=beta]').value === '{expected}'")
    page.get_by_role("button", name="Release A").click()
    beta.fill(first)


def test_pan_by_the_middle_button_and_by_its_tool(viewer: Any) -> None:
    page = viewer
    picture = "canvas => canvas.toDataURL()"
    start = page.locator(CANVAS).first.evaluate(picture)
    for button in ("middle", "left"):
        page.keyboard.press("p")
        drag(page, (0.4, 0.4), (0.5, 0.45), button)
        page.mouse.move(5, 5)
        page.wait_for_timeout(100)
        moved = page.locator(CANVAS).first.evaluate(picture)
        assert moved != start, button
        page.keyboard.press("Escape")
        page.wait_for_timeout(100)
        assert page.locator(CANVAS).first.evaluate(picture) == start, button
    assert told(page, "marks") == "0"


def test_values_under_the_pointer_and_opacity_of_the_response(viewer: Any) -> None:
    page = viewer
    box = page.locator(CANVAS).first.bounding_box()
    said = []
    for share in (0.02, 0.5):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
        page.wait_for_function("document.querySelector('.ld-view .ld-bl').textContent.includes(' HU at (')")
        said.append(page.locator(".ld-view .ld-bl").first.inner_text())
    air, middle = (int(text.split(" HU")[0]) for text in said)
    assert air < -900 < middle
    page.mouse.move(5, 5)
    page.wait_for_function("document.querySelector('.ld-view .ld-bl').textContent === ''")
    page.keyboard.press("f")
    page.wait_for_function("document.querySelector('.ld-view').dataset.overlay === 'yes'")
    pictures = []
    for opacity in ("0.2", "1"):
        page.get_by_label("opacity of the filter's response").fill(opacity)
        page.wait_for_timeout(100)
        pictures.append(page.locator(CANVAS).first.evaluate("canvas => canvas.toDataURL()"))
    assert pictures[0] != pictures[1]
