"""More like this, less like that: the query moves towards what is wanted and away from what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError

KEEP, LIKED, DISLIKED = 1.0, 0.75, 0.25
"""Weights of the query, of the wanted and of the unwanted vectors; Manning et al. 2008, section 9.1.1, has them."""


def refine(query: npt.ArrayLike, liked: npt.ArrayLike, disliked: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return Rocchio's query: query + 0.75 · mean of the liked − 0.25 · mean of the disliked, of unit norm.

    query: (d,); liked, disliked: (n, d), n may be 0; all of unit norm. Where what is left has no length the query comes
    back as it was. Raises `SearchError` for another number of components. Source: Rocchio 1971.
    """
    moved = KEEP * np.asarray(query, np.float64)
    for weight, vectors in ((LIKED, liked), (-DISLIKED, disliked)):
        table = np.asarray(vectors, np.float64)
        if not table.size:
            continue
        if table.ndim != 2 or table.shape[1] != len(moved):
            raise SearchError(f"Vectors {table.shape} do not go with a query of {len(moved)} numbers.")
        moved = moved + weight * table.mean(axis=0)
    norm = float(np.linalg.norm(moved))
    return moved / norm if norm > 1e-9 else np.asarray(query, np.float64)


@dataclass(frozen=True)
class Feedback:
    """Which lesions a person wants more and less of; every change is a new one, so that it can be taken back."""

    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()
    before: Feedback | None = None

    def more(self, lesion_id: str) -> Feedback:
        """Like a lesion; a second time takes that back."""
        return self._with(self._toggled(self.liked, lesion_id), _without(self.disliked, lesion_id))

    def less(self, lesion_id: str) -> Feedback:
        """Dislike a lesion; a second time takes that back."""
        return self._with(_without(self.liked, lesion_id), self._toggled(self.disliked, lesion_id))

    def undo(self) -> Feedback:
        """Return what was before the last change; the same where nothing was."""
        return self if self.before is None else self.before

    def __bool__(self) -> bool:
        """Whether anything is liked or disliked."""
        return bool(self.liked or self.disliked)

    def _with(self, liked: tuple[str, ...], disliked: tuple[str, ...]) -> Feedback:
        return replace(self, liked=liked, disliked=disliked, before=self)

    @staticmethod
    def _toggled(ids: tuple[str, ...], lesion_id: str) -> tuple[str, ...]:
        return _without(ids, lesion_id) if lesion_id in ids else (*ids, lesion_id)


def moved(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """Return how many of a list are new in another, and how many stayed but at another rank."""
    old = {lesion_id: rank for rank, lesion_id in enumerate(before)}
    new = sum(lesion_id not in old for lesion_id in after)
    shifted = sum(lesion_id in old and old[lesion_id] != rank for rank, lesion_id in enumerate(after))
    return new, shifted


def _without(ids: tuple[str, ...], lesion_id: str) -> tuple[str, ...]:
    return tuple(each for each in ids if each != lesion_id)
