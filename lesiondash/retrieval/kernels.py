"""The passes over a whole index, compiled by numba: products of 8-bit codes, the best of many scores, names found.

The product of int8 with int16, summed in int32, becomes the processor's own multiply-and-add of 32 pairs; a pass is
then as fast as memory is read, and reads a quarter of what float32 vectors take. Load it by `compiled.kernels`, which
says where it cannot be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
f4, i4, u8 = np.float32, np.int32, np.uint64
AHEAD = 256
ALL_ONES = np.uint64(2**64 - 1)


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


@_kernel
def pack_names(text: Any, packed: Any) -> None:
    """Copy names, a zero byte after each, to a line each, eight bytes a word: (bytes,) to (n, words) uint64 of zeros.

    A name longer than a line makes its last word all ones, bytes that UTF-8 has not.
    """
    line, word, bits, value = 0, 0, u8(0), u8(0)
    words = packed.shape[1]
    for i in range(text.size):
        if text[i] == 0:
            if word < words:
                packed[line, word] = value
            elif value != 0 or word > words:
                packed[line, words - 1] = ALL_ONES
            line, word, bits, value = line + 1, 0, u8(0), u8(0)
            continue
        value |= u8(text[i]) << bits
        bits += u8(8)
        if bits == 64:
            if word < words:
                packed[line, word] = value
            word, bits, value = word + 1, u8(0), u8(0)


@_kernel
def _place_of(names: Any, line: Any, places: Any) -> Any:
    """Return where the number of the name in a line is looked for first; the places are a power of two."""
    value = u8(0)
    for word in range(names.shape[1]):
        value = (value ^ names[line, word]) * u8(0x9E3779B97F4A7C15)
        value ^= value >> u8(29)
    value *= u8(0xBF58476D1CE4E5B9)
    return (value ^ (value >> u8(32))) & u8(places.shape[0] - 1)


@_kernel
def _is(names: Any, line: Any, places: Any, at: Any) -> bool:
    same = True
    for word in range(names.shape[1]):
        same &= places[at, 1 + word] == names[line, word]
    return same


@_kernel
def fill_places(names: Any, places: Any) -> None:
    """Put names (n, words) into a table (m, 1 + words) of zeros, m > n a power of two, each at the next free place."""
    last = u8(places.shape[0] - 1)
    for line in range(names.shape[0]):
        at = _place_of(names, line, places)
        while places[at, 0] != 0:
            at = (at + u8(1)) & last
        places[at, 0] = line + 1
        places[at, 1:] = names[line]


@_kernel
def find_places(names: Any, places: Any, found: Any) -> None:
    """Write the number of each name (n, words) in a table as `fill_places` makes it, −1 where it is not there."""
    last = u8(places.shape[0] - 1)
    first, numbers = np.empty(AHEAD, np.uint64), np.empty(AHEAD, np.uint64)
    for start in range(0, names.shape[0], AHEAD):
        count = min(AHEAD, names.shape[0] - start)
        # Memory is asked for many names before the first is looked at: it then answers in parallel.
        for i in range(count):
            first[i] = _place_of(names, start + i, places)
        for i in range(count):
            numbers[i] = places[first[i], 0]
        for i in range(count):
            at, number = first[i], numbers[i]
            while number != 0 and not _is(names, start + i, places, at):
                at = (at + u8(1)) & last
                number = places[at, 0]
            found[start + i] = np.int64(number) - 1


def exercise() -> None:
    """Run a kernel once: where one is compiled and kept, or found in numba's cache, the others will be."""
    best_of(np.zeros((1, 1), np.float32), np.empty((1, 1), np.float32), np.empty((1, 1), np.int64))
