"""Which crops each step sees: a function of the seed and the step alone, so that a resumed training sees the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lesiondash.errors import TrainingError

ORDER, CHOICE, BACKGROUND = range(3)
"""What random numbers are drawn for, beside seed and step."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of the crops of one step. first, second: (b,) two crops of each lesion; background: (m,) patches."""

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    background: npt.NDArray[np.int64]


class Batches:
    """Batches of lesions, without repeating one before all have been seen; the last few of a round are left out.

    lesions: (n,) the lesion of each crop; size: lesions a batch, as many as there are at most; background: patches a
    batch, out of `patches`. What there are too few of is rounded down to the same number for each of `processes`;
    raises `TrainingError` where that is none.
    """

    def __init__(
        self,
        lesions: npt.NDArray[np.int64],
        size: int,
        seed: int,
        *,
        background: int = 0,
        patches: int = 0,
        processes: int = 1,
    ) -> None:
        order = np.argsort(lesions, kind="stable")
        starts = np.flatnonzero(np.diff(lesions[order], prepend=-1))
        self._rows, self._starts = order, starts
        self._counts = np.diff(starts, append=len(order))
        self.size = _shared(min(size, len(starts)), processes, "lesions")
        self.steps_an_epoch = len(starts) // self.size
        self.background = _shared(min(background, patches), processes, "patches without a lesion")
        self._seed, self._patches = seed, patches
        self._order = lru_cache(1)(self._shuffled)

    def at(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_an_epoch)
        chosen = self._order(epoch)[place * self.size : (place + 1) * self.size]
        random = np.random.default_rng([self._seed, CHOICE, step])
        counts = self._counts[chosen]
        first = random.integers(counts)
        # Any of the others; of a lesion with one crop, that one twice.
        second = (first + 1 + random.integers(np.maximum(counts - 1, 1))) % counts
        rows = [self._rows[self._starts[chosen] + each] for each in (first, second)]
        random = np.random.default_rng([self._seed, BACKGROUND, step])
        return Batch(rows[0], rows[1], random.integers(max(1, self._patches), size=self.background))

    def candidates(self, patients: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return how many vectors of a batch SimCLR parts a view of each lesion from, on average over the batches.

        patients: (n,) of the crops. Both views of lesions of other patients, and the patches.
        """
        whose = patients[self._rows[self._starts]]
        others = len(whose) - np.bincount(whose)[whose]
        return 2.0 * (self.size - 1) * others / max(1, len(whose) - 1) + self.background

    def _shuffled(self, epoch: int) -> npt.NDArray[np.intp]:
        return np.random.default_rng([self._seed, ORDER, epoch]).permutation(len(self._starts))


def _shared(count: int, processes: int, what: str) -> int:
    """Round down to the same number for each process."""
    if 0 < count < processes:
        raise TrainingError(f"{processes} processes cannot share {count} {what}; start fewer of them.")
    return count // processes * processes
