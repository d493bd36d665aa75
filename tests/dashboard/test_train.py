"""The training panel as methods: what it shows is what is in a run's folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from lesiondash.dashboard.panels.train import POINTS, TrainPanel
from lesiondash.dashboard.state import State
from lesiondash.dashboard.store import Store
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.encoder import Encoder
from lesiondash.learning.runs import Run, only_one
from lesiondash.learning.settings import PretrainSettings
from lesiondash.paths import encoder_path, gallery_dir
from lesiondash.prepare import index_with
from lesiondash.records import FrangiParams, Window

SETTINGS = PretrainSettings(steps=400, batch=16)


@pytest.fixture
def panel(demonstration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A panel on the demonstration whose runs lie in a folder of their own."""
    monkeypatch.setenv("LESIONDASH_DATA", str(demonstration))
    store = Store(demonstration / "demo", gallery_dir(demonstration / "demo"), encoder_path())
    monkeypatch.setenv("LESIONDASH_DATA", str(tmp_path))
    panel = TrainPanel(State(), store)
    yield panel
    panel.close()


def until(panel: TrainPanel, states: set[str], limit_s: float = 240) -> dict[str, Any]:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        panel.refresh()
        if panel.widget.run.get("state") in states:
            return dict(panel.widget.run)
        time.sleep(0.3)
    raise AssertionError(f"still {panel.widget.run}")


def test_data_is_the_pages_collection_or_the_demonstration(panel: TrainPanel, tmp_path: Path) -> None:
    # The page's collection lies elsewhere than this data folder's demonstration, which is not drawn yet.
    assert panel._collections().keys() == {"page"}
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "manifest.json").touch()
    assert [label for label, _, _ in panel._collections().values()] == ["demo", "the demonstration"]
    assert panel._collections()["demonstration"][1] == tmp_path / "demo"


def test_a_network_sees_the_filter_as_it_is_set_on_the_page(panel: TrainPanel) -> None:
    assert panel.architecture("channel", "gem") == Architecture(frangi="channel")
    panel.state.params, panel.state.window = FrangiParams(rho=0.68, sigmas=(1.0, 3.0)), Window(60, 150)
    seen = panel.architecture("replace", "average")
    assert (seen.filter, seen.filter_window) == (panel.state.params, panel.state.window)
    assert panel.architecture("none", "gem") == Architecture()  # another setting of no filter is the same training


def test_a_page_opens_on_what_is_under_way_rather_than_on_what_was_begun_last(
    panel: TrainPanel, tmp_path: Path
) -> None:
    older, newer = Run(tmp_path / "runs" / "older"), Run(tmp_path / "runs" / "newer")
    for place, run in enumerate((older, newer)):
        run.begin(SETTINGS, {"collection": "x"})
        os.utime(run.folder / "run.json", (place, place))
    with only_one(older):
        older.say("running", step=1, steps=400, message="")
        other = TrainPanel(State(), panel.store)
        other.close()
        assert other.widget.run["name"] == "older"
        assert other.widget.run["training"]
    other = TrainPanel(State(), panel.store)
    other.close()
    assert other.widget.run["name"] == "newer"


def test_a_paused_run_whose_process_was_killed_is_begun_anew(panel: TrainPanel, tmp_path: Path) -> None:
    killed, other = Run(tmp_path / "runs" / "killed"), Run(tmp_path / "runs" / "other")
    killed.begin(SETTINGS, {"collection": "x", "partial": False})
    killed.say("paused", step=1, steps=400, message="")
    with only_one(other):
        panel.act({"type": "resume", "name": "killed"})
    assert "under way" in panel.state.notice.text  # it was tried, not silently asked of nobody


def test_a_run_that_is_done_is_not_resumed(panel: TrainPanel, tmp_path: Path) -> None:
    run = Run(tmp_path / "runs" / "ready")
    run.begin(SETTINGS, {"collection": "x", "partial": False})
    Encoder.untrained().save(run.encoder)
    panel.act({"type": "resume", "name": "ready"})
    assert "ready is done" in panel.state.notice.text
    assert run.status["state"] == "done"


def test_a_run_of_another_collection_searches_the_pages(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONDASH_DATA", str(tmp_path))
    Encoder.untrained(seed=0).save(encoder_path())
    index_with(DeepLesion(small), encoder_path())
    run, fresh = Run(tmp_path / "runs" / "elsewhere"), Encoder.untrained(seed=1)
    run.begin(SETTINGS, {"collection": str(tmp_path / "demo"), "partial": False})
    fresh.save(run.encoder)
    first, second = (TrainPanel(State(), Store(small, gallery_dir(small), encoder_path())) for _ in range(2))
    first.act({"type": "use", "name": "elsewhere"})
    deadline, refused = time.monotonic() + 240, ""
    while first.state.notice is None or "Reload" not in first.state.notice.text:
        assert first.state.notice is None or first.state.notice.kind == "info", (run.folder / "train.log").read_text()
        assert time.monotonic() < deadline
        second.refresh()
        if second.widget.run["busy"] and not refused:
            second.act({"type": "use", "name": "elsewhere"})
            refused = second.state.notice.text
        time.sleep(0.1)
    first.close()
    second.close()
    assert "being made already" in refused
    assert Store(small, gallery_dir(small), encoder_path()).encoder.fingerprint == fresh.fingerprint


def test_without_a_run_there_is_nothing_to_show(panel: TrainPanel) -> None:
    assert panel.widget.runs == []
    assert panel.widget.run == {}


def test_a_run_of_another_process_is_found_with_its_curves(panel: TrainPanel, tmp_path: Path) -> None:
    run = Run(tmp_path / "runs" / "earlier")
    run.begin(SETTINGS, {"collection": "x"})
    for step in range(1, 2 * POINTS + 1):
        run.append({"step": step, "loss": 5 - step / 400, "chance": 2.89, **({"knn": 0.4} if step % 50 == 0 else {})})
    run.say("running", step=400, steps=400, message="", device="CPU, 1 thread")
    panel.refresh()
    shown, curves = panel.widget.run, panel.widget.curves
    assert (shown["name"], shown["state"]) == ("earlier", "stopped")  # nobody holds the lock: its process is gone
    assert shown["chance"] == 2.89
    assert len(curves["step"]) <= POINTS + 1
    assert curves["step"][-1] == 2 * POINTS
    assert {len(values) for values in curves.values()} == {len(curves["step"])}


def test_started_stopped_resumed_and_done(panel: TrainPanel) -> None:
    panel.act({"type": "start", "model": "simclr", "frangi": "none", "pool": "gem", "steps": 3, "batch": 8})
    assert panel.widget.run["state"] == "running"
    name = panel.widget.run["name"]
    panel.act({"type": "start", "model": "vae", "frangi": "none", "pool": "gem", "steps": 3, "batch": 8})
    assert "under way" in panel.state.notice.text  # two do not train at once
    deadline = time.monotonic() + 120
    while not panel.widget.run.get("step") and panel.widget.run["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.2)
        panel.refresh()
    panel.act({"type": "stop", "name": name})
    ended = until(panel, {"stopped", "done"})
    if ended["state"] == "stopped":
        panel.act({"type": "resume", "name": name})
        ended = until(panel, {"done", "failed"})
    assert ended["state"] == "done"
    assert panel.widget.curves["step"][-1] == 3
    assert bytes(panel.widget.views).startswith(b"\x89PNG")
    assert "only" in panel.widget.run["warning"] or "hardly moves" in panel.widget.run["warning"]
    panel.act({"type": "start", "model": "simclr", "frangi": "none", "pool": "gem", "steps": 3, "batch": 8})
    assert "trained before" in panel.state.notice.text


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"type": "start", "model": "gan", "frangi": "none", "pool": "gem", "steps": 3, "batch": 8}, "gan"),
        ({"type": "start", "model": "vae", "frangi": "x", "pool": "gem", "steps": 3, "batch": 8}, "frangi"),
        ({"type": "start", "model": "vae", "frangi": "none", "pool": "gem", "steps": 0, "batch": 8}, "0 steps"),
        (
            {"type": "start", "model": "vae", "frangi": "none", "pool": "gem", "steps": 3, "batch": 8, "data": "x"},
            "no collection",
        ),
        ({"type": "pause", "name": "absent"}, "no training"),
        ({"type": "resume", "name": "../else"}, "cannot be called"),
        ({"type": "resume", "name": "absent"}, "no training"),
        ({"type": "use", "name": "absent"}, "no encoder"),
        ({"type": "stop", "name": ""}, "cannot be called"),
    ],
)
def test_what_cannot_be_done_is_said(panel: TrainPanel, message: dict[str, Any], words: str) -> None:
    panel.act(message)
    assert panel.state.notice.kind == "error"
    assert words in panel.state.notice.text
