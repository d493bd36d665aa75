"""The passes over a whole index, compiled by numba: integer products of 8-bit codes, and the best of many scores.

The product of int8 with int16, summed in int32, becomes the processor's own multiply-and-add of 32 pairs; a pass is
then as fast as memory is read, and reads a quarter of what float32 vectors take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
f4, i4 = np.float32, np.int32


def _kernel(function: F) -> F:
    compiled: Any = njit(nogil=True, error_model="numpy", cache=True)(function)
    return cast(F, compiled)


@_kernel
def score_bounds(codes: Any, rows: Any, query: Any, gains: Any, slacks: Any, lower: Any, upper: Any) -> None:
    """Write bounds of the score of each row of `rows`: gain · Σ code · query ∓ slack.

    codes: (n, d) int8; query: (d,) int16, so small that no sum leaves int32; gains, slacks: (n,) float32.
    """
    size = codes.shape[1]
    for i in range(rows.size):
        row = rows[i]
        total = i4(0)
        for j in range(size):
            total += i4(codes[row, j]) * i4(query[j])
        middle = f4(i4(total)) * gains[row]  # said to be int32, the sum is made in int32: a third of the time
        lower[i] = middle - slacks[row]
        upper[i] = middle + slacks[row]


@_kernel
def best_of(scores: Any, values: Any, places: Any) -> None:
    """Write the largest scores of each line, falling, and where they are: (m, n) to (m, k); the first of equal ones."""
    last = values.shape[1] - 1
    for line in range(scores.shape[0]):
        values[line, :] = -np.inf
        places[line, :] = -1
        for i in range(scores.shape[1]):
            score = scores[line, i]
            if score > values[line, last]:
                j = last
                while j > 0 and values[line, j - 1] < score:
                    values[line, j] = values[line, j - 1]
                    places[line, j] = places[line, j - 1]
                    j -= 1
                values[line, j] = score
                places[line, j] = i
