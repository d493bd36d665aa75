"""Suggested boxes on the page: asked for, taken, and forgotten with their slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def page(demonstration: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from lesiondash.dashboard import Dashboard

    monkeypatch.setenv("LESIONDASH_DATA", str(demonstration))
    return Dashboard()


def test_nothing_to_look_at_before_a_scan_is_open(page: Any) -> None:
    page.suggest.suggest()
    assert "open one first" in page.state.notice.text
    page.suggest.take(0)
    assert "no longer there" in page.state.notice.text


def test_a_suggestion_is_drawn_and_searched_for(page: Any) -> None:
    page.load.open_case(page.store.cases[0].name)
    shown = page.state.slice_index
    page.suggest.act({"type": "suggest"})
    found = page.suggest.suggestions
    assert len(page.suggest.widget.boxes) == len(found) > 0
    before = page.state.hits
    page.suggest.act({"type": "take", "number": 0})
    assert page.state.region.box == found[0].box
    assert page.state.slice_index == shown
    assert page.state.hits != before
    assert page.suggest.widget.chosen == 0
    assert len(page.suggest.widget.boxes) == len(found)  # the others can still be taken
    page.state.slice_index = shown + 1
    assert page.suggest.widget.boxes == []
