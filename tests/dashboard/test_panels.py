"""The panels' actions, called as plain methods on the real demonstration: no browser needed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesiondash.dashboard.panels import sensitivity as panels_sensitivity
from lesiondash.dashboard.panels.frangi import FrangiPanel, values_of
from lesiondash.frangi import engine
from lesiondash.frangi.apply import open_filtered
from lesiondash.frangi.presets import PRESETS, from_link, from_yaml
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.encoder import Encoder
from lesiondash.records import Box, FrangiParams, Series


@pytest.fixture(scope="module")
def page(demonstration: Path) -> Any:
    from lesiondash.dashboard import Dashboard

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONDASH_DATA", str(demonstration))
        page = Dashboard()
        page.load.open_case(page.store.cases[0].name)
        yield page


def sliders(page: Any, **changes: Any) -> dict[str, Any]:
    return {"seq": 1, **page.frangi.widget.values, **changes}


def test_case_shows_its_lesion_and_nine_others(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    case = page.store.cases[0]
    assert len(page.state.hits) == 9
    assert case.patient_id not in {hit.patient_id for hit in page.state.hits}
    assert len(page.search.widget.crops) == 9 * 64 * 64 * 2
    lesion = case.lesions[0]
    shown = page.view.slice_hu(case.series_uid, page.state.slice_index)[0]
    np.testing.assert_array_equal(shown, page.store.collection.slice_hu(lesion.series_id, lesion.slice_index))


def test_own_lesion_is_never_among_all(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    own = page.store.cases[0].lesions[0].lesion_id
    page.search.choose_scope("all")
    assert own not in {hit.lesion_id for hit in page.state.hits}
    page.search.choose_scope("cross")


def test_response_follows_parameters(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    answer, pictures = page.frangi.respond(sliders(page))
    other, _ = page.frangi.respond(sliders(page, gamma=0.2))
    assert [len(picture) for picture in pictures] == [64 * 64] * (3 + 9)
    assert answer["strip"]["scales"] == list(range(0, 41, 5))
    assert other["peak"] < answer["peak"]
    assert page.state.params.gamma == 0.2


def test_one_scale_alone_is_what_the_strip_shows(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    _, pictures = page.frangi.respond(sliders(page))
    alone, shown = page.frangi.respond(sliders(page, scale=10))
    strip = np.frombuffer(shown[3 + 2], np.uint8).astype(int)
    assert np.abs(np.frombuffer(shown[1], np.uint8) - strip).max() <= 1
    assert alone["peak"] <= page.frangi.respond(sliders(page))[0]["peak"]
    assert shown[1] != pictures[1]


def test_whole_slice(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    answer, pictures = page.frangi.respond(sliders(page, area="slice"))
    height, width = page.store.scans[page.state.region.series_uid].series.hu.shape[1:]
    assert answer["size"] == [height, width]
    assert len(pictures[0]) == len(pictures[1]) == height * width
    assert page.frangi.respond(sliders(page))[0]["size"] == [64, 64]


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_come_back_as_themselves(page: Any, name: str) -> None:
    page.load.open_case(page.store.cases[0].name)
    values, _ = page.frangi.choose_preset({"name": name})
    answer, _ = page.frangi.respond(sliders(page, **values["values"]))
    assert answer["preset"] == name
    assert from_link(answer["copies"]["link"]) == PRESETS[name] == from_yaml(answer["copies"]["YAML"])


def test_the_terms_under_the_cursor_are_those_of_the_picture(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    answer, pictures = page.frangi.respond(sliders(page))
    response = np.frombuffer(pictures[1], np.uint8).reshape(64, 64)
    y, x = np.unravel_index(response.argmax(), response.shape)
    terms, _ = page.frangi.probe({"x": int(x), "y": int(y), "scale": -1})
    assert terms["response"] == pytest.approx(answer["peak"], rel=0.01)
    assert terms["ra_factor"] * terms["rb_factor"] * terms["structure"] == pytest.approx(terms["response"], abs=1e-6)
    assert page.frangi.probe({"x": 999, "y": 0}) is None
    assert "outside" in page.state.notice.text


@pytest.mark.parametrize("name", ["objectness", "skimage"])
def test_the_pixel_is_answered_for_where_there_are_no_terms(page: Any, name: str) -> None:
    page.load.open_case(page.store.cases[0].name)
    values, _ = page.frangi.choose_preset({"name": name})
    answer, pictures = page.frangi.respond(sliders(page, **values["values"]))
    y, x = np.unravel_index(np.frombuffer(pictures[1], np.uint8).reshape(64, 64).argmax(), (64, 64))
    told, _ = page.frangi.probe({"x": int(x), "y": int(y)})
    assert told["response"] == pytest.approx(answer["peak"], rel=0.01)
    assert "ra" not in told
    assert page.frangi.probe({"x": 64, "y": 0}) is None
    assert "outside" in page.state.notice.text


@pytest.mark.parametrize(
    "params",
    [
        FrangiParams(gamma="auto", normalise=True),
        FrangiParams(sigmas=(1.0, 2.0, 4.0)),
        FrangiParams(sigmas=(4.0, 2.0)),
        FrangiParams(sigmas=(3.0,)),
        FrangiParams(rho=0.0, formula="strict", polarity="both", sigmas=(2.0, 2.5, 3.0)),
    ],
)
def test_any_setting_comes_to_the_sliders_and_back(page: Any, params: FrangiParams) -> None:
    page.load.open_case(page.store.cases[0].name)
    answer, _ = page.frangi.respond(sliders(page, **values_of(params)))
    assert page.state.params == params
    assert from_link(answer["copies"]["link"]) == from_yaml(answer["copies"]["YAML"]) == params
    assert answer["gamma"] > 0


def test_what_is_shown_is_said(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    box, _ = page.frangi.respond(sliders(page))
    assert "the box on slice" in box["place"]
    assert (box["unit"], box["width"], box["aspect"]) == ("HU", page.state.window.width_hu, 1)
    assert box["engine"] == engine()
    again, _ = page.frangi.respond(sliders(page, gamma=0.2))
    whole, _ = page.frangi.respond(sliders(page, area="slice"))
    assert box["shown"] == again["shown"] != whole["shown"]
    page.state.region = None
    assert "draw a box" in page.frangi.respond(sliders(page))[0]["place"]


def test_pixels_that_are_not_square_are_filtered_in_mm(page: Any) -> None:
    """A round spot in mm, on pixels twice as wide as high, answers as one on square pixels does."""
    y, x = np.mgrid[:96, :48]
    hu = (-160 + 200 * np.exp(-((y - 48) ** 2 + (2 * (x - 24)) ** 2) / 72)).astype(np.int16)
    [scan] = page.store.add([Series("wide", "wide", "CT", hu[None], (1.0, 0.5, 1.0), (0.0,))])
    page.state.show(scan.uid, 0, Box(20, 40, 28, 56))
    answer, pictures = page.frangi.respond(sliders(page, area="slice", sigma_from=6, sigma_to=6, sigma_step=1))
    assert (answer["size"], answer["aspect"], answer["px_mm"]) == ([96, 48], 2, 0.5)
    response = np.frombuffer(pictures[1], np.uint8).reshape(96, 48).astype(int)
    square = response[48 - 40 : 48 + 41 : 2, 24 - 20 : 24 + 21]
    assert np.quantile(np.abs(square - square.T), 0.98) <= 2
    assert square.max() > 240
    overlay = page.view.overlay(scan.uid, 0)
    assert np.abs(overlay.astype(int) - response).max() <= 2


def test_the_overlay_shows_scikit_images_formula_too(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    values, _ = page.frangi.choose_preset({"name": "skimage"})
    page.frangi.respond(sliders(page, **{**values["values"], "sigma_to": 2.0}))
    assert page.view.overlay(page.state.region.series_uid, page.state.slice_index).max() == 255


def test_estimate_fits_the_box(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    small, _ = page.frangi.estimate(sliders(page))
    answer, _ = page.frangi.respond(sliders(page, **small["values"]))
    assert answer["peak"] > 0
    assert small["values"]["beta"] == page.state.params.beta
    page.state.region = None
    assert page.frangi.estimate(sliders(page)) is None
    assert "box" in page.state.notice.text


def test_settings_of_a_link_are_taken_and_a_wrong_one_is_said(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERY_STRING", "voila-theme=dark&rho=0.3&sigmas=1:4:0.5")
    panel = FrangiPanel(page.state, page.store)
    assert (panel.widget.values["rho"], panel.widget.values["sigma_to"]) == (0.3, 4.0)
    monkeypatch.setenv("QUERY_STRING", "rho=7")
    assert page.state.params.rho == 0.3  # before any slider moved
    assert FrangiPanel(page.state, page.store).widget.values["rho"] == 0.3
    assert "rho" in page.state.notice.text


def test_impossible_sweep_is_said(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    before = page.state.params
    assert page.frangi.respond(sliders(page, sigma_from=9, sigma_to=1)) is None
    assert page.state.notice.kind == "error"
    assert page.state.params == before


@pytest.mark.parametrize("box", [(9000, 9000, 9010, 9010), (5, 5, 5, 9), (1, None, 2, 3)])
def test_bad_box_changes_nothing(page: Any, box: tuple[float, ...]) -> None:
    page.load.open_case(page.store.cases[0].name)
    hits, region = page.state.hits, page.state.region
    page.view.act({"type": "box", "box": list(box), "index": 0})
    assert page.state.notice.kind == "error"
    assert page.state.hits == hits
    assert page.state.region == region


def test_result_opens_beside_the_query(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    hits, query, scan = page.state.hits, page.state.region, page.view.widget.scan
    page.search.open(hits[2].lesion_id)
    lesion, beside = page.store.by_id[hits[2].lesion_id], page.view.widget.beside
    assert (page.state.hits, page.state.region, page.view.widget.scan) == (hits, query, scan)
    shown = page.view.slice_hu(beside["uid"], beside["slice_index"])[0]
    np.testing.assert_array_equal(shown, page.store.collection.slice_hu(lesion.series_id, lesion.slice_index))
    assert beside["box"][:4] == [lesion.box.x0, lesion.box.y0, lesion.box.x1, lesion.box.y1]
    page.view.act({"type": "beside_close"})
    assert page.view.widget.beside == {}


def test_another_scan_ends_the_comparison(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    first = page.view.widget.scan["uid"]
    page.load.open_case(page.store.cases[1].name)
    page.load.show_beside(first)
    assert page.view.widget.beside["uid"] == first
    page.load.open_case(page.store.cases[2].name)
    assert page.view.widget.beside == {}


def test_result_without_a_scan_is_shown_alone(page: Any) -> None:
    page.view.widget.scan = {}
    page.map.select([lesion.lesion_id for lesion in page.store.gallery.lesions[:3]])
    page.search.open(page.search.widget.hits[0]["lesion_id"])
    assert page.view.widget.scan["uid"].startswith("lesion ")
    assert page.view.widget.beside == {}


def test_result_opens_in_place_of_the_query_and_leads_back(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    hits, query = page.state.hits, page.state.region
    page.search.open(hits[2].lesion_id)
    page.view.act({"type": "beside_open", "index": page.view.widget.beside["slice_index"]})
    lesion = page.store.by_id[hits[2].lesion_id]
    assert page.state.hits == hits
    assert page.state.region.box == lesion.box
    shown = page.view.slice_hu(page.view.widget.scan["uid"], page.state.slice_index)[0]
    np.testing.assert_array_equal(shown, page.store.collection.slice_hu(lesion.series_id, lesion.slice_index))
    page.view.back()
    assert (page.state.region.series_uid, page.state.region.box) == (query.series_uid, query.box)


def test_selection_fills_the_tiles(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    chosen = [lesion.lesion_id for lesion in page.store.gallery.lesions[:14]]
    page.map.select(chosen)
    assert {tile["lesion_id"] for tile in page.search.widget.hits} == set(chosen)
    similarities = [tile["similarity"] for tile in page.search.widget.hits]
    assert similarities == sorted(similarities, reverse=True)
    page.map.select([])
    assert [tile["lesion_id"] for tile in page.search.widget.hits] == [hit.lesion_id for hit in page.state.hits]


def test_map_marks_query_and_nine(page: Any) -> None:
    page.map.draw()
    page.load.open_case(page.store.cases[1].name)
    nine, query = page.map.figure.data[-2:]
    assert len(nine.x) == 9
    assert len(query.x) == 1


def test_a_map_drawn_again_is_another_with_the_same_in_it(page: Any) -> None:
    page.map.draw()
    page.load.open_case(page.store.cases[1].name)
    first = page.map.figure
    page.map.draw_again()
    again = page.map.figure
    assert again is not first
    assert page.map.widget.children == (again,)
    for old, new in zip(first.data, again.data, strict=True):
        assert (old.name, list(old.x)) == (new.name, list(new.x))


def test_chunks_out_of_order_are_refused(page: Any) -> None:
    count = len(page.store.scans)
    page.load.receive({"type": "begin"}, b"")
    first, later = ({"file": 0, "name": "../../a.dcm", "offset": offset, "length": 3} for offset in (0, 9))
    assert page.load.receive({"type": "chunk", "parts": [first]}, b"abc")["type"] == "ack"
    answer = page.load.receive({"type": "chunk", "parts": [later]}, b"def")
    assert answer["type"] == "refused"
    page.load.receive({"type": "end"}, b"")
    assert len(page.store.scans) == count


def test_page_without_a_collection_says_what_to_do(tmp_path: Path) -> None:
    from lesiondash.dashboard import Dashboard

    page = Dashboard(tmp_path)
    assert page.topbar.notice["kind"] == "error"
    assert "DL_info" in page.topbar.notice["text"]


def test_sensitivity_fills_stops_and_saves(page: Any) -> None:
    panel = page.sensitivity
    panel.act({"type": "start", "row": "beta", "column": "gamma", "outcome": "contrast", "count": 48})
    panel.wait()
    assert not panel.widget.running
    assert panel.widget.status == "48 of 48 regions"
    table = np.array(panel.widget.result["mean"])
    assert table.shape == (6, 6)
    assert np.ptp(table) > 0
    assert panel.map.to_csv().count("\n") == 37
    panel.act({"type": "start", "row": "beta", "column": "gamma", "outcome": "contrast", "count": 0})
    assert "lasso" in page.state.notice.text
    page.map.select([lesion.lesion_id for lesion in page.store.gallery.lesions[5:19]])
    panel.act({"type": "start", "row": "beta", "column": "gamma", "outcome": "contrast", "count": 0})
    panel.wait()
    assert panel.map.regions == 14
    page.map.select([])
    panel.act({"type": "start", "row": "beta", "column": "beta", "outcome": "contrast", "count": 48})
    assert "same" in page.state.notice.text
    panel.act({"type": "start", "row": "rho", "column": "gamma", "outcome": "neighbours", "count": 192})
    panel.act({"type": "stop"})
    panel.wait()
    assert panel.map.regions < 192
    assert "stopped" in panel.widget.status
    assert "does not read the filter" in panel.widget.how


def test_neighbours_are_the_encoders_where_it_reads_the_filter(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page.load.open_case(page.store.cases[0].name)
    page.frangi.respond(sliders(page, beta=0.5, sigma_from=1, sigma_to=3, sigma_step=1))
    encoder = Encoder.untrained(seed=0, architecture=Architecture(frangi="channel", filter=FrangiParams(sigmas=(1.0,))))
    monkeypatch.setattr(page.store, "_encoder", encoder)
    monkeypatch.setattr(panels_sensitivity, "VALUES", {"beta": (1.5,), "gamma": (0.3,)})
    panel = page.sensitivity
    page.map.select([lesion.lesion_id for lesion in page.store.gallery.lesions[::100]])
    panel.act({"type": "start", "row": "beta", "column": "gamma", "outcome": "neighbours", "count": 0})
    panel.wait()
    assert "which reads the filter" in panel.widget.how
    assert panel.map.rows.values == (0.5, 1.5), "the present value is among them"
    assert tuple(panel.widget.result["present"]) == (0, 0)
    rows = [page.store.row_of[lesion_id] for lesion_id in sorted(page.state.selection, key=page.store.row_of.get)]
    crops, params = page.store.gallery.crops[rows], page.state.params
    for r, beta in enumerate((0.5, 1.5)):
        for c, gamma in enumerate((0.0444, 0.3)):
            nearest = []
            for each in (params, replace(params, beta=beta, gamma=gamma)):
                vectors = encoder.embed(crops, filter=each)
                similarity = vectors @ vectors.T - 2 * np.eye(len(rows))
                nearest.append(np.argsort(-similarity, axis=1)[:, :9])
            changed = [9 - len(set(a) & set(b)) for a, b in zip(*nearest, strict=True)]
            assert panel.map.mean[r, c] == pytest.approx(np.mean(changed), abs=0.12)
    assert panel.map.mean[0, 0] == 0
    assert panel.map.mean[1, 1] > 0
    page.map.select([])


def test_the_setting_is_applied_to_the_collection_once(page: Any) -> None:
    shutil.rmtree(page.store.filtered_folder, ignore_errors=True)  # of an earlier run on the same data
    page.load.open_case(page.store.cases[0].name)
    page.frangi.respond(sliders(page, sigma_from=2, sigma_to=3, sigma_step=1))
    job = page.frangi.collection_filter
    page.frangi.apply({})
    job.wait()
    assert "responses kept" in page.frangi.widget.job["text"]
    assert not page.frangi.widget.job["running"]
    page.frangi.apply({})
    job.wait()
    assert "before" in page.frangi.widget.job["text"]
    page.frangi.respond(sliders(page, beta=0.33))
    page.frangi.apply({})
    page.frangi.apply({})
    job.wait()
    assert "stopped" in page.frangi.widget.job["text"]
    page.frangi.apply({"mode": "both"})
    assert "replace or channel" in page.state.notice.text
    page.frangi.respond(sliders(page, sigma_from=2, sigma_to=3, sigma_step=1))
    page.frangi.apply({"mode": "channel"})
    job.wait()
    gallery, setting = page.store.gallery, (page.state.params, page.state.window, "channel")
    ids = [lesion.lesion_id for lesion in gallery.lesions]
    kept = open_filtered(page.store.filtered_folder, gallery.crops, ids, *setting)
    assert kept.as_input(np.zeros((len(ids), 3, 64, 64), np.float16)).shape == (len(ids), 4, 64, 64)


def test_the_tuner_asks_for_a_window(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    before = page.frangi.respond(sliders(page))[1][0]
    page.frangi.choose_window({"name": "lung"})
    answer, pictures = page.frangi.respond(sliders(page))
    assert answer["window"] == "lung"
    assert page.view.widget.window == [page.state.window.center_hu, page.state.window.width_hu]
    assert pictures[0] != before
    page.frangi.choose_window({"name": "moon"})
    assert "moon" in page.state.notice.text
    page.frangi.choose_window({"name": "soft tissue"})
