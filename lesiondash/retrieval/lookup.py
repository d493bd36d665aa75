"""Many names looked up at once: a hash table of their bytes, in which each name costs one place in memory."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import ModuleType

import numpy as np
import numpy.typing as npt

from lesiondash.retrieval.compiled import kernels

LONGEST_BYTES = 64
"""A longer name would make every place of the table as long; then there is no table."""
NAMES_A_THREAD = 50_000
END = "\0"


class Lookup:
    """The numbers of known names: those of `values`, which differ from each other, by their place.

    Made for whole lists: a dictionary follows a pointer to each name and to each that it compares it with.
    """

    def __init__(self, text: npt.NDArray[np.uint8], count: int, words: int, loaded: ModuleType) -> None:
        self._words, self._kernels = words, loaded
        # First the number plus one, 0 where the place is free; then the name. At most half of the places are taken.
        self._places = np.zeros((1 << max(4, (2 * count - 1).bit_length()), 1 + words), np.uint64)
        loaded.fill_places(self._packed(text, count), self._places)

    @classmethod
    def of(cls, values: Sequence[str]) -> Lookup | None:
        """Return the lookup of some names.

        None where one of them is too long, or holds what cannot be packed, and where the kernels cannot be loaded.
        """
        loaded, text = kernels(), _joined(values)
        if loaded is None or text is None:
            return None
        ends = np.flatnonzero(text == 0)
        longest = int(np.diff(ends, prepend=-1).max(initial=1)) - 1  # in bytes
        if longest > LONGEST_BYTES:
            return None
        return cls(text, len(values), max(1, -(-longest // 8)), loaded)

    def find(self, wanted: Collection[str]) -> npt.NDArray[np.int64] | None:
        """Return the number of each name, −1 for an unknown one, in their order; None for what are no such names."""
        if isinstance(wanted, np.ndarray) and wanted.dtype.kind == "U":
            packed = _packed_array(wanted, self._words)
        else:
            text = _joined(wanted)
            packed = None if text is None else self._packed(text, len(wanted))
        if packed is None:
            return None
        found, find_places = np.empty(len(wanted), np.int64), self._kernels.find_places
        threads = max(1, min(os.cpu_count() or 1, len(wanted) // NAMES_A_THREAD))
        parts = [slice(a, b) for a, b in pairwise(np.linspace(0, len(wanted), threads + 1).astype(int))]
        if threads == 1:
            find_places(packed, self._places, found)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda part: find_places(packed[part], self._places, found[part]), parts))
        return found

    def _packed(self, text: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint64]:
        """Return names as (n, words) numbers, what is left over zero; one too long ends in ones, which no text does."""
        packed = np.zeros((count, self._words), np.uint64)
        self._kernels.pack_names(text, packed)
        return packed


def _joined(names: Collection[str]) -> npt.NDArray[np.uint8] | None:
    """Return the names' bytes, a zero after each; None where one is no text, or holds a zero itself."""
    try:
        text = END.join(names) + END if len(names) else ""
        return np.frombuffer(text.encode(), np.uint8) if text.count(END) == len(names) else None
    except (TypeError, UnicodeEncodeError):
        return None


def _packed_array(names: npt.NDArray[np.str_], words: int) -> npt.NDArray[np.uint64] | None:
    """Return what `Lookup` packs of an array of texts, without taking it apart; None where they are more than ASCII."""
    letters = np.ascontiguousarray(names).view(np.uint32).reshape(len(names), -1)
    if not letters.size or letters.max() > 127:
        return None
    width = min(letters.shape[1], 8 * words)
    packed = np.zeros((len(names), words), np.uint64)
    packed.view(np.uint8)[:, :width] = letters[:, :width]
    packed[letters[:, width:].any(axis=1), -1] = np.iinfo(np.uint64).max
    return packed
