"""The page in a real Chromium: from a scan to its nine nearest lesions, by mouse and by keyboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from running import CHECKOUT

pytestmark = pytest.mark.browser
VIEW = ".ld-view canvas >> nth=0"


def drop(page: Any, files: list[Path]) -> None:
    """Choose files as a hand does, through the file chooser."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Files or zip").click()
    chooser.value.set_files([str(path) for path in files])


def drag_box(page: Any, x0: float, y0: float, x1: float, y1: float) -> None:
    """Drag on the slice; the corners are shares of the canvas."""
    bounds = page.locator(VIEW).bounding_box()
    page.mouse.move(bounds["x"] + x0 * bounds["width"], bounds["y"] + y0 * bounds["height"])
    page.mouse.down()
    page.mouse.move(bounds["x"] + x1 * bounds["width"], bounds["y"] + y1 * bounds["height"], steps=6)
    page.mouse.up()


def wait_for_slice(page: Any) -> None:
    page.wait_for_function("document.querySelector('.ld-view').dataset.drawn")


def tile_ids(page: Any) -> list[str]:
    return page.locator("button.ld-tile").evaluate_all("nodes => nodes.map(node => node.dataset.lesion)")


def draw_lasso(page: Any) -> None:
    """Draw a lasso round the middle of the map."""
    plot = page.locator(".ld-map .nsewdrag").first
    plot.scroll_into_view_if_needed()
    bounds = plot.bounding_box()
    corners = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.25)]
    points = [(bounds["x"] + x * bounds["width"], bounds["y"] + y * bounds["height"]) for x, y in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()


def open_case(page: Any) -> None:
    page.locator(".ld-load .ld-item").first.click()
    page.wait_for_selector("button.ld-tile")
    wait_for_slice(page)
    assert page.locator(".ld-view .ld-edges input").first.input_value() != "", "the case's box is shown"


def test_from_a_dropped_scan_to_nine_lesions(opened: Any, shared_dicom: Path) -> None:
    page = opened.page
    drop(page, sorted((shared_dicom / "ge_thorax_3slice").iterdir()))
    wait_for_slice(page)
    assert "3" in page.locator(".ld-tl").first.inner_text()
    before = page.locator(".ld-view").get_attribute("data-slice")
    page.locator(VIEW).hover()
    page.mouse.wheel(0, 100)
    page.wait_for_function(f"document.querySelector('.ld-view').dataset.slice !== '{before}'")
    drag_box(page, 0.55, 0.45, 0.62, 0.52)
    page.wait_for_function("document.querySelectorAll('button.ld-tile').length === 9", timeout=5_000)
    label = page.locator("button.ld-tile").first.get_attribute("aria-label")
    assert all(word in label for word in ("mm", "patient", "similarity"))
    assert len(set(tile_ids(page))) == 9
    page.wait_for_function("document.querySelector('.ld-map').textContent.includes('its nine')")
    page.locator("button.ld-tile").first.click()
    page.wait_for_function("document.querySelectorAll('.ld-stage')[1].dataset.drawn")
    page.locator(".ld-tune input[data-name=beta]").fill("0.9")
    page.get_by_role("button", name="X Close").click()
    assert opened.outside == []
    assert opened.errors == []


def test_folder_of_files_dropped_on_the_zone(opened: Any, shared_dicom: Path) -> None:
    page = opened.page
    content = (shared_dicom / "pydicom" / "CT_small.dcm").read_bytes()
    page.evaluate(
        """async (bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "CT_small.dcm"));
            const zone = document.querySelector(".ld-drop");
            for (const kind of ["dragover", "drop"]) {
                zone.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
            }
        }""",
        list(content),
    )
    wait_for_slice(page)
    assert page.locator(".ld-load .ld-item canvas").count() == 1


def test_file_larger_than_a_websocket_message(opened: Any, demonstration: Path, tmp_path: Path) -> None:
    """Past 10 MiB the stock upload loses the file without a word."""
    case = next(path for path in sorted((demonstration / "demo" / "dicom").iterdir()) if path.is_dir())
    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for path in sorted(case.iterdir()):
            file.write(path, path.name)
        file.writestr("padding.bin", bytes(14 * 1024 * 1024))
    drop(opened.page, [archive])
    wait_for_slice(opened.page)
    assert "padding.bin" in opened.page.locator(".ld-rejected").inner_text()


def test_each_slider_moves_the_response(opened: Any) -> None:
    page = opened.page
    open_case(page)
    page.wait_for_function("document.querySelector('.ld-tune').dataset.peak > 0")
    canvas = "document.querySelectorAll('.ld-tune canvas')[1].toDataURL()"
    page.locator(".ld-tune input[data-name=rho]").fill("0.5")
    page.wait_for_timeout(300)
    for name, value in {
        "alpha": "0.3",
        "beta": "0.2",
        "gamma": "0.2",
        "rho": "0.2",
        "sigma_from": "2.6",
        "sigma_to": "4.6",
        "sigma_step": "2",
    }.items():
        peak = page.locator(".ld-tune").get_attribute("data-peak")
        picture = page.evaluate(canvas)
        page.locator(f".ld-tune input[data-name={name}]").fill(value)
        page.wait_for_function(
            f"document.querySelector('.ld-tune').dataset.peak !== '{peak}' || {canvas} !== {json.dumps(picture)}",
            timeout=5_000,
        )
    assert opened.errors == []


def test_a_dragged_slider_queues_nothing(opened: Any) -> None:
    """Sixty moves at once cost a few questions to the kernel, and the last value is the one shown."""
    page = opened.page
    open_case(page)
    page.wait_for_function("document.querySelector('.ld-tune').dataset.peak > 0")
    before = int(page.locator(".ld-tune").get_attribute("data-seq"))
    page.evaluate(
        """() => {
            const slider = document.querySelector('.ld-tune input[data-name=beta]');
            for (let i = 1; i <= 60; i += 1) {
                slider.value = 0.05 + i * 0.03;
                slider.dispatchEvent(new Event('input'));
            }
        }"""
    )
    page.wait_for_timeout(1_000)
    assert 1 <= int(page.locator(".ld-tune").get_attribute("data-seq")) - before <= 3


def test_tuner_compares_and_explains_by_keyboard(opened: Any) -> None:
    """Freeze, preset, single scale, terms under the cursor, whole slice and back: no mouse."""
    page = opened.page
    open_case(page)
    tune = page.locator(".ld-tune")
    page.wait_for_function("document.querySelector('.ld-tune').dataset.peak > 0")
    assert "only a gain" in tune.locator("label", has_text="α").first.inner_text()
    tune.get_by_role("button", name="Freeze as A").press("Enter")
    tune.get_by_label("preset", exact=True).select_option("balanced")
    page.wait_for_function("document.querySelector('.ld-tune input[data-name=rho]').value === '0.68'")
    assert tune.get_by_role("img", name="now − A").is_visible()
    tune.get_by_role("img", name="response").first.press("ArrowRight")
    page.wait_for_function("document.querySelector('.ld-why').textContent.includes('x 33, y 32')")
    cells = [row.split() for row in tune.locator(".ld-why tr").all_inner_texts()]
    assert [row[0] for row in cells] == ["λ₁", "A", "B", "C", "A"]
    factors = [float(row[-1]) for row in cells[1:]]
    dark = "Dark" in tune.locator(".ld-why [role=status]").inner_text()
    assert dark or factors[3] == pytest.approx(factors[0] * factors[1] * factors[2], rel=0.02)
    for rho in ("1", "0.68"):
        before = int(tune.get_attribute("data-seq"))
        tune.get_by_role("img", name="response").first.press(" ")
        page.wait_for_function(f"document.querySelector('.ld-tune input[data-name=rho]').value === '{rho}'")
        page.wait_for_function(f"Number(document.querySelector('.ld-tune').dataset.seq) > {before}")
    tune.locator(".ld-strip button").nth(2).press("Enter")
    page.wait_for_function(
        "document.querySelectorAll('.ld-tune .ld-strip button')[2].getAttribute('aria-pressed') === 'true'"
    )
    assert "alone" in tune.locator("figcaption").nth(1).inner_text()
    tune.get_by_label("area").select_option("slice")
    page.wait_for_function("document.querySelector('.ld-tune canvas').width > 64")
    tune.get_by_label("window", exact=True).select_option("lung")
    page.wait_for_function("document.querySelector('.ld-view').textContent.includes('W 1500 L -600')")
    page.locator(".ld-view").get_by_role("button", name="2 soft tissue").press("Enter")
    page.wait_for_function("document.querySelector('.ld-view').textContent.includes('W 400 L 40')")
    page.wait_for_timeout(300)
    tune.get_by_label("window", exact=True).select_option("lung")
    page.wait_for_function("document.querySelector('.ld-view').textContent.includes('W 1500 L -600')")
    tune.get_by_label("copy settings as").select_option("YAML")
    assert "rho: 0.68" in tune.locator("textarea").input_value()
    assert opened.errors == []


def test_sensitivity_fills_while_the_page_stays_alive(opened: Any) -> None:
    page = opened.page
    open_case(page)
    panel = page.locator(".ld-sens")
    panel.get_by_label("outcome").select_option("neighbours")
    panel.get_by_role("button", name="Start").press("Enter")
    page.locator(".ld-tune input[data-name=rho]").fill("0.5")
    page.wait_for_function(
        "document.querySelector('.ld-sens').textContent.includes('48 of 48 regions')", timeout=60_000
    )
    assert panel.locator("td").count() == 36
    with page.expect_download() as saved:
        panel.get_by_role("button", name="Save CSV").press("Enter")
    assert Path(saved.value.path()).read_text().startswith("beta,gamma,neighbours_mean")
    assert opened.errors == []


def test_training_is_watched_and_found_again_after_a_reload(opened: Any, demonstration: Path) -> None:
    page = opened.page
    panel = page.locator(".ld-train")
    panel.get_by_role("spinbutton", name="steps").fill("2")
    panel.get_by_label("lesions a step").fill("6")
    panel.get_by_role("button", name="Start").press("Enter")
    page.wait_for_function("/training|done/.test(document.querySelector('.ld-train [role=status]').innerText)")
    page.reload()
    page.wait_for_selector(".ld-train figure svg", timeout=180_000)
    page.wait_for_function(
        "document.querySelector('.ld-train [role=status]').innerText.startsWith('done · step 2 of 2')", timeout=180_000
    )
    titles = panel.locator("figcaption").all_inner_texts()
    assert any(title.startswith("Loss") for title in titles)
    assert panel.locator(".ld-views img").evaluate("image => image.naturalWidth") > 0
    assert panel.get_by_role("button", name="Search with it").is_visible()
    assert opened.outside == []


def test_scope_and_opening_a_result(opened: Any) -> None:
    page = opened.page
    open_case(page)
    cross = tile_ids(page)
    page.get_by_role("radio", name="Same patient").click()
    page.wait_for_function(f"document.querySelector('button.ld-tile').dataset.lesion !== '{cross[0]}'")
    patients = page.locator("button.ld-tile .ld-patient").all_inner_texts()
    assert len(set(patients)) == 1
    page.get_by_role("radio", name="Other patients").click()
    page.wait_for_function(f"document.querySelector('button.ld-tile').dataset.lesion === '{cross[0]}'")
    assert patients[0] not in page.locator("button.ld-tile .ld-patient").all_inner_texts()
    page.locator("button.ld-tile").first.click()
    page.get_by_role("button", name="Open", exact=True).click()
    page.wait_for_selector(".ld-banner:visible")
    assert tile_ids(page) == cross
    page.get_by_role("button", name="Back to the query").click()
    page.wait_for_selector(".ld-banner", state="hidden")
    assert tile_ids(page) == cross


def test_results_are_steered_narrowed_and_explained_by_keyboard(opened: Any) -> None:
    page = opened.page
    open_case(page)
    nine, results = tile_ids(page), page.locator(".ld-results")
    page.wait_for_function("/of 9 are .* of known cases/.test(document.querySelector('.ld-vote').textContent)")
    results.get_by_role("button", name="Where the similarity sits: 2").press("Enter")
    page.wait_for_function("document.querySelectorAll('.ld-shares').length === 2")
    results.get_by_role("button", name="Less like this: 1", exact=True).press("Enter")
    page.wait_for_function(f"document.querySelector('button.ld-tile').dataset.lesion !== '{nine[0]}'")
    assert page.evaluate("document.querySelectorAll('.ld-shares').length") == 0
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Less like this: 1"
    results.get_by_role("button", name="Undo").press("Enter")
    page.wait_for_function(f"document.querySelector('button.ld-tile').dataset.lesion === '{nine[0]}'")
    assert tile_ids(page) == nine
    results.get_by_label("type").select_option("liver")
    page.wait_for_function(
        "[...document.querySelectorAll('button.ld-tile b')].every((node) => node.textContent === 'liver')"
    )
    results.get_by_label("smallest size in mm").fill("900")
    results.get_by_label("smallest size in mm").press("Enter")
    page.wait_for_function("document.querySelector('.ld-scopes').textContent.includes('No lesion is left')")
    results.get_by_label("smallest size in mm").fill("")
    results.get_by_label("smallest size in mm").press("Enter")
    results.get_by_label("type").select_option("")
    results.get_by_label("tiles").select_option("15")
    page.wait_for_function("document.querySelectorAll('button.ld-tile').length === 15")
    assert tile_ids(page)[:9] == nine
    assert opened.errors == []


def test_a_box_of_many_without_an_answer_says_why(opened: Any) -> None:
    page = opened.page
    open_case(page)
    page.locator(".ld-results").get_by_label("smallest size in mm").fill("900")
    page.locator(".ld-results").get_by_label("smallest size in mm").press("Enter")
    page.wait_for_function("document.querySelector('.ld-scopes').textContent.includes('No lesion is left')")
    page.get_by_role("button", name="this scan's known lesions").click()
    page.wait_for_selector(".ld-many td.ld-error >> text=No lesion is left")
    assert "nothing was found; among 900 mm or more only" in page.locator(".ld-many").inner_text()
    page.get_by_role("alert").filter(has_text="Box 1 of").get_by_role("button", name="Dismiss").click()
    page.locator(".ld-results").get_by_label("smallest size in mm").fill("")
    page.locator(".ld-results").get_by_label("smallest size in mm").press("Enter")
    page.wait_for_selector("button.ld-tile")
    page.get_by_role("button", name="this scan's known lesions").click()
    page.wait_for_selector(".ld-many >> text=boxes answered")
    assert page.locator(".ld-many td.ld-error").count() == 0
    assert opened.errors == []


def test_lasso_on_the_map_selects(opened: Any) -> None:
    page = opened.page
    open_case(page)
    nine = tile_ids(page)
    page.wait_for_function("document.querySelector('.ld-map').textContent.includes('its nine')")
    said = page.locator(".ld-results >> text=selected on the map")
    for _ in range(3):  # the map of a busy browser may be drawn anew under the hand, which then draws its lasso again
        draw_lasso(page)
        with suppress(Exception):
            said.wait_for(timeout=10_000)
            break
    assert said.is_visible()
    assert len(tile_ids(page)) > 9
    page.wait_for_function("document.querySelector('.ld-vote').hidden")
    page.get_by_role("button", name="Back to the nine").click()
    page.wait_for_function("document.querySelectorAll('button.ld-tile').length === 9")
    page.wait_for_function("document.querySelector('.ld-vote').textContent.includes('of 9 are')")
    assert tile_ids(page) == nine


def test_by_keyboard_alone(opened: Any) -> None:
    page = opened.page
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.ld-load .ld-item')"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("button.ld-tile")
    wait_for_slice(page)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.ld-view canvas')"):
            break
    first = page.locator(".ld-view").get_attribute("data-slice")
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"document.querySelector('.ld-view').dataset.slice !== '{first}'")
    page.keyboard.press("1")
    page.wait_for_function("document.querySelector('.ld-tr').textContent.includes('W 1500 L -600')")
    before = page.locator("canvas[data-query]").evaluate("canvas => canvas.toDataURL()")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+Alt+ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('canvas[data-query]').toDataURL() !== {json.dumps(before)}")
    assert page.locator("button.ld-tile").count() == 9
    page.keyboard.press("?")
    assert page.locator("dialog").first.is_visible()


def test_bad_file_gets_one_sentence(opened: Any, tmp_path: Path) -> None:
    page = opened.page
    bad = {"empty.dcm": b"", "text.dcm": b"this is a text, not a scan\n" * 20}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "parent.zip", "w") as file:
        file.writestr("../outside.dcm", b"x")
    for name, words in (("empty.dcm", "empty"), ("text.dcm", "DICOM"), ("parent.zip", "..")):
        drop(page, [tmp_path / name])
        alert = page.get_by_role("alert").filter(has_text=name).filter(has_text=words)
        alert.wait_for()
        assert page.locator(".ld-load .ld-item canvas").count() == 0
        assert "Traceback" not in page.locator("body").inner_text()
        alert.get_by_role("button", name="Dismiss").click()
        assert page.get_by_role("alert").count() == 0


def test_bad_box_gets_one_sentence(opened: Any) -> None:
    page = opened.page
    open_case(page)
    nine = tile_ids(page)
    edges = page.locator(".ld-view .ld-edges input")
    for values, words in (((5000, 5000, 5100, 5100), "outside"), ((50, 50, 50, 80), "no area")):
        for i, value in enumerate(values):
            edges.nth(i).fill(str(value))
        page.get_by_role("button", name="⏎ Search").click()
        alert = page.get_by_role("alert").filter(has_text=words)
        alert.wait_for()
    assert tile_ids(page) == nine


def test_nothing_overflows_light_or_dark_wide_or_narrow(opened: Any) -> None:
    page = opened.page
    open_case(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (390, 900, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(400)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            map_width = page.locator(".ld-map").bounding_box()["width"]
            assert page.locator(".ld-map .main-svg").first.bounding_box()["width"] <= map_width + 1
        background = page.locator(".ld-page").evaluate("node => getComputedStyle(node).backgroundColor")
        assert (max(map(int, background[4:-1].split(","))) < 60) is (scheme == "dark")


def test_reload_leaves_no_stray_kernel(watched: Any, site: Any) -> None:
    page = watched.page
    for _ in range(2):
        page.goto(site.url)
        page.wait_for_selector(".ld-chip:has-text('device')", timeout=60_000)
    page.goto("about:blank")
    assert site.kernels() > 0
    deadline = time.monotonic() + 120
    while site.kernels() and time.monotonic() < deadline:
        time.sleep(1)
    assert site.kernels() == 0


def test_dashboard_command_prints_its_address(demonstration: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "lesiondash.cli", "dashboard", "--no-browser", "--port", "8970"],
        cwd=CHECKOUT,
        env={**os.environ, "LESIONDASH_DATA": str(demonstration)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert "http://localhost:" in line
        url = line.split(" at ")[1].split()[0]
        assert b"not for diagnosis" in urllib.request.urlopen(url, timeout=60).read().lower()
    finally:
        server.terminate()
        server.wait(20)


def test_a_link_reopens_the_view(watched: Any, site: Any) -> None:
    page = watched.page
    page.goto(f"{site.url}?scan=case_02&box=60,60,84,84&slice=4&window=60,150&beta=0.9")
    page.wait_for_selector("button.ld-tile", timeout=150_000)
    edges = page.locator(".ld-view .ld-edges input").evaluate_all("nodes => nodes.map(node => node.value)")
    assert edges == ["60", "60", "84", "84"]
    page.get_by_role("button", name="Link & code").press("Enter")
    page.wait_for_function("document.querySelector('.ld-share textarea').value")
    link, code = (
        page.get_by_label(name, exact=True).input_value()
        for name in ("Link that reopens this view", "The same in Python")
    )
    assert link.startswith(f"{site.url}?scan=case_02&slice=4&box=60,60,84,84&window=60,150&scope=cross&")
    assert "beta=0.9" in link
    assert "Box(60, 60, 84, 84)" in code
    page.keyboard.press("Escape")
    assert (watched.errors, watched.outside) == ([], [])
