"""Suggest: boxes round the filter's strongest responses on the slice shown, one click to search for one."""

from __future__ import annotations

from typing import Any

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Suggest
from lesiondash.errors import FilterError
from lesiondash.frangi.suggest import Suggestion, suggest

COUNT = 10


class SuggestPanel:
    """Looks on the slice shown when it is asked to; its actions are `suggest` and `take`."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self.suggestions: list[Suggestion] = []
        self._place: tuple[str, int] | None = None
        self.widget = Suggest(self.act)
        state.observe(self._forget, ["focus", "slice_index"])

    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did: ask, or take one."""
        if message["type"] == "suggest":
            self.suggest()
        elif message["type"] == "take":
            self.take(int(message["number"]))

    @tells_errors
    def suggest(self) -> None:
        """Look for boxes on the slice shown."""
        if self.state.focus is None:
            raise FilterError("No scan is shown; open one first.")
        uid, index = self.state.focus.series_uid, self.state.slice_index
        series = self.store.scans[uid].series
        if series.unit != "HU":
            raise FilterError(f"Boxes are suggested on CT, in HU; this series is {series.modality}.")
        self.suggestions = suggest(series.hu[index], spacing_mm=series.spacing_mm[1:], count=COUNT)
        self._place = (uid, index)
        with self.widget.hold_sync():
            self.widget.chosen = -1
            self.widget.boxes = [_size_mm(item, series.spacing_mm[1:]) for item in self.suggestions]
            self.widget.status = (
                "strongest first; most are vessels, bowel or muscle" if self.suggestions else "nothing stands out here"
            )

    @tells_errors
    def take(self, number: int) -> None:
        """Draw a suggestion's box, counted from 0, on its slice, and search for it."""
        if self._place is None or not 0 <= number < len(self.suggestions):
            raise FilterError("This suggestion is no longer there; ask for boxes on this slice again.")
        uid, index = self._place
        self.state.show(uid, index, self.suggestions[number].box)
        self.widget.chosen = number

    def _forget(self, _: Any) -> None:
        focus = self.state.focus
        if self._place is None or focus is None or self._place == (focus.series_uid, self.state.slice_index):
            return
        self._place, self.suggestions = None, []
        with self.widget.hold_sync():
            self.widget.boxes, self.widget.chosen, self.widget.status = [], -1, ""


def _size_mm(item: Suggestion, spacing_mm: tuple[float, float]) -> int:
    return round(max(side * step for side, step in zip(item.box.size, reversed(spacing_mm), strict=True)))
