"""What must hold before a score is believed; run with every evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.records import UNLABELLED, Lesion
from lesiondash.retrieval.protocol import evaluate
from lesiondash.retrieval.scopes import Galleries, check_apart

SHUFFLES = 5
SIGMAS = 4.0
MEASURE = "P@1"


@dataclass(frozen=True)
class Guard:
    """One thing that has to hold, whether it did, and what was found."""

    name: str
    passed: bool
    found: str


def guards(vectors: npt.ArrayLike, lesions: Sequence[Lesion], others: Sequence[Lesion] = ()) -> list[Guard]:
    """Check an evaluation of vectors (n, d) of one split's lesions; others: the lesions of the other splits.

    No patient in two splits; no query in its own gallery; shuffled types score chance; the order of the lesions changes
    no score.
    """
    return [
        _patients_apart(lesions, others),
        _no_query_in_its_gallery(lesions),
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


def _no_query_in_its_gallery(lesions: Sequence[Lesion]) -> Guard:
    galleries, inside = Galleries(lesions), 0
    for scope in ("all", "same", "cross", "same-strict", "track"):
        inside += int(np.trace(galleries.allowed(scope)))
    return Guard("no query in its own gallery", inside == 0, f"{inside} found there")


def _shuffled_types_score_chance(vectors: npt.ArrayLike, lesions: Sequence[Lesion]) -> Guard:
    random, gaps = np.random.default_rng(0), []
    labelled = [row for row, lesion in enumerate(lesions) if lesion.type != UNLABELLED]
    for _ in range(SHUFFLES):
        dealt, types = list(lesions), random.permutation([lesions[row].type for row in labelled])
        for row, kind in zip(labelled, types, strict=True):
            dealt[row] = replace(lesions[row], type=str(kind))
        score = evaluate(vectors, dealt, scopes=("cross",))["cross"]
        place = score.measures.index(MEASURE)
        gaps.append(score.values[:, place] - score.chances[:, place])
    gap = np.concatenate(gaps)
    error = float(gap.std() / np.sqrt(max(1, len(gap))))
    mean = float(gap.mean()) if len(gap) else 0.0
    return Guard(
        "shuffled types score chance", abs(mean) <= SIGMAS * error, f"{MEASURE} {mean:+.4f} of chance ± {error:.4f}"
    )


def _order_changes_nothing(vectors: npt.ArrayLike, lesions: Sequence[Lesion]) -> Guard:
    order = np.random.default_rng(1).permutation(len(lesions))
    first = evaluate(vectors, lesions, scopes=("cross",))["cross"].scores
    second = evaluate(np.asarray(vectors)[order], [lesions[row] for row in order], scopes=("cross",))["cross"].scores
    largest = max((abs(first[name] - second[name]) for name in first), default=0.0)
    passed = bool(largest < 1e-9 or np.isnan(largest))
    return Guard("the order of the lesions changes nothing", passed, f"largest difference {largest:.1g}")
