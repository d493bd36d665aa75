"""What must hold before a score is believed; run with every evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.records import UNLABELLED, Lesion
from lesiondash.retrieval.protocol import ScopeScore, evaluate
from lesiondash.retrieval.scopes import check_apart, near_duplicates

SHUFFLES = 12
MOST_SHUFFLED = 1000
"""Lesions: of a larger split, some patients' are shuffled."""
SIGMAS = 5.5
"""By chance alone, of 12 shuffles, the guard fails once in some 5,000 times (Student's t)."""
EXACT = 1e-9
MEASURE = "P@1"


@dataclass(frozen=True)
class Guard:
    """One thing that has to hold, whether it did, and what was found."""

    name: str
    passed: bool
    found: str


def guards(
    vectors: npt.ArrayLike,
    lesions: Sequence[Lesion],
    scores: Mapping[str, ScopeScore],
    others: Sequence[Lesion] = (),
) -> list[Guard]:
    """Check an evaluation of vectors (n, d) of one split's lesions; others: the lesions of the other splits.

    scores: what `evaluate` found. No patient in two splits; no query and no near duplicate among what was found;
    shuffled types score chance; the order of the lesions changes no score.
    """
    return [
        _patients_apart(lesions, others),
        _nothing_found_that_is_left_out(lesions, scores),
        _shuffled_types_score_chance(vectors, lesions),
        _order_changes_nothing(vectors, lesions),
    ]


def _patients_apart(lesions: Sequence[Lesion], others: Sequence[Lesion]) -> Guard:
    name = "no patient in two splits"
    try:
        check_apart(lesions, others)
    except SearchError as error:
        return Guard(name, False, str(error))
    patients, elsewhere = (len({lesion.patient_id for lesion in part}) for part in (lesions, others))
    return Guard(name, True, f"{patients:,} patients here, {elsewhere:,} elsewhere")


def _nothing_found_that_is_left_out(lesions: Sequence[Lesion], scores: Mapping[str, ScopeScore]) -> Guard:
    """Look at what was found first: the released code's scopes find the query itself, as is said of them."""
    apart, found, looked = ~near_duplicates(lesions), 0, 0
    for scope, score in scores.items():
        if not scope.startswith("released-code"):
            there = score.nearest >= 0
            found += int((there & ~apart[score.rows[:, None], score.nearest]).sum())
            looked += int(there.sum())
    name = "no query finds itself or a near duplicate"
    return Guard(name, found == 0, f"{found:,} of {looked:,} found first")


def _shuffled_types_score_chance(vectors: npt.ArrayLike, lesions: Sequence[Lesion]) -> Guard:
    """Deal the types out anew: the mean of the deals is chance, whatever the vectors, within the deals' own spread.

    Queries are no measure of the spread: where many find the same lesion first, they are right or wrong together.
    """
    random, table = np.random.default_rng(0), np.asarray(vectors)
    rows = _some_patients(lesions, random)
    some = [lesions[row] for row in rows]
    labelled = [row for row, lesion in enumerate(some) if lesion.type != UNLABELLED]
    gaps = []
    for _ in range(SHUFFLES):
        dealt, types = list(some), random.permutation([some[row].type for row in labelled])
        for row, kind in zip(labelled, types, strict=True):
            dealt[row] = replace(some[row], type=str(kind))
        score = evaluate(table[rows], dealt, scopes=("cross",))["cross"]
        if score.queries:
            gaps.append(score.scores[MEASURE] - score.chance[MEASURE])
    name = "shuffled types score chance"
    if len(gaps) < SHUFFLES:
        return Guard(name, True, "nothing to shuffle: no lesion has one of its type in another patient")
    mean, error = float(np.mean(gaps)), float(np.std(gaps, ddof=1) / np.sqrt(len(gaps)))
    return Guard(name, abs(mean) <= SIGMAS * error + EXACT, f"{MEASURE} {mean:+.4f} of chance ± {error:.4f}")


def _some_patients(lesions: Sequence[Lesion], random: np.random.Generator) -> list[int]:
    """Return the rows of all lesions, or of as many patients as make a number that is shuffled in seconds."""
    patients = [lesion.patient_id for lesion in lesions]
    names, sizes = np.unique(patients, return_counts=True)
    order = random.permutation(len(names))
    chosen = set(names[order[np.cumsum(sizes[order]) <= max(MOST_SHUFFLED, sizes.max(initial=0))]])
    return [row for row, name in enumerate(patients) if name in chosen]


def _order_changes_nothing(vectors: npt.ArrayLike, lesions: Sequence[Lesion]) -> Guard:
    order = np.random.default_rng(1).permutation(len(lesions))
    first = evaluate(vectors, lesions, scopes=("cross",))["cross"].scores
    second = evaluate(np.asarray(vectors)[order], [lesions[row] for row in order], scopes=("cross",))["cross"].scores
    largest = max((abs(first[name] - second[name]) for name in first), default=0.0)
    passed = bool(largest < 1e-9 or np.isnan(largest))
    return Guard("the order of the lesions changes nothing", passed, f"largest difference {largest:.1g}")
