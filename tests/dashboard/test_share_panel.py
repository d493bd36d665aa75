"""What the page shows can be had as a link and as Python, and both bring the same back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lesiondash.records import Window


@pytest.fixture
def opened(in_demonstration: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """How a page is opened at an address, as a browser does that has painted it."""
    from lesiondash.dashboard import Dashboard

    def at(query: str) -> Any:
        monkeypatch.setenv("QUERY_STRING", query)
        page = Dashboard()
        page._on_message(None, {"type": "ready"}, [])
        return page

    return at


def test_a_link_reopens_what_was_shown(opened: Any) -> None:
    first = opened("")
    first.load.open_case(first.store.cases[1].name)
    first.view.draw(60, 70, 84, 92, slice_index=3)
    first.state.ask_window(Window(60, 150))
    first.search.choose_scope("all")
    first.search.narrow(["liver", "lung"], [5.0, None])
    first.frangi.respond({"seq": 1, **first.frangi.widget.values, "beta": 0.9})
    link = first.share.said()["link"]
    again = opened(link)
    assert again.share.said() == first.share.said()
    assert again.state.region == first.state.region
    assert [hit.lesion_id for hit in again.state.hits] == [hit.lesion_id for hit in first.state.hits]
    assert (again.view.widget.window, again.search.widget.scope) == ([60, 150], "all")
    assert again.search.widget.filters == first.search.widget.filters
    assert {hit.type for hit in again.state.hits} <= {"liver", "lung"}
    assert again.state.params == first.state.params


def test_a_link_to_a_lesion_opens_it(opened: Any) -> None:
    first = opened("")
    lesion = first.store.gallery.lesions[5]
    first.search.open(lesion.lesion_id)
    page = opened(first.share.said()["link"])
    assert page.state.focus.series_uid == f"lesion {lesion.lesion_id}"
    opened("scan=lesion+nobody%23").topbar.notice["text"].index("not in this collection")


def test_a_link_to_a_dropped_scan_waits_for_it(opened: Any, shared_dicom: Path) -> None:
    folder = shared_dicom / "ge_thorax_3slice"
    first = opened("")
    first.load.load([folder])
    first.view.draw(200, 200, 240, 230, slice_index=2)
    page = opened(first.share.said()["link"])
    assert "drop it" in page.topbar.notice["text"]
    assert page.state.region is None
    page.load.load([folder])
    assert page.state.region == first.state.region
    page.load.show(page.state.region.series_uid)
    assert page.state.region is None, "a link is followed once"


@pytest.mark.parametrize(
    ("query", "word"), [("scan=case_01&slice=999", "slice 999"), ("box=1", "box"), ("rho=9", "rho")]
)
def test_a_bad_link_is_said_and_the_page_lives(opened: Any, query: str, word: str) -> None:
    page = opened(query)
    assert page.topbar.notice["kind"] == "error"
    assert word in page.topbar.notice["text"]
    page.load.open_case(page.store.cases[0].name)
    assert len(page.state.hits) == 9


def test_the_python_finds_the_same_nine(opened: Any) -> None:
    page = opened("")
    assert page.share.said()["code"] == ""
    assert "Draw a box" in page.share.said()["why"]
    page.load.open_case(page.store.cases[0].name)
    page.search.narrow(["liver"], [5.0, None])
    done = subprocess.run(
        [sys.executable, "-c", page.share.said()["code"]], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = [line.split()[:2] for line in done.stdout.splitlines()]
    assert found == [[str(hit.rank), hit.lesion_id] for hit in page.state.hits]
