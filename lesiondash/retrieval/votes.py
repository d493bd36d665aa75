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

    right is None where nobody could say: without a record, or from fewer than `LEAST` such votes.
    """

    type: str
    count: int
    of: int
    right: float | None


LEAST = 8


@dataclass(frozen=True, eq=False)
class VoteRecord:
    """How often the vote of the k nearest of other patients was right, by how many agreed: (k + 1,) cases, right ones.

    It says nothing of lesions that were chosen or ranked in another way.
    """

    k: int
    cases: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]

    @classmethod
    def of(cls, index: Index, lesions: Sequence[Lesion], ks: Sequence[int]) -> dict[int, VoteRecord]:
        """Let every labelled lesion outside of the test split be voted on by its nearest; a record for each k."""
        records = {k: cls(k, np.zeros(k + 1, np.int64), np.zeros(k + 1, np.int64)) for k in ks}
        rows = [row for row, item in enumerate(lesions) if item.may_teach]
        if rows:
            patients = np.unique([lesion.patient_id for lesion in lesions], return_inverse=True)[1]
            allowed = patients[rows][:, None] != patients[None, :]
            nearest, _ = index.search_many(index.vectors[rows], min(max(ks), len(index)), allowed)
            for row, found in zip(rows, nearest, strict=True):
                types = [lesions[other].type for other in found if other >= 0]
                for k, record in records.items():
                    told = _most(types[:k])
                    if told is not None:
                        record.cases[told[1]] += 1
                        record.right[told[1]] += told[0] == lesions[row].type
        return records


def vote(types: Sequence[str], record: VoteRecord | None = None) -> Vote | None:
    """Return the vote of neighbours with these types, best first; None where none has a type."""
    told = _most(types)
    if told is None:
        return None
    kind, count = told
    cases = int(record.cases[count]) if record is not None and count <= record.k else 0
    share = float(record.right[count]) / cases if record is not None and cases >= LEAST else None
    return Vote(kind, count, len(types), share)


def _most(types: Sequence[str]) -> tuple[str, int] | None:
    """Return the commonest type and its number; of equal ones that of the nearest lesion."""
    counts = Counter(kind for kind in types if kind != UNLABELLED)
    if not counts:
        return None
    most = max(counts.values())
    return next((kind, most) for kind in types if counts.get(kind) == most)
