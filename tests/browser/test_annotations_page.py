"""The list of annotations in a real Chromium, on a data folder of its own: what is added there must not stay."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lesiondash.annotations.store import AnnotationStore
from lesiondash.images.dicom import read_dicom
from lesiondash.records import Annotation

pytestmark = pytest.mark.browser
ROWS = ".ld-mark"


@pytest.fixture(scope="module")
def site(serve: Any, demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page whose first case has two annotations on disk."""
    data = tmp_path_factory.mktemp("data")
    for name in ("demo", "galleries", "models"):
        (data / name).symlink_to(demonstration / name)
    case = json.loads((data / "demo" / "cases.json").read_text())[0]
    series = read_dicom(data / "demo" / case["folder"])[0]
    kept = AnnotationStore(data / "annotations")
    kept.know(series)
    middle = len(series) // 2
    box = Annotation("m1", "box", series.uid, middle, ((60, 70), (90, 100)), "liver", "")
    kept.replace(series.uid, [box, Annotation("m2", "length", series.uid, middle + 2, ((60, 70), (90, 70)))])
    with serve(data, data / "voila.log") as started:
        yield started


def open_case(page: Any) -> None:
    page.locator(".ld-load .ld-item").first.click()
    page.wait_for_selector("button.ld-tile")
    page.wait_for_selector(ROWS)


def notice(page: Any, text: str) -> None:
    page.wait_for_function(f"document.querySelector('.ld-bar').innerText.includes({json.dumps(text)})")


def drop_text(page: Any, selector: str, name: str, text: str) -> None:
    """Drop a file on an element, as a hand does."""
    transfer = page.evaluate_handle(
        """([name, text]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], name, { type: "application/json" }));
            return transfer;
        }""",
        [name, text],
    )
    page.locator(selector).first.dispatch_event("drop", {"dataTransfer": transfer})


def saved(page: Any, name: str) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save annotations as {name}", exact=True).click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_what_was_kept_is_listed_saved_and_dropped_on_its_scan(opened: Any) -> None:
    page = opened.page
    assert page.get_by_role("button", name="Save annotations as CSV").is_disabled()
    open_case(page)
    assert page.locator(ROWS).count() == 2
    assert page.get_by_label("Label of Box").input_value() == "liver"
    rows = list(csv.DictReader(io.StringIO(saved(page, "CSV"))))
    assert [row["kind"] for row in rows] == ["box", "length"]
    text = saved(page, "JSON")
    assert [one["id"] for one in json.loads(text)["annotations"]] == ["m1", "m2"]
    drop_text(page, ".ld-view canvas", "annotations.json", text)
    notice(page, "2 annotations taken over")
    drop_text(page, ".ld-drop", "annotations.JSON", "{")
    notice(page, "no JSON")
    page.locator(".ld-load .ld-item").nth(2).click()
    page.wait_for_function(f"document.querySelectorAll('{ROWS}').length === 0")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open JSON").click()
    chooser.value.set_files([{"name": "a.json", "mimeType": "application/json", "buffer": text.encode()}])
    notice(page, "These annotations are of")
    assert opened.errors == []
    assert opened.outside == []


def test_a_row_shows_its_slice_by_keyboard(opened: Any) -> None:
    page = opened.page
    open_case(page)
    row = page.locator(ROWS).nth(1)
    row.locator(".ld-mark-show").focus()
    page.keyboard.press("Enter")
    row.and_(page.locator("[aria-current]")).wait_for()
    assert page.locator(f"{ROWS}[aria-current]").count() == 1
    for one in page.locator(f"{ROWS} :is(button, input):visible").all():
        assert one.get_attribute("aria-label") or one.inner_text()


def test_a_lesion_is_added_and_found_and_removed(opened: Any) -> None:
    page = opened.page
    open_case(page)
    row = page.locator(ROWS).first
    row.get_by_role("button", name="Search").click()
    page.get_by_role("radio", name="All", exact=True).or_(
        page.get_by_role("button", name="All", exact=True)
    ).first.click()
    row.get_by_role("button", name="Add to collection").click()
    page.wait_for_selector("button.ld-tile[data-lesion^='added-']")
    page.get_by_text("Added to the collection: 1").click()
    row.get_by_role("button", name="In collection").click()
    page.wait_for_function("!document.querySelector(\"button.ld-tile[data-lesion^='added-']\")")
    page.locator(".ld-marks-added").wait_for(state="hidden")
    assert opened.errors == []


def test_what_is_drawn_while_the_kernel_is_dead_is_there_after_a_reload(opened: Any, site: Any) -> None:
    page = opened.page
    open_case(page)
    count = page.locator(ROWS).count()
    killed = kernels_of(site)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    page.locator(".ld-view canvas").first.focus()
    for key in ("l", "k", "e", "k"):
        page.keyboard.press(key)
    page.wait_for_function(f"document.querySelector('.ld-view').dataset.marks === '{count + 2}'")
    page.reload()
    page.wait_for_selector(".ld-load .ld-item", timeout=60_000)
    page.locator(".ld-load .ld-item").first.click()
    page.wait_for_function(f"document.querySelectorAll('{ROWS}').length === {count + 2}")


def kernels_of(site: Any) -> list[int]:
    """The kernels of a site, and of no other."""
    listing = subprocess.run(["ps", "--ppid", str(site.pid), "-o", "pid=,args="], capture_output=True, text=True)
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if "ipykernel" in line]
