"""Metrics: how well the loaded collection is searched by its encoder, with chance, the best possible and intervals."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Metrics
from lesiondash.errors import SearchError
from lesiondash.records import UNLABELLED
from lesiondash.retrieval.guards import guards
from lesiondash.retrieval.intervals import interval
from lesiondash.retrieval.protocol import evaluate
from lesiondash.retrieval.scopes import EvalScope

TITLES: dict[EvalScope, str] = {
    "cross": "other patients",
    "all": "all",
    "same": "same patient",
    "same-strict": "same patient, no follow-ups",
    "track": "follow-ups of a lesion",
}


class MetricsPanel:
    """Measures in a thread, so that the page stays alive, with the vectors that the search uses.

    Its action is `measure`.
    """

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self._worker: threading.Thread | None = None
        self.widget = Metrics(self.act, status="The test split: every lesion asked for once, near duplicates left out.")

    @tells_errors
    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did."""
        if message["type"] == "measure":
            self.measure()

    @tells_errors
    def measure(self) -> None:
        """Begin to measure; raises `SearchError` while it goes on, or where there is nothing to measure on."""
        if self.widget.running:
            raise SearchError("The scores are being measured; wait until they are there.")
        lesions = self.store.gallery.lesions
        rows = [row for row, item in enumerate(lesions) if item.split == "test" and item.type != UNLABELLED]
        if not rows:
            raise SearchError("This collection has no labelled lesion in its test split; there is nothing to score.")
        self.widget.running, self.widget.status = True, "measuring …"
        self._worker = threading.Thread(target=self._run, args=(np.array(rows),), daemon=True)
        self._worker.start()

    def wait(self) -> None:
        """Wait until the scores are there."""
        if self._worker is not None:
            self._worker.join()

    @tells_errors
    def _run(self, rows: np.ndarray) -> None:
        try:
            lesions = [self.store.gallery.lesions[row] for row in rows]
            vectors = self.store.gallery.vectors[rows]
            scores = evaluate(vectors, lesions, scopes=tuple(TITLES))
            shown = [self._scope(scope, scores[scope]) for scope in TITLES if scores[scope].queries]
            # Of the collection alone: what people add to it, of whichever patient, trains nothing.
            others = [item for item in self.store.collection.lesions if item.split != "test"]
            held = guards(vectors, lesions, others)
            broken = [f"Do not trust these scores: {g.name} does not hold ({g.found})." for g in held if not g.passed]
            with self.widget.hold_sync():
                self.widget.scopes = shown
                self.widget.notes = broken or [f"{len(held)} guards hold: {', '.join(g.name for g in held)}."]
                self.widget.status = f"{len(lesions):,} lesions of {len({i.patient_id for i in lesions}):,} patients"
        finally:
            self.widget.running = False

    def _scope(self, scope: EvalScope, score: Any) -> dict[str, Any]:
        rows = []
        for place, measure in enumerate(score.measures):
            found = interval(score.values[:, place], score.patients)
            rows.append(
                {
                    "measure": measure,
                    "score": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "chance": score.chance[measure],
                    "ceiling": score.ceiling[measure],
                }
            )
        note = f"{score.queries:,} queries, {score.skipped:,} with nothing to find."
        return {"name": scope, "title": TITLES[scope], "rows": rows, "note": note}
