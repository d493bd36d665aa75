"""Sensitivity: how an outcome of the filter moves with two of its parameters, over lesions of the collection."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Sensitivity
from lesiondash.errors import FilterError
from lesiondash.frangi.presets import as_sweep
from lesiondash.frangi.sensitivity import OUTCOMES, PARAMETERS, Axis, SensitivityMap, Vectors, sensitivity
from lesiondash.images.crops import box_mask
from lesiondash.records import FloatArray, FrangiParams

VALUES: dict[str, tuple[float, ...]] = {
    "beta": (0.15, 0.3, 0.45, 0.6, 0.9, 1.5),
    "gamma": (0.01, 0.02, 0.0444, 0.09, 0.15, 0.3),
    "rho": (0.0, 0.25, 0.5, 0.68, 0.85, 1.0),
    "alpha": (0.25, 0.5, 0.75, 1.0, 1.5, 2.5),
    "sigma_from": (1.0, 1.6, 2.4, 3.2, 4.0),
    "sigma_to": (3.0, 5.0, 7.0, 9.0, 11.0),
}
NAMES = {
    "beta": "β (lets round spots through)",
    "gamma": "γ (how strong)",
    "rho": "ρ (printed formula to contours)",
    "alpha": "α (favours spots)",
    "sigma_from": "σ from (finest)",
    "sigma_to": "σ to (broadest)",
}
COUNTS = (48, 192, 480)
SELECTED = 0
"""In place of a count: the lesions that the map's lasso holds."""
PAGE_OUTCOMES = {
    "contrast": "Mean response inside the lesion's box less that outside, over their sum: "
    "1 only inside, 0 alike, −1 only outside.",
    "neighbours": "How many of a region's nine nearest among these regions are others than at the present setting.",
}
"""The collection has boxes, not masks: overlap is for Python."""
BY_ENCODER = "Nearest by the encoder, which reads the filter's response."
BY_PATTERN = (
    "Nearest by the response itself, on a 16 × 16 grid: the encoder of this page does not read the filter, "
    "so that its own nine do not move."
)


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
                "parameters": [[name, NAMES[name]] for name in PARAMETERS],
                "outcomes": [[name, OUTCOMES[name], meaning] for name, meaning in PAGE_OUTCOMES.items()],
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
        if not {row, column} <= set(VALUES):
            raise FilterError(f"There is no parameter {row!r} or {column!r} to vary.")
        params, chosen = self.state.params, self._chosen(count)
        axes = [Axis(name, _values(name, params)) for name in (row, column)]
        vectors, how = self._vectors(chosen) if outcome == "neighbours" else (None, "")
        maps = sensitivity(*self._regions(chosen), params, axes[0], axes[1], outcome, vectors=vectors)
        self._stop.clear()
        self.widget.running = True
        self.widget.status, self.widget.share, self.widget.how = "starting …", 0.0, how
        self._worker = threading.Thread(target=self._run, args=(maps, len(chosen)), daemon=True)
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
                self.widget.status, self.widget.share = f"{found.regions} of {total} regions", found.regions / total
                if self._stop.is_set():
                    self.widget.status += ", stopped"
                    break
        finally:
            self.widget.running = False

    def _chosen(self, count: int) -> list[int]:
        """Rows of lesions spread evenly over the collection, or of those selected on the map."""
        if count != SELECTED:
            return np.unique(np.linspace(0, len(self.store.gallery.lesions) - 1, count).astype(int)).tolist()
        if not self.state.selection:
            raise FilterError("No lesion is selected on the map; draw a lasso there, or take a number of regions.")
        return sorted(self.store.row_of[lesion_id] for lesion_id in self.state.selection)

    def _regions(self, chosen: list[int]) -> tuple[FloatArray, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Windowed crops of lesions, and their boxes in them."""
        lesions = [self.store.gallery.lesions[row] for row in chosen]
        images = self.state.window.apply(self.store.gallery.crops[chosen])
        return images, np.stack([box_mask(item.box, item.spacing_mm[1:]) for item in lesions])

    def _vectors(self, chosen: list[int]) -> tuple[Vectors | None, str]:
        """What a search compares these lesions by at another setting, if it reads the filter; and that in words."""
        encoder = self.store.encoder
        if encoder.architecture.frangi == "none":
            return None, BY_PATTERN
        if encoder.architecture.slices > 1:
            return None, BY_PATTERN.replace(
                "does not read the filter", "reads several slices, of which one is kept here"
            )
        crops = self.store.gallery.crops[chosen]
        return (lambda part, params: encoder.embed(crops[part], filter=params)), BY_ENCODER


def _values(name: str, params: FrangiParams) -> tuple[float, ...]:
    """The values that a parameter takes: round ones, and its present one."""
    swept = as_sweep(params.sigmas)
    ends = {"sigma_from": swept[0], "sigma_to": swept[1]} if swept else {}
    present = ends.get(name) if name.startswith("sigma") else getattr(params, name)
    own = {float(present)} if isinstance(present, int | float) else set()
    return tuple(sorted({*VALUES[name], *own}))


def _as_dict(found: SensitivityMap) -> dict[str, Any]:
    return {
        "row_name": NAMES[found.rows.name],
        "column_name": NAMES[found.columns.name],
        "rows": list(found.rows.values),
        "columns": list(found.columns.values),
        "mean": np.round(found.mean, 5).tolist(),
        "spread": np.round(found.spread, 5).tolist(),
        "regions": found.regions,
        "outcome": OUTCOMES[found.outcome],
        "present": list(found.present or ()),
    }
