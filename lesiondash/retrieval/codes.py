"""Vectors in 8 bits, with how far off each can be: a quick first pass that cannot lose a neighbour."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.retrieval.compiled import kernels

LEVELS = 127
QUERY_LEVELS = 2047
BLOCK = 8192
ROUNDING = 1e-5
"""Allowance for roundings to float32, 168 of a 1. A bound takes 4 of a product, which is at most 8 (codes and digits
are rounded to at most twice what they stand for), 5 of a slack and 1 of their sum, both at most 14: 116 are enough."""
ROWS_A_THREAD = 100_000
SORTED_BEST = 256
"""Up to so many best scores are kept in order on the way; above, sorting apart is quicker."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Unit vectors as 8-bit codes about their mean: x ≈ mean + scale · code, with |remainder| ≤ error.

    mean: (d,) float32; codes: (n, d) int8; scales, errors: (n,) float32. The mean is the same for every row and
    takes no part in a ranking; without it the remainders are smaller. Raises nothing: any finite vectors do.
    """

    mean: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    errors: npt.NDArray[np.float32]

    @classmethod
    def of(cls, vectors: npt.NDArray[np.float32], mean: npt.NDArray[np.float32] | None = None) -> Codes:
        """Encode vectors (n, d), about a mean that is given or their own."""
        count, size = vectors.shape
        if mean is None:
            mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32) if count else np.zeros(size, np.float32)
        codes = np.empty((count, size), np.int8)
        scales, errors = np.empty(count, np.float32), np.empty(count, np.float32)
        for start in range(0, count, BLOCK):
            part = slice(start, start + BLOCK)
            centred = vectors[part].astype(np.float64) - mean
            scale = np.maximum(np.abs(centred).max(axis=1) / LEVELS, np.finfo(np.float32).tiny).astype(np.float32)
            codes[part] = np.rint(centred / scale[:, None])
            remainder = centred - codes[part] * scale[:, None].astype(np.float64)
            scales[part] = scale
            errors[part] = np.linalg.norm(remainder, axis=1) * (1 + ROUNDING)
        return cls(mean, codes, scales, errors)

    def followed_by(self, vectors: npt.NDArray[np.float32]) -> Codes:
        """Return these codes and those of further vectors, about the same mean."""
        return self._joined(Codes.of(vectors, self.mean))

    def taken(self, rows: npt.NDArray[np.intp]) -> Codes:
        """Return the codes of some rows."""
        return Codes(self.mean, self.codes[rows], self.scales[rows], self.errors[rows])

    def _joined(self, other: Codes) -> Codes:
        return Codes(
            self.mean,
            np.concatenate([self.codes, other.codes]),
            np.concatenate([self.scales, other.scales]),
            np.concatenate([self.errors, other.errors]),
        )

    def possible(self, query: npt.NDArray[np.float64], rows: npt.NDArray[np.intp], k: int) -> npt.NDArray[np.intp]:
        """Return those of the rows, in their order, that can be among the k most similar to a unit query.

        A row can, where its largest possible score is not below the k-th best of the smallest possible ones. Of the
        score of x with a query q = digits · step + rest the codes leave out at most error · |q| and |rest| times the
        code's own norm, |x − mean| + error. All of them can, where the compiled kernels cannot be loaded.
        """
        loaded = kernels() if len(rows) > k else None
        if loaded is None:
            return rows
        digits, step, rest = self._digits(query)
        radius = 2.0  # no unit vector is farther from the mean of such
        slacks = self.errors * np.float32(1 + rest) + np.float32(rest * radius + ROUNDING)
        gains = self.scales * np.float32(step)
        lower, upper = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
        _in_parts(loaded.score_bounds, self.codes, rows, digits, gains, slacks, lower, upper)
        return np.asarray(rows[upper >= kth_largest(lower, k)])

    def _digits(self, query: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int16], float, float]:
        """Return the query as whole numbers that no sum of products leaves int32 with, their unit, and what is left."""
        most = min(QUERY_LEVELS, (2**31 - 1) // (LEVELS * len(query)))
        step = float(np.abs(query).max()) / most
        digits = np.rint(query / step).astype(np.int16)
        return digits, step, float(np.linalg.norm(query - digits * step))


def kth_largest(values: npt.NDArray[np.float32], k: int) -> np.float32:
    """Return the k-th largest of (n,) values, n ≥ k."""
    if k > SORTED_BEST:
        return np.float32(np.partition(values, -k)[-k])
    return np.float32(best_scores(values[None], k, compiled=True)[0][0, -1])  # who asks has loaded the compiler


def best_scores(
    scores: npt.NDArray[np.float32], k: int, *, compiled: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the k largest of each line of (m, n), falling, and their columns; the first of equal ones. k ≤ n."""
    loaded = kernels() if compiled and k <= SORTED_BEST else None
    if loaded is None:
        places = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(scores, places, axis=1)
        order = np.lexsort((places, -values), axis=1)
        return np.take_along_axis(values, order, axis=1), np.take_along_axis(places, order, axis=1)
    values, places = np.empty((len(scores), k), np.float32), np.empty((len(scores), k), np.int64)
    loaded.best_of(scores, values, places)
    return values, places


def _in_parts(
    kernel: Any, codes: Any, rows: npt.NDArray[np.intp], digits: Any, gains: Any, slacks: Any, lower: Any, upper: Any
) -> None:
    """Fill the bounds, large sets by several threads: the kernel does not hold the interpreter."""
    threads = max(1, min(os.cpu_count() or 1, len(rows) // ROWS_A_THREAD))
    edges = np.linspace(0, len(rows), threads + 1).astype(int)
    parts = [slice(a, b) for a, b in pairwise(edges)]

    def fill(part: slice) -> None:
        kernel(codes, rows[part], digits, gains, slacks, lower[part], upper[part])

    if threads == 1:
        fill(parts[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, parts))
