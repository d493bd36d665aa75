"""The metrics panel shows what the evaluation finds on the gallery's vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesiondash.dashboard.panels.metrics import MetricsPanel
from lesiondash.dashboard.state import State
from lesiondash.dashboard.store import Store
from lesiondash.paths import encoder_path, gallery_dir
from lesiondash.records import UNLABELLED
from lesiondash.retrieval.protocol import evaluate


@pytest.fixture
def panel(demonstration: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LESIONDASH_DATA", str(demonstration))
    return MetricsPanel(State(), Store(demonstration / "demo", gallery_dir(demonstration / "demo"), encoder_path()))


def test_scores_are_those_of_the_evaluation(panel: MetricsPanel) -> None:
    panel.measure()
    panel.measure()
    assert "being measured" in panel.state.notice.text  # two do not measure at once
    panel.wait()
    assert not panel.widget.running
    assert panel.widget.scopes[0]["name"] == "cross"
    gallery = panel.store.gallery
    rows = np.array([k for k, i in enumerate(gallery.lesions) if i.split == "test" and i.type != UNLABELLED])
    score = evaluate(gallery.vectors[rows], [gallery.lesions[k] for k in rows])
    for shown in panel.widget.scopes:
        for row in shown["rows"]:
            assert row["low"] <= row["score"] <= row["high"]
            if shown["name"] in score:
                assert row["score"] == pytest.approx(score[shown["name"]].scores[row["measure"]])
                assert row["by_type"] == pytest.approx(score[shown["name"]].macro[row["measure"]])
    assert "guards hold" in panel.widget.notes[0]
    tables = {table["title"]: table for table in panel.widget.tables}
    by_type = {row[0]: float(row[3]) for row in tables["By type, other patients"]["rows"]}
    parts = score["cross"].per_type
    assert by_type == {kind: pytest.approx(part.scores["P@10"], abs=6e-4) for kind, part in parts.items()}
    for row in tables["What comes back among the first ten, other patients"]["rows"]:
        assert sum(map(float, row[1:])) == pytest.approx(1, abs=0.05)
    told = tables["Types told apart"]
    assert told["head"] == ["", "linear probe", "20 nearest", "chance"]
    assert told["rows"][0][0] == "accuracy"
    *accuracies, chance = (float(said.split()[0]) for said in told["rows"][0][1:])
    assert all(chance < accuracy < 0.95 for accuracy in accuracies)
    names = [row[0] for row in tables["Without labels"]["rows"]]
    assert names == ["alignment", "uniformity", "RankMe", "hubness"]
    assert all(len(row) == len(table["head"]) for table in tables.values() for row in table["rows"])


def test_a_measuring_that_fails_is_over(demonstration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONDASH_DATA", str(demonstration))
    root = demonstration / "demo"
    panel = MetricsPanel(State(), Store(root, gallery_dir(root), tmp_path / "absent.safetensors"))
    panel.measure()
    panel.wait()
    assert panel.state.notice.kind == "error"
    assert not panel.widget.running
    assert panel.widget.status == "nothing was measured"


def test_nothing_to_measure_is_said(panel: MetricsPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tuple(replace(lesion, type=UNLABELLED) for lesion in panel.store.gallery.lesions)
    monkeypatch.setattr(panel.store, "gallery", replace(panel.store.gallery, lesions=bare))
    panel.measure()
    assert "nothing to score" in panel.state.notice.text
    assert not panel.widget.running
