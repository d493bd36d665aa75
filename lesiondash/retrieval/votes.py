"""What the neighbours' types are worth: their vote, and how often votes like it were right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesiondash.records import UNLABELLED, Lesion
from lesiondash.retrieval.index import Index


@dataclass(frozen=True)
class Vote:
    """The commonest type among neighbours, how many of how many have it, and how often as many were right.

    right is None where nobody could say, from fewer than `LEAST` such votes.
    """

    type: str
    count: int
    of: int
    right: float | None


LEAST = 8


@dataclass(frozen=True, eq=False)
class VoteRecord:
    """How often the vote of k neighbours was right, by how many agreed: (k + 1,) cases and right ones."""

    k: int
    cases: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]

    @classmethod
    def of(cls, index: Index, lesions: Sequence[Lesion], k: int) -> VoteRecord:
        """Let every labelled lesion outside of the test split be voted on by its k nearest of other patients."""
        rows = [row for row, item in enumerate(lesions) if item.type != UNLABELLED and item.split != "test"]
        cases, right = np.zeros(k + 1, np.int64), np.zeros(k + 1, np.int64)
        if rows:
            patients = np.unique([lesion.patient_id for lesion in lesions], return_inverse=True)[1]
            allowed = patients[rows][:, None] != patients[None, :]
            nearest, _ = index.search_many(index.vectors[rows], min(k, len(index)), allowed)
            for row, found in zip(rows, nearest, strict=True):
                told = _most([lesions[other].type for other in found if other >= 0])
                if told is not None:
                    cases[told[1]] += 1
                    right[told[1]] += told[0] == lesions[row].type
        return cls(k, cases, right)

    def vote(self, types: Sequence[str]) -> Vote | None:
        """Return the vote of neighbours with these types, best first; None where none has a type."""
        told = _most(types)
        if told is None:
            return None
        kind, count = told
        cases = int(self.cases[count]) if count <= self.k else 0
        share = float(self.right[count]) / cases if cases >= LEAST else None
        return Vote(kind, count, len(types), share)


def _most(types: Sequence[str]) -> tuple[str, int] | None:
    """Return the commonest type and its number; of equal ones that of the nearest lesion."""
    counts = Counter(kind for kind in types if kind != UNLABELLED)
    if not counts:
        return None
    most = max(counts.values())
    return next((kind, most) for kind in types if counts.get(kind) == most)
