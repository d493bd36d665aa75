"""How well vectors retrieve lesions of their own type: the evaluation, with chance and ceiling beside each score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.records import Lesion
from lesiondash.retrieval import metrics
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.scopes import EvalScope, Galleries

DEFAULT_SCOPES: tuple[EvalScope, ...] = ("all", "same", "cross")
AP_RANKS = 10
BLOCK = 256
DIGITS = 12
Floats = npt.NDArray[np.float64]
Measure = tuple[Callable[[npt.NDArray[np.bool_], int], float], Callable[[int, int], float], Callable[[int, int], float]]
"""Score of (a full ranking as 0 and 1, relevant), then chance and ceiling of (candidates, relevant)."""


@dataclass(frozen=True, eq=False)
class ScopeScore:
    """What every query of one scope scored.

    measures: names; values, chances, ceilings: (q, measures) of these vectors, of a random and of a perfect ranking;
    rows: (q,), which lesions asked; types, patients: theirs; candidates, relevant: (q,), how many there were to find;
    nearest: (q, 10) rows found first, −1 where fewer; skipped: queries with nothing relevant to find, left out.
    """

    measures: tuple[str, ...]
    values: Floats
    chances: Floats
    ceilings: Floats
    rows: npt.NDArray[np.int64]
    types: tuple[str, ...]
    patients: tuple[str, ...]
    candidates: npt.NDArray[np.int64]
    relevant: npt.NDArray[np.int64]
    nearest: npt.NDArray[np.int64]
    skipped: int

    @property
    def scores(self) -> dict[str, float]:
        """Means over the queries; NaN where there is none."""
        return self._mean(self.values)

    @property
    def chance(self) -> dict[str, float]:
        """Means of random rankings."""
        return self._mean(self.chances)

    @property
    def ceiling(self) -> dict[str, float]:
        """Means of perfect rankings."""
        return self._mean(self.ceilings)

    @property
    def queries(self) -> int:
        """How many queries were scored."""
        return len(self.rows)

    @property
    def coverage(self) -> float:
        """Share of the queries that had something relevant to find."""
        asked = self.queries + self.skipped
        return self.queries / asked if asked else float("nan")

    @property
    def per_type(self) -> dict[str, ScopeScore]:
        """The same for the queries of each type; who was skipped is not told apart there."""
        kinds = np.array(self.types, dtype=object)
        return {kind: self.of(np.flatnonzero(kinds == kind)) for kind in sorted(set(self.types))}

    @property
    def macro(self) -> dict[str, float]:
        """Scores averaged over types, each type counting alike."""
        return self._over_types("scores")

    @property
    def macro_chance(self) -> dict[str, float]:
        """The same of random rankings."""
        return self._over_types("chance")

    @property
    def macro_ceiling(self) -> dict[str, float]:
        """The same of perfect rankings."""
        return self._over_types("ceiling")

    def of(self, chosen: npt.NDArray[np.int64]) -> ScopeScore:
        """Return the score of some of the queries, by their place."""
        return ScopeScore(
            self.measures,
            self.values[chosen],
            self.chances[chosen],
            self.ceilings[chosen],
            self.rows[chosen],
            tuple(self.types[place] for place in chosen),
            tuple(self.patients[place] for place in chosen),
            self.candidates[chosen],
            self.relevant[chosen],
            self.nearest[chosen],
            skipped=0,
        )

    def _over_types(self, which: Literal["scores", "chance", "ceiling"]) -> dict[str, float]:
        parts = [getattr(part, which) for part in self.per_type.values()]
        return {name: float(np.mean([part[name] for part in parts])) if parts else np.nan for name in self.measures}

    def _mean(self, table: Floats) -> dict[str, float]:
        means = table.mean(axis=0) if len(table) else np.full(len(self.measures), np.nan)
        return dict(zip(self.measures, means.tolist(), strict=True))


def evaluate(
    vectors: npt.ArrayLike,
    lesions: Sequence[Lesion],
    *,
    scopes: Sequence[EvalScope] = DEFAULT_SCOPES,
    ks: Sequence[int] = (1, 10),
) -> dict[str, ScopeScore]:
    """Query every labelled lesion once among the others, and score whether its own coarse type comes first.

    vectors: (n, d), one per lesion. lesions: those of one split, normally test; unlabelled ones are candidates that
    are never relevant, and no queries. Scopes are those of `Galleries`. Measures: P@k (strict), the same of what is
    available for the largest k, AP_min@10, AP_hit@10, mP@10, MAP@R. Queries with nothing relevant to find are skipped
    and counted. Candidates are ranked by cosine, equal ones to twelve digits by lesion_id. Raises `SearchError`
    for repeated ids and for vectors that no `Index` takes.
    """
    names = ("lesion_id", "patient_id", "type")
    index = Index(vectors, {name: [getattr(lesion, name) for lesion in lesions] for name in names})
    return evaluate_rankings(lambda rows: _rankings(index, rows), lesions, scopes=scopes, ks=ks)


def evaluate_rankings(
    rank: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]],
    lesions: Sequence[Lesion],
    *,
    scopes: Sequence[EvalScope] = DEFAULT_SCOPES,
    ks: Sequence[int] = (1, 10),
    galleries: Galleries | None = None,
) -> dict[str, ScopeScore]:
    """Score any way to rank: rank(rows) returns, for those queries, all n rows, best first, (len(rows), n)."""
    if not ks or any(k < 1 for k in ks):
        raise SearchError(f"ks is {tuple(ks)}; give ranks from 1.")
    galleries = galleries or Galleries(lesions)
    allowed = {scope: galleries.allowed(scope) for scope in scopes}
    relevant = {scope: galleries.relevant(scope) for scope in scopes}
    measures = measures_of(ks)
    found: dict[str, list[tuple[Any, ...]]] = {scope: [] for scope in scopes}
    skipped = dict.fromkeys(scopes, 0)
    for start in range(0, len(lesions), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(lesions)))
        for row, order in zip(rows, rank(rows), strict=True):
            for scope in scopes:
                if not galleries.asks(scope)[row]:
                    continue
                ranked = order[allowed[scope][row, order]]
                hits = relevant[scope][row, ranked]
                count = int(hits.sum())
                if count:
                    nearest = np.pad(ranked[:AP_RANKS], (0, max(0, AP_RANKS - len(ranked))), constant_values=-1)
                    found[scope].append((row, len(ranked), count, nearest, _scored(hits, measures)))
                else:
                    skipped[scope] += 1
    return {scope: _gathered(found[scope], lesions, tuple(measures), skipped[scope]) for scope in scopes}


def measures_of(ks: Sequence[int]) -> dict[str, Measure]:
    """Return the measures of the evaluation by name."""
    ten, last = AP_RANKS, max(ks)
    measures: dict[str, Measure] = {}
    for k in ks:
        measures[f"P@{k}"] = (
            partial(_precision_at, k=k),
            partial(metrics.precision_chance, k=k),
            partial(metrics.precision_ceiling, k=k),
        )
    measures[f"P@{last} available"] = (
        lambda hits, _: metrics.precision_available(hits, last),
        partial(metrics.available_chance, k=last),
        partial(metrics.available_ceiling, k=last),
    )
    measures[f"AP_min@{ten}"] = (
        lambda hits, total: metrics.ap_min(hits[:ten], ten, total),
        partial(metrics.ap_min_chance, k=ten),
        partial(metrics.ap_min_ceiling, k=ten),
    )
    measures[f"AP_hit@{ten}"] = (
        lambda hits, _: metrics.ap_hit(hits, ten),
        partial(metrics.ap_hit_chance, k=ten),
        partial(metrics.ap_hit_ceiling, k=ten),
    )
    measures[f"mP@{ten}"] = (
        lambda hits, _: metrics.mean_precision(hits, ten),
        partial(metrics.mean_precision_chance, k=ten),
        partial(metrics.mean_precision_ceiling, k=ten),
    )
    measures["MAP@R"] = (metrics.map_at_r, metrics.map_at_r_chance, lambda _, total: float(total > 0))
    return measures


def _precision_at(hits: npt.NDArray[np.bool_], total: int, k: int) -> float:
    return metrics.precision_at(hits, k)


def _rankings(index: Index, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return all rows by falling similarity to each of some rows; what is equal to twelve digits is ordered by id.

    Beyond them a sum depends on the order in which the lesions are given; before them even a nearly collapsed
    encoder's vectors differ, as the search sees them.
    """
    wide = index.vectors.astype(np.float64)
    scores = np.round(wide[rows] @ wide.T, DIGITS)
    by_id = np.argsort(np.array(index.lesions["lesion_id"], dtype=object), kind="stable")
    return np.asarray(by_id[np.argsort(-scores[:, by_id], axis=1, kind="stable")])


def _scored(hits: npt.NDArray[np.bool_], measures: dict[str, Measure]) -> Floats:
    """Return value, chance and ceiling of each measure of one ranking, (3, measures)."""
    total = int(hits.sum())
    return np.array(
        [
            [value(hits, total) for value, _, _ in measures.values()],
            [chance(len(hits), total) for _, chance, _ in measures.values()],
            [ceiling(len(hits), total) for _, _, ceiling in measures.values()],
        ]
    )


def _gathered(
    found: list[tuple[Any, ...]], lesions: Sequence[Lesion], measures: tuple[str, ...], skipped: int
) -> ScopeScore:
    rows = np.array([entry[0] for entry in found], np.int64)
    tables = np.array([entry[4] for entry in found], np.float64).reshape(-1, 3, len(measures))
    return ScopeScore(
        measures,
        tables[:, 0],
        tables[:, 1],
        tables[:, 2],
        rows,
        tuple(lesions[row].type for row in rows),
        tuple(lesions[row].patient_id for row in rows),
        np.array([entry[1] for entry in found], np.int64),
        np.array([entry[2] for entry in found], np.int64),
        np.array([entry[3] for entry in found], np.int64).reshape(-1, AP_RANKS),
        skipped,
    )
