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
    assert "guards hold" in panel.widget.notes[0]


def test_nothing_to_measure_is_said(panel: MetricsPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tuple(replace(lesion, type=UNLABELLED) for lesion in panel.store.gallery.lesions)
    monkeypatch.setattr(panel.store, "gallery", replace(panel.store.gallery, lesions=bare))
    panel.measure()
    assert "nothing to score" in panel.state.notice.text
    assert not panel.widget.running
