"""Sensitivity: how an outcome of the filter moves with two of its parameters, over lesions of the collection."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Sensitivity
from lesiondash.errors import FilterError
from lesiondash.frangi.sensitivity import OUTCOMES, PARAMETERS, Axis, SensitivityMap, sensitivity
from lesiondash.images.crops import box_mask

VALUES: dict[str, tuple[float, ...]] = {
    "beta": (0.15, 0.3, 0.45, 0.6, 0.9, 1.5),
    "gamma": (0.01, 0.02, 0.0444, 0.09, 0.15, 0.3),
    "rho": (0.0, 0.25, 0.5, 0.68, 0.85, 1.0),
    "alpha": (0.25, 0.5, 0.75, 1.0, 1.5, 2.5),
    "sigma_from": (1.0, 1.6, 2.4, 3.2, 4.0),
    "sigma_to": (3.0, 5.0, 7.0, 9.0, 11.0),
}
COUNTS = (48, 192, 480)
SELECTED = 0
"""In place of a count: the lesions that the map's lasso holds."""
PAGE_OUTCOMES = ("contrast", "neighbours")
"""The collection has boxes, not masks: overlap is for Python."""


class SensitivityPanel:
    """Computes in a thread, so that the page stays alive; each step's map is shown as it comes."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self.map: SensitivityMap | None = None
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None
        self.widget = Sensitivity(
            self.act,
            choices={
                "parameters": [name for name in PARAMETERS if name in VALUES],
                "outcomes": [[name, OUTCOMES[name]] for name in PAGE_OUTCOMES],
                "counts": [[n, f"{n} regions"] for n in COUNTS] + [[SELECTED, "selected on the map"]],
            },
        )

    @tells_errors
    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did: start, stop, or save as CSV or PNG."""
        kind = message["type"]
        if kind == "start":
            self.start(message["row"], message["column"], message["outcome"], int(message["count"]))
        elif kind == "stop":
            self._stop.set()
        elif self.map is not None and kind == "csv":
            self.widget.send({"type": "csv", "text": self.map.to_csv()})
        elif self.map is not None and kind == "png":
            self.widget.send({"type": "png"}, [self.map.to_png()])

    @tells_errors
    def start(self, row: str, column: str, outcome: str, count: int) -> None:
        """Begin a map around the filter's present setting; raises `FilterError` where it cannot be."""
        if row == column:
            raise FilterError("The two parameters are the same; choose two that differ.")
        if self.widget.running:
            raise FilterError("A map is being computed; stop it first.")
        axes = [Axis(name, VALUES[name]) for name in (row, column) if name in VALUES]
        if len(axes) < 2:
            raise FilterError(f"There is no parameter {row!r} or {column!r} to vary.")
        images, inside = self._regions(count)
        maps = sensitivity(images, inside, self.state.params, axes[0], axes[1], outcome)
        self._stop.clear()
        self.widget.running, self.widget.status = True, "starting …"
        self._worker = threading.Thread(target=self._run, args=(maps, len(images)), daemon=True)
        self._worker.start()

    def wait(self) -> None:
        """Wait until the map that is being computed is whole or stopped."""
        if self._worker is not None:
            self._worker.join()

    @tells_errors
    def _run(self, maps: Any, total: int) -> None:
        try:
            for found in maps:
                self.map = found
                self.widget.result = _as_dict(found)
                self.widget.status = f"{found.regions} of {total} regions"
                if self._stop.is_set():
                    self.widget.status += ", stopped"
                    break
        finally:
            self.widget.running = False

    def _regions(self, count: int) -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.bool_]]]:
        """Windowed crops and boxes of lesions spread evenly over the collection, or of those selected on the map."""
        gallery = self.store.gallery
        chosen = np.unique(np.linspace(0, len(gallery.lesions) - 1, count).astype(int))
        if count == SELECTED:
            chosen = np.array(sorted(self.store.row_of[lesion_id] for lesion_id in self.state.selection), int)
        if not len(chosen):
            raise FilterError("No lesion is selected on the map; draw a lasso there, or take a number of regions.")
        images = self.state.window.apply(gallery.crops[chosen]).astype(np.float32)
        lesions = [gallery.lesions[row] for row in chosen]
        return images, np.stack([box_mask(item.box, item.spacing_mm[1:]) for item in lesions])


def _as_dict(found: SensitivityMap) -> dict[str, Any]:
    return {
        "row_name": found.rows.name,
        "column_name": found.columns.name,
        "rows": list(found.rows.values),
        "columns": list(found.columns.values),
        "mean": np.round(found.mean, 5).tolist(),
        "spread": np.round(found.spread, 5).tolist(),
        "regions": found.regions,
    }
