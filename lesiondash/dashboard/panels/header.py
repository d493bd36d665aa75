"""Header: what of the files' headers may be shown, and the names of what was removed on arrival."""

from __future__ import annotations

from typing import Any

from lesiondash.dashboard.state import State
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import HeaderTable


class HeaderPanel:
    """Follows the focus; a collection's slices have no header to show."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self.widget = HeaderTable()
        state.observe(self._follow_focus, "focus")

    def _follow_focus(self, _: Any) -> None:
        if self.state.focus is None:
            return
        series = self.store.scans[self.state.focus.series_uid].series
        with self.widget.hold_sync():
            self.widget.shown = True
            self.widget.rows = [[item.tag, item.name, item.vr, item.value, item.private] for item in series.header]
            self.widget.removed = list(series.removed)
