"""The viewer's kernel side: marks checked and kept, the overlay made, what the browser is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesiondash.frangi.response import frangi_filter
from lesiondash.images.dicom_series import NO_PIXEL_SPACING
from lesiondash.records import Annotation


@pytest.fixture
def page(demonstration: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from lesiondash.dashboard import Dashboard

    monkeypatch.setenv("LESIONDASH_DATA", str(demonstration))
    page = Dashboard()
    page.load.open_case(page.store.cases[0].name)
    page.store.annotations.replace(page.state.focus.series_uid, ())
    page.state.notice = None
    return page


def mark(**change: Any) -> dict[str, Any]:
    return {"id": "a", "kind": "length", "slice": 3, "points": [[10, 12], [40, 52]], "label": "", "note": "", **change}


def test_marks_of_the_browser_are_kept_and_told(page: Any) -> None:
    uid = page.state.focus.series_uid
    page.view.act({"type": "annotate", "uid": uid, "view": "v", "revision": 4, "items": [mark(label="node")]})
    wanted = Annotation("a", "length", uid, 3, ((10.0, 12.0), (40.0, 52.0)), "node")
    assert page.state.annotations == page.store.annotations.of(uid) == (wanted,)
    told = page.view.widget.annotations
    assert (told["by"], told["revision"], told["uid"]) == ("v", 4, uid)
    assert told["items"] == [mark(label="node", points=[[10.0, 12.0], [40.0, 52.0]])]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "blob"}, "'blob'"),
        ({"points": [[1, 2]]}, "with 1 points"),
        ({"points": [[1, 2], [3, None]]}, "pairs of numbers"),
        ({"points": [[1, 2], [3, float("inf")]]}, "pairs of numbers"),
        ({"points": [[1, 2], [3]]}, "pairs of numbers"),
        ({"points": [[1, 2], "x"]}, "pairs of numbers"),
        ({"slice": None}, "pairs of numbers"),
        ({"points": [[1, 2], [9999, 3]]}, "outside the image"),
        ({"note": "x" * 10_001}, "10,001 letters"),
        ({"slice": 999}, "on slice 1000"),
        ({"slice": -1}, "on slice 0"),
    ],
)
def test_a_bad_mark_is_refused_and_the_others_stay(page: Any, change: dict[str, Any], said: str) -> None:
    uid = page.state.focus.series_uid
    page.view.annotate(uid, [mark()])
    page.view.annotate(uid, [mark(), mark(id="b", **change)])
    assert said in page.state.notice.text
    assert [item.id for item in page.store.annotations.of(uid)] == ["a"]


def test_two_of_one_id_and_an_unknown_scan_are_refused(page: Any) -> None:
    uid = page.state.focus.series_uid
    page.view.annotate(uid, [mark(), mark()])
    assert "same id" in page.state.notice.text
    page.view.annotate("elsewhere", [mark()])
    assert "not loaded" in page.state.notice.text
    assert page.store.annotations.of(uid) == ()


def test_marks_follow_their_series(page: Any) -> None:
    uid = page.state.focus.series_uid
    page.view.annotate(uid, [mark()])
    page.load.open_case(page.store.cases[1].name)
    assert page.state.annotations == ()
    page.load.open_case(page.store.cases[0].name)
    assert [item.id for item in page.state.annotations] == ["a"]
    assert page.view.widget.annotations["by"] == "kernel"


def test_wished_marks_are_taken_over(page: Any) -> None:
    uid = page.state.focus.series_uid
    wished = (Annotation("w", "text", uid, 1, ((5.0, 6.0),), note="here"),)
    page.state.ask_annotations(wished)
    assert page.state.annotations == page.store.annotations.of(uid) == wished
    assert page.view.widget.annotations["items"][0]["note"] == "here"


def test_values_that_are_no_hu_keep_their_fine_steps(page: Any) -> None:
    uid = page.state.focus.series_uid
    scan = page.store.scans[uid]
    fine = np.random.default_rng(0).uniform(0, 0.003, scan.series.hu.shape).astype(np.float32)
    for values in (fine, fine * 3e7):
        series = replace(scan.series, hu=values, unit="values", modality="MR")
        page.store.scans[uid] = replace(scan, series=series)
        pixels, slope, intercept = page.view.slice_hu(uid, 1)
        assert pixels * slope + intercept == pytest.approx(values[1], abs=float(values[1].max()) / 1e4)
    loaded = page.view.widget.loaded
    page.state.show(uid, 1)
    assert page.view.widget.loaded == loaded + 1


def test_the_overlay_is_the_filter_of_the_slice(page: Any) -> None:
    uid = page.state.focus.series_uid
    hu = page.store.scans[uid].series.hu[2]
    response = frangi_filter(page.state.window.apply(hu), page.state.params, dtype=np.float32).response
    overlay = page.view.overlay(uid, 2)
    assert overlay.dtype == np.uint8
    assert overlay == pytest.approx(255 * response / response.max(), abs=1.01)
    assert page.view.overlay(uid, 999) is None
    before = page.view.widget.overlay_version
    page.state.window = type(page.state.window)(0.0, 100.0)
    assert page.view.widget.overlay_version == before + 1


def test_a_box_answers_the_wish_it_was_drawn_by_and_goes(page: Any) -> None:
    view = page.view
    view.act({"type": "box", "box": [10, 20, 30, 44], "index": 1, "number": 7})
    assert view.widget.box == [10, 20, 30, 44, 1, 7]
    assert view.state.region.slice_index == 1
    view.act({"type": "box_gone"})
    assert view.widget.box == []
    assert view.state.region is None


def test_a_scan_without_pixel_spacing_says_so_on_the_slice(page: Any) -> None:
    uid = page.state.focus.series_uid
    assert page.view.widget.scan["spacing_assumed"] is False
    scan = page.store.scans[uid]
    page.store.scans["bare"] = replace(scan, series=replace(scan.series, uid="bare", notes=(NO_PIXEL_SPACING,)))
    page.state.show("bare", 0)
    assert page.view.widget.scan["spacing_assumed"] is True
