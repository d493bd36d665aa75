from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesiondash import reproduce
from lesiondash.errors import CollectionError
from lesiondash.images.deeplesion import DeepLesion


def thinned(root: Path, partial: bool = False) -> DeepLesion:
    """The demonstration with every tenth lesion, so that a cell takes seconds."""
    found = DeepLesion(root, partial=partial)
    found.lesions = found.lesions[::10]
    return found


def test_cells_are_trained_and_set_beside_the_papers(demonstration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "DeepLesion", thinned)
    monkeypatch.setattr(reproduce, "SMALL_STEPS", 2)
    two = {key: reproduce.PAPER[key] for key in [("simclr", True, True), ("vae", False, False)]}
    monkeypatch.setattr(reproduce, "PAPER", two)
    told: list[tuple[int, int]] = []
    cells = reproduce.table1(
        demonstration / "demo", seeds=(0, 1), progress=lambda step, done, total: told.append((done, total))
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for cell in cells:
        assert len(cell.accuracy) == len(cell.f1) == 2
        low, high = cell.accuracy_interval
        assert 0 <= low <= np.mean(cell.accuracy) <= high <= 100
        assert np.mean(cell.accuracy) > 12.5  # chance of eight types
    text = reproduce.as_table(cells)
    assert "80.73" in text
    assert "74.04" in text
    assert "2 seeds" in text


def test_every_cell_is_what_its_name_says() -> None:
    for model, frangi, gem in reproduce.PAPER:
        settings = reproduce.cell_settings(model, frangi, gem, 3)
        assert settings.model == model
        assert settings.architecture.frangi == ("replace" if frangi else "none")
        assert settings.architecture.pool == ("gem" if gem else "average")
        assert settings.seed == 3
    full = reproduce.cell_settings("simclr", True, False, 0, full=True, use="channel")
    assert (full.learning_rate, full.weight_decay, full.optimiser) == (0.05, 1e-5, "lars")
    assert full.architecture.frangi == "channel"
    large = reproduce.cell_settings("vae", True, False, 0, full=True, batch=512)
    assert large.batch == 512
    assert large.peak_rate == pytest.approx(0.05 * 512 / 64)


def test_retrieval_is_scored_by_the_protocol_and_as_released(
    demonstration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def thinner(root: Path, partial: bool = False) -> DeepLesion:
        found = DeepLesion(root, partial=partial)
        found.lesions = found.lesions[::6]
        return found

    monkeypatch.setattr(reproduce, "DeepLesion", thinner)
    monkeypatch.setattr(reproduce, "SMALL_STEPS", 1)
    rows = reproduce.table2(demonstration / "demo", seeds=(0,))
    assert [(row.model, row.scope) for row in rows] == [
        (model, scope) for model in ("vae", "simclr") for scope in ("all", "same", "cross")
    ]
    for row in rows:
        assert row.p1_interval[0] <= row.scores["P@1"] <= row.p1_interval[1]
        if row.scope == "cross":
            assert row.released == row.scores
        else:
            assert row.released["P@1"] == 1  # the query finds itself
    text = reproduce.as_retrieval_table(rows)
    assert "0.503" in text
    assert "as released" in text


def test_too_few_labels_are_said(demonstration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def training_only(root: Path, partial: bool = False) -> DeepLesion:
        found = thinned(root, partial)
        found.lesions = tuple(lesion for lesion in found.lesions if lesion.split == "train")
        return found

    monkeypatch.setattr(reproduce, "DeepLesion", training_only)
    with pytest.raises(CollectionError, match="too few labelled"):
        reproduce.table1(demonstration / "demo")
