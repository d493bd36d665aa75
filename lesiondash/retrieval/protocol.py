"""How well vectors retrieve lesions of their own type: the evaluation, with chance and ceiling beside each score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.records import SCOPES, UNLABELLED, Lesion, SearchScope
from lesiondash.retrieval.index import Index, exact_cosines
from lesiondash.retrieval.metrics import (
    ap_min,
    ap_min_ceiling,
    ap_min_chance,
    precision_at,
    precision_ceiling,
    precision_chance,
)

NEAR_Z_MM = 10.0
NEAR_IN_PLANE_MM = 20.0
OVERLAP_Z_MM = 5.0
CROP_MM = 50.0
CROP_MARGIN = 1.5
AP_RANKS = 10


@dataclass(frozen=True)
class ScopeScore:
    """Means over the queries of one scope, by measure: "P@1", "P@10" (strict) and "AP_min@10".

    scores, chance, ceiling: of these vectors, of a random and of a perfect ranking; NaN where no query counted.
    queries: labelled lesions with something relevant among their candidates; skipped: those without.
    per_type: the same over the queries of one type.
    """

    scores: dict[str, float]
    chance: dict[str, float]
    ceiling: dict[str, float]
    queries: int
    skipped: int
    per_type: dict[str, ScopeScore] = field(default_factory=dict)

    @property
    def macro(self) -> dict[str, float]:
        """Scores averaged over types, each type counting alike."""
        parts = [part.scores for part in self.per_type.values()]
        return {name: sum(part[name] for part in parts) / len(parts) if parts else float("nan") for name in self.scores}


def evaluate(
    vectors: npt.ArrayLike,
    lesions: Sequence[Lesion],
    *,
    scopes: Sequence[SearchScope] = SCOPES,
    ks: Sequence[int] = (1, 10),
) -> dict[str, ScopeScore]:
    """Query every labelled lesion once among the others, and score whether its own coarse type comes first.

    vectors: (n, d), one per lesion. lesions: those of one split, normally test; unlabelled ones are candidates that
    are never relevant, and no queries. Left out of a query's gallery are the query itself and its near duplicates,
    as `near_duplicates` tells them; scope "same" is then the query's patient, "cross" all other patients. Queries
    with nothing relevant to find are skipped and counted. Candidates are ranked by the cosine of float32 vectors,
    equal ones by their order. Raises `SearchError` for repeated ids and for vectors that no `Index` takes.
    """
    if not ks or any(k < 1 for k in ks):
        raise SearchError(f"ks is {tuple(ks)}; give ranks from 1.")
    names = ("lesion_id", "patient_id", "type")
    index = Index(vectors, {name: [getattr(lesion, name) for lesion in lesions] for name in names})
    duplicates = near_duplicates(lesions)
    return {scope: _score_scope(index, lesions, duplicates, scope, tuple(ks)) for scope in scopes}


def near_duplicates(lesions: Sequence[Lesion]) -> npt.NDArray[np.bool_]:
    """Return for each pair, (n, n) symmetric, whether one may not be found from the other; True on the diagonal.

    Near duplicates lie in the same series and either within 10 mm along z and 20 mm in-plane between box centres, or
    within 5 mm along z with overlapping crops. A crop is a square about the box, of max(50, 1.5 × the longer side)
    mm. z in mm is slice_index × the spacing's magnitude. Bounds are inclusive.
    """
    codes = np.unique([lesion.series_id for lesion in lesions], return_inverse=True)[1]
    z_mm, y_mm, x_mm, half_mm = np.array([_place_mm(lesion) for lesion in lesions], dtype=np.float64).T
    result = np.eye(len(lesions), dtype=bool)
    for code in range(int(codes.max(initial=-1)) + 1):
        group = np.flatnonzero(codes == code)
        z, y, x = (np.abs(np.subtract.outer(axis[group], axis[group])) for axis in (z_mm, y_mm, x_mm))
        reach = np.add.outer(half_mm[group], half_mm[group])
        near = (z <= NEAR_Z_MM) & (np.hypot(y, x) <= NEAR_IN_PLANE_MM)
        overlap = (z <= OVERLAP_Z_MM) & (y < reach) & (x < reach)
        result[np.ix_(group, group)] |= near | overlap
    return result


def _place_mm(lesion: Lesion) -> tuple[float, float, float, float]:
    """Return the box's centre (z, y, x) and half the side of its crop, in mm."""
    step_z, step_y, step_x = (abs(step) for step in lesion.spacing_mm)
    x, y = lesion.box.center
    width, height = lesion.box.size
    side = max(CROP_MM, CROP_MARGIN * max(width * step_x, height * step_y))
    return lesion.slice_index * step_z, y * step_y, x * step_x, side / 2


def _score_scope(
    index: Index,
    lesions: Sequence[Lesion],
    duplicates: npt.NDArray[np.bool_],
    scope: SearchScope,
    ks: tuple[int, ...],
) -> ScopeScore:
    types = np.array([lesion.type for lesion in lesions], dtype=object)
    names = [*(f"P@{k}" for k in ks), f"AP_min@{AP_RANKS}"]
    found: list[list[tuple[float, float, float]]] = []
    found_types: list[str] = []
    skipped_types: list[str] = []
    for row, lesion in enumerate(lesions):
        if lesion.type == UNLABELLED:
            continue
        gallery = index.candidates(scope, query_id=lesion.lesion_id)
        gallery = gallery[~duplicates[row, gallery]]
        if row in gallery:
            raise SearchError(f"The lesion {lesion.lesion_id!r} is in its own gallery; the scores would be wrong.")
        relevant = int(np.sum(types[gallery] == lesion.type))
        if not relevant:
            skipped_types.append(lesion.type)
            continue
        ranked = types[rank(index.vectors, row, gallery, max(*ks, AP_RANKS))] == lesion.type
        found.append(_query_scores(ranked, len(gallery), relevant, ks))
        found_types.append(lesion.type)
    table = np.array(found, dtype=np.float64).reshape(-1, len(names), 3)
    of_type = np.array(found_types, dtype=object)
    per_type = {
        kind: _mean_score(table[of_type == kind], names, skipped_types.count(kind)) for kind in sorted(set(found_types))
    }
    return replace(_mean_score(table, names, len(skipped_types)), per_type=per_type)


def rank(vectors: npt.NDArray[np.float32], query: int, gallery: npt.NDArray[np.intp], k: int) -> npt.NDArray[np.intp]:
    """Return the k rows of the gallery most similar to row `query`, best first, ties in the order of rows.

    vectors: (n, d) float32 of unit norm. Scores that a float32 cannot tell apart are ties.
    """
    scores = exact_cosines(vectors[gallery], vectors[query].astype(np.float64)).astype(np.float32)
    return gallery[np.argsort(-scores, kind="stable")[:k]]


def _query_scores(
    ranked: npt.NDArray[np.bool_], candidates: int, relevant: int, ks: tuple[int, ...]
) -> list[tuple[float, float, float]]:
    """Return (value, chance, ceiling) of each measure for one query."""
    scores = [
        (
            precision_at(ranked, k),
            precision_chance(candidates, relevant, k),
            precision_ceiling(candidates, relevant, k),
        )
        for k in ks
    ]
    chance = ap_min_chance(candidates, relevant, AP_RANKS)
    ceiling = ap_min_ceiling(candidates, relevant, AP_RANKS)
    return [*scores, (ap_min(ranked[:AP_RANKS], AP_RANKS, relevant), chance, ceiling)]


def _mean_score(table: npt.NDArray[np.float64], names: Sequence[str], skipped: int) -> ScopeScore:
    """Average (queries, names, 3) over the queries."""
    means = table.mean(axis=0) if len(table) else np.full(table.shape[1:], np.nan)
    value, chance, ceiling = (dict(zip(names, map(float, column), strict=True)) for column in means.T)
    return ScopeScore(value, chance, ceiling, queries=len(table), skipped=skipped)
