"""The header panel follows the series shown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from lesiondash.dashboard.panels.header import HeaderPanel
from lesiondash.dashboard.state import State
from lesiondash.records import HeaderItem, Series


def test_header_and_what_was_removed_follow_the_focus() -> None:
    items = (HeaderItem("(0018,0060)", "KVP", "DS", "120"), HeaderItem("(0009,1001)", "Private", "LO", "x", True))
    hu = np.zeros((2, 3, 4), np.int16)
    full = Series("a", "", "CT", hu, (1, 1, 1), (0, 1), header=items, removed=("Patient's Name",))
    bare = Series("b", "", "CT", hu, (1, 1, 1), (0, 1))
    state = State()
    panel = HeaderPanel(state, SimpleNamespace(scans={each.uid: SimpleNamespace(series=each) for each in (full, bare)}))
    assert not panel.widget.shown
    state.show("a", 0)
    assert panel.widget.shown
    assert panel.widget.rows == [
        ["(0018,0060)", "KVP", "DS", "120", False],
        ["(0009,1001)", "Private", "LO", "x", True],
    ]
    assert panel.widget.removed == ["Patient's Name"]
    state.show("b", 0)
    assert (panel.widget.rows, panel.widget.removed) == ([], [])
