"""Metrics: how well the loaded collection is searched by its encoder, with chance, the best possible and intervals."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Metrics
from lesiondash.errors import SearchError
from lesiondash.images.collection import collect_stacks
from lesiondash.records import UNLABELLED, Lesion
from lesiondash.retrieval.scopes import EvalScope

if TYPE_CHECKING:
    from lesiondash.evaluate import Evaluation

BY_TYPE = ("P@1", "P@10", "AP_min@10")

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
        said = "nothing was measured"
        try:
            found = self._evaluation([self.store.gallery.lesions[row] for row in rows])
            shown = [_scope(scope, found) for scope in TITLES if found.scopes[scope].queries]
            held = found.guards
            broken = [f"Do not trust these scores: {g.name} does not hold ({g.found})." for g in held if not g.passed]
            with self.widget.hold_sync():
                self.widget.scopes, self.widget.tables = shown, _tables(found)
                self.widget.notes = broken or [f"{len(held)} guards hold: {', '.join(g.name for g in held)}."]
            patients = len({lesion.patient_id for lesion in found.lesions})
            said = f"{len(found.lesions):,} lesions of {patients:,} patients"
        finally:
            with self.widget.hold_sync():
                self.widget.running, self.widget.status = False, said

    def _evaluation(self, lesions: list[Lesion]) -> Evaluation:
        """Evaluate the vectors that the search uses; only the slices beside the lesions' own are embedded for it."""
        from lesiondash.evaluate import evaluate_vectors

        store = self.store
        # Of the collection alone: what people add to it, of whichever patient, trains nothing.
        others = [item for item in store.collection.lesions if item.split != "test"]
        seen = [item for item in others if item.may_teach]
        vectors, beside = (store.gallery.vectors[self._rows(each)] for each in (lesions, seen))
        slices = store.encoder.architecture.slices
        further = store.encoder.embed(collect_stacks(store.collection, lesions, slices, slice_offset=1))
        return evaluate_vectors(
            "encoder", vectors, lesions, others, beside if len(beside) else None, further, scopes=tuple(TITLES)
        )

    def _rows(self, lesions: list[Lesion]) -> list[int]:
        return [self.store.row_of[lesion.lesion_id] for lesion in lesions]


def _scope(scope: EvalScope, found: Evaluation) -> dict[str, Any]:
    score, by_type = found.scopes[scope], found.scopes[scope].macro
    rows = [
        {
            "measure": measure,
            "score": part.mean,
            "low": part.low,
            "high": part.high,
            "chance": score.chance[measure],
            "ceiling": score.ceiling[measure],
            "by_type": by_type[measure],
        }
        for measure, part in found.intervals(scope).items()
    ]
    note = f"{score.queries:,} queries, {score.skipped:,} with nothing to find ({score.coverage:.1%} covered)."
    return {"name": scope, "title": TITLES[scope], "rows": rows, "note": note}


def _tables(found: Evaluation) -> list[dict[str, Any]]:
    """Return what the report has beside the scores: by type, what comes back, types told apart, without labels."""
    from lesiondash.report import retrieved_types

    score, tables = found.scopes["cross"], []
    kinds = sorted({lesion.type for lesion in found.lesions})
    if score.queries:
        by_type = [
            [kind, f"{part.queries:,}", *(f"{part.scores[name]:.3f}" for name in BY_TYPE), f"{part.chance['P@10']:.3f}"]
            for kind, part in score.per_type.items()
        ]
        tables.append(_table("By type, other patients", ["", "queries", *BY_TYPE, "chance of P@10"], by_type))
        shares = retrieved_types(score, [lesion.type for lesion in found.lesions], kinds)
        came = [[kind, *(f"{share:.2f}" for share in row)] for kind, row in zip(kinds, shares, strict=True)]
        tables.append(_table("What comes back among the first ten, other patients", ["asked", *kinds], came))
    probes = found.classification
    if probes:
        # Chance without its intervals: the panel is narrow.
        sure = {**found.classification_intervals, "chance": {}}
        told = [
            [name, *(str(sure[by].get(name, f"{scores[name]:.3f}")) for by, scores in probes.items())]
            for name in next(iter(probes.values()))
        ]
        tables.append(_table("Types told apart", ["", *probes], told))
    free = [[name, f"{value:.3f}"] for name, value in found.label_free.items()]
    tables.append(_table("Without labels", ["", "value"], free))
    return tables


def _table(title: str, head: list[str], rows: list[list[str]]) -> dict[str, Any]:
    return {"title": title, "head": head, "rows": rows}
