"""The decoded slices of one group in one array that grows, and is put in order in place: never twice in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_GROWTH = 16


class Stack:
    """Slices (y, x) of one size, int16 until one is float32, in the order in which they came."""

    def __init__(self) -> None:
        self.count = 0
        self._values: npt.NDArray[Any] = np.empty((0, 0, 0), np.int16)

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        return np.asarray(self._values[row])

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add a slice; the array is widened to float32 where the slice asks for it."""
        if self.count == 0:
            self._values = np.empty((1, *values.shape), values.dtype)
        if values.dtype == np.float32 and self._values.dtype != np.float32:
            self._values = self._values.astype(np.float32)
        if self.count == len(self._values):
            # the operating system moves the pages, it does not copy them
            rows = self.count + max(1, min(self.count // _GROWTH, _GROWTH))
            self._values.resize((rows, *self._values.shape[1:]), refcheck=False)
        self._values[self.count] = values
        self.count += 1

    def take(self, order: list[int]) -> npt.NDArray[Any]:
        """Return (len(order), y, x): the slices of these numbers in this order. The stack is empty afterwards."""
        rest = sorted(set(range(self.count)) - set(order))
        _permute(self._values, [*order, *rest])
        values, self._values = self._values, np.empty((0, 0, 0), np.int16)
        self.count = 0
        values.resize((len(order), *values.shape[1:]), refcheck=False)
        return values


def _permute(values: npt.NDArray[Any], order: list[int]) -> None:
    """Put slice `order[i]` at place i, for each i, with one slice of further memory: cycle after cycle."""
    done = [False] * len(order)
    for start in range(len(order)):
        if done[start] or order[start] == start:
            continue
        first, place = values[start].copy(), start
        while order[place] != start:
            values[place] = values[order[place]]
            done[place] = True
            place = order[place]
        values[place] = first
        done[place] = True
