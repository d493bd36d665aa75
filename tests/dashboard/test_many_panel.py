"""Many boxes searched for from the page: known lesions, drawn marks and lists, with what is wrong said."""

from __future__ import annotations

import csv
import io
import json
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lesiondash.errors import ScanError, SearchError
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
    page.search.narrow(None, [None, None])
    page.load.open_case(page.store.cases[0].name)
    page.state.notice = None
    return page.many


def corners(box: Box) -> list[float]:
    return [box.x0, box.y0, box.x1, box.y1]


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

    scan = page.store.scans[page.state.focus.series_uid]
    boxes = [
        batch.Asked(1, scan, 2, Box(200, 200, 240, 240), "a", "mine"),
        batch.Asked(2, scan, 999, Box(200, 200, 240, 240), "a"),
        batch.Asked(3, ScanError("This is no scan."), 2, Box(200, 200, 240, 240), "b"),
        batch.Asked(4, scan, 2, Box(5000, 5000, 6000, 6000), "a"),
        batch.Asked(5, scan, 2, Box(200, 200, 240, 240), "a"),
    ]
    rows = batch.search_boxes(page.store, iter(boxes), 3, "all")
    assert all(tuple(row) == batch.COLUMNS for row in rows)
    assert [row["annotation"] for row in rows] == [1, 1, 1, 2, 3, 4, 5, 5, 5]
    assert [row["lesion_id"] for row in rows[:3]] == [row["lesion_id"] for row in rows[6:]]
    wrong = {row["annotation"]: row["error"] for row in rows if row["error"]}
    assert wrong[2].startswith("There is no slice 999")
    assert wrong[3] == "This is no scan."
    assert "outside the image" in wrong[4]
    assert all(row["rank"] is None and row["lesion_id"] is None for row in rows if row["error"])
    for top, words in ((0, "k is 0"), (99_999, "k is 99999")):  # what is wrong for all is no box's
        with pytest.raises(SearchError, match=words):
            batch.search_boxes(page.store, iter(boxes), top, "all")


def test_scans_that_come_one_after_another_are_let_go(page: Any, many: Any) -> None:
    from lesiondash.dashboard import batch

    known = page.store.scans[page.state.focus.series_uid].series
    kept: list[weakref.ref[Any]] = []

    def one(number: int) -> Any:
        series = replace(known, uid=f"{number:016x}", hu=known.hu.copy())
        kept.append(weakref.ref(series.hu))
        yield batch.Asked(number, page.store.scan_of(series), 2, Box(200, 200, 240, 240))

    def in_turn() -> Any:
        for number in range(1, 6):
            assert not any(hu() is not None for hu in kept)
            yield from one(number)

    rows = batch.search_boxes(page.store, in_turn(), 2, "cross")
    assert [row["annotation"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert not any(f"{number:016x}" in page.store.scans for number in range(1, 6))


def test_a_box_without_candidates_has_a_line_of_its_own(page: Any, many: Any) -> None:
    store = page.store
    patients = Counter(lesion.patient_id for lesion in store.gallery.lesions)
    only = next(lesion for lesion in store.gallery.lesions if patients[lesion.patient_id] == 1)
    scan, index = store.open_lesion(only.lesion_id)
    case = store.cases[0]
    first = case.lesions[0]
    listed = [
        {"scan": case.series_uid, "slice": first.slice_index - case.first_slice_index + 1, "box": corners(first.box)},
        {"scan": scan.uid, "slice": index + 1, "box": corners(only.box)},
    ]
    page.search.choose_scope("same")
    page.state.notice = None
    many.start_list("boxes.json", json.dumps(listed))
    many.wait()
    answered, without = many.widget.lines
    assert answered["nearest"]
    assert answered["error"] == ""
    assert "No lesion is left" in without["error"]
    assert without["nearest"] == without["likely"] == ""
    assert many.widget.status == "1 of 2 boxes answered"
    assert page.state.notice is None
    table = list(csv.DictReader(io.StringIO(many.export("csv"))))
    assert [row["annotation"] for row in table if row["error"]] == ["2"]
    assert table[-1]["lesion_id"] == ""
    found = json.loads(many.export("json"))
    assert found[0]["error"] is None
    assert (found[-1]["annotation"], found[-1]["lesion_id"]) == (2, None)
    assert "No lesion is left" in found[-1]["error"]
    many.start_list("boxes.json", json.dumps(listed[1:]))
    many.wait()
    assert page.state.notice.text.startswith("Box 1 of 1: No lesion is left")
    assert many.widget.status == "nothing was found"


def test_the_filters_of_the_nine_are_those_of_many(page: Any, many: Any) -> None:
    page.search.narrow(["liver", "lung"], [10.0, None], ["train"])
    widget = run(many, "known")
    count = len(page.store.cases[0].lesions)
    assert widget.status == f"{count} of {count} boxes answered; among liver or lung, 10 mm or more, train only"
    assert {row["type"] for row in many.rows} <= {"liver", "lung"}
    assert {page.store.by_id[row["lesion_id"]].split for row in many.rows} == {"train"}
    assert {line["likely"] for line in widget.lines} == {""}  # their types were asked for
    page.search.narrow(None, [10.0, 30.0])
    assert "; among 10 to 30 mm only" in run(many, "known").status
    assert all(line["likely"] for line in widget.lines)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("boxes.csv", "slice,x0,y0,x1,y1\n999,1,1,9,9\n", "row 1: There is no slice 999"),
        ("boxes.csv", "scan,slice,x0,y0,x1,y1\nMoon,1,1,1,9,9\n", "row 1: No scan with the title 'Moon'"),
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
