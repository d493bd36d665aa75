"""Many boxes searched for from the page: known lesions, drawn marks and lists, with what is wrong said."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from lesiondash.errors import SearchError
from lesiondash.records import Annotation, Box


@pytest.fixture(scope="module")
def page(demonstration: Path) -> Any:
    from lesiondash.dashboard import Dashboard

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONDASH_DATA", str(demonstration))
        yield Dashboard()


@pytest.fixture
def many(page: Any) -> Any:
    page.search.choose_scope("cross")
    page.load.open_case(page.store.cases[0].name)
    page.state.notice = None
    return page.many


def run(many: Any, source: str) -> Any:
    many.start(source)
    many.wait()
    return many.widget


def test_every_known_lesion_of_a_scan_gets_the_nine_of_its_own_search(page: Any, many: Any) -> None:
    widget = run(many, "known")
    case = page.store.cases[0]
    assert len(widget.lines) == len(case.lesions)
    assert not widget.running
    assert widget.status == f"{len(case.lesions)} of {len(case.lesions)} boxes answered"
    assert (widget.done, widget.total) == (len(case.lesions), len(case.lesions))
    many.show(1)
    assert [hit.lesion_id for hit in page.state.hits] == [row["lesion_id"] for row in many.rows[:9]]
    assert page.state.region.box == many._asked[0].box


def test_drawn_boxes_are_searched_for(page: Any, many: Any) -> None:
    uid = page.state.focus.series_uid
    ends = ((200.0, 220.0), (232.0, 220.0), (216.0, 210.0), (216.0, 230.0))
    marks = (
        Annotation("a", "box", uid, 2, ((200.0, 200.0), (240.0, 240.0)), label="first"),
        Annotation("b", "recist", uid, 3, ends),
        Annotation("c", "text", uid, 3, ((10.0, 10.0),)),
    )
    page.store.annotations.replace(uid, marks)
    page.state.annotations = marks
    assert ["drawn", "the boxes drawn on this scan (2)"] in page.many.widget.sources
    widget = run(many, "drawn")
    assert [(line["slice"], line["label"]) for line in widget.lines] == [(3, "first"), (4, "")]
    page.store.annotations.replace(uid, ())
    page.state.annotations = ()
    many.start("drawn")
    assert "no box to search for" in page.state.notice.text


def test_a_list_is_searched_for_and_saved(page: Any, many: Any) -> None:
    title = page.store.scans[page.state.focus.series_uid].title
    rows = f',2,200,200,240,240,mine\n"{title}",3,180,200,230,250,\n'
    many.start_list("boxes.csv", f"scan,slice,x0,y0,x1,y1,label\n{rows}")
    many.wait()
    table = list(csv.DictReader(io.StringIO(many.export("csv"))))
    assert len(table) == 18
    assert table[0]["label"] == "mine"
    assert [row["rank"] for row in table[:9]] == [str(rank) for rank in range(1, 10)]
    assert [row["lesion_id"] for row in json.loads(many.export("json"))] == [row["lesion_id"] for row in table]


def test_a_box_that_cannot_be_answered_is_named(page: Any, many: Any) -> None:
    from lesiondash.dashboard import batch

    asked = batch.Asked(page.store.scans[page.state.focus.series_uid], 2, Box(200, 200, 240, 240))
    with pytest.raises(SearchError, match=r"Box 1 of 2, slice 2: k is 0"):
        batch.search_boxes(page.store, [asked, asked], 0, "all")
    with pytest.raises(SearchError, match=r"^k is 99999"):
        batch.search_boxes(page.store, [asked], 99_999, "all")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("boxes.csv", "slice,x0,y0,x1,y1\n999,1,1,9,9\n", "row 1: there is no slice 999"),
        ("boxes.csv", "scan,slice,x0,y0,x1,y1\nMoon,1,1,1,9,9\n", "no scan with the title 'Moon'"),
        ("boxes.csv", "slice,x0,y0,x1,y1\n1,5000,5000,6000,6000\n", "outside the image"),
        ("boxes.json", "{", "boxes.json is no CSV table"),
        ("boxes.csv", "", "lists no annotation"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_whole(page: Any, many: Any, name: str, text: str, said: str) -> None:
    before = list(many.widget.lines)
    many.start_list(name, text)
    assert said in page.state.notice.text
    assert many.widget.lines == before
    assert not many.widget.running


def test_stopped_it_keeps_what_was_answered(page: Any, many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lesiondash.dashboard import batch

    monkeypatch.setattr(batch, "AT_ONCE", 2)
    rows = "".join(f"{1 + row % 5},200,200,240,240\n" for row in range(10))
    tell = many._tell
    monkeypatch.setattr(many, "_tell", lambda done, total: (tell(done, total), many.stop() if done >= 4 else None))
    many.start_list("boxes.csv", "slice,x0,y0,x1,y1\n" + rows)
    many.wait()
    assert len(many.widget.lines) == 4
    assert many.widget.status == "4 of 10 boxes answered, stopped"


def test_nothing_to_search_before_a_scan_is_open(demonstration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lesiondash.dashboard import Dashboard

    monkeypatch.setenv("LESIONDASH_DATA", str(demonstration))
    page = Dashboard()
    page.many.start("known")
    assert "open one first" in page.state.notice.text
    page.many.start("moon")
    assert "no 'moon'" in page.state.notice.text
