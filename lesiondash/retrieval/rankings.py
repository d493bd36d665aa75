"""The same search ranked in other ways than by plain cosine, to compare; `rerank` has each as it is measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.records import Hit, SearchScope
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.rerank import Whitening, k_reciprocal
from lesiondash.retrieval.table import Rows

Floats = npt.NDArray[np.float64]
COSINE = "cosine"
EXPANDED_BY, EXPANSION_POWER = 5, 3.0
SHORT_LIST = 100
"""k-reciprocal looks at this many nearest by cosine; it moves lesions within them."""
HUB_NEIGHBOURS = 10
SHRINKAGE = 0.5
BLOCK = 1024


class Rankings:
    """Searches of one index ranked in a way chosen by name; what a way needs of the whole gallery is made once.

    Parameters are those measured in `benchmarks/rerank.py`. None of the ways is better than the cosine among the
    first ten there, so the cosine is what a search is ranked by unless a person asks for another.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self._made_of = index.vectors
        self._ways: dict[str, Callable[[Floats, Rows], Floats]] = {
            "query expansion": self._expanded,
            "k-reciprocal": self._reciprocal,
            "hubness corrected": self._less_hubs,
            "whitened": self._whitened,
        }

    @property
    def ways(self) -> tuple[str, ...]:
        """The names of the ways, the plain cosine first."""
        return (COSINE, *self._ways)

    def search(self, way: str, vector: npt.ArrayLike, k: int, scope: SearchScope = "all", **among: Any) -> list[Hit]:
        """Return the k best of a scope in one way, each with its plain cosine; arguments and errors as `Index.search`.

        Raises `SearchError` for a way that is not there too.
        """
        if way == COSINE:
            return self.index.search(vector, k, scope, **among)
        if way not in self._ways:
            raise SearchError(f"There is no ranking {way!r}; choose one of {', '.join(self.ways)}.")
        if self._made_of is not self.index.vectors:  # lesions came or went
            self._made_of = self.index.vectors
            for made in ("_crowding", "_whitening"):
                self.__dict__.pop(made, None)
        rows = self.index.candidates(scope, **among)
        if not len(rows):
            return self.index.search(vector, k, scope, **among)  # says what is wrong
        query = np.asarray(vector, np.float64)
        query = query / np.linalg.norm(query)
        order = np.argsort(-self._ways[way](query, rows), kind="stable")[:k]
        return self.index.hits(rows[order], query)

    def _cosines(self, query: Floats, rows: Rows) -> Floats:
        return np.asarray(self.index.vectors[rows] @ query.astype(np.float32), np.float64)

    def _expanded(self, query: Floats, rows: Rows) -> Floats:
        scores = self._cosines(query, rows)
        nearest = np.argsort(-scores, kind="stable")[:EXPANDED_BY]
        weights = np.clip(scores[nearest], 0.0, None) ** EXPANSION_POWER
        return self._cosines(query + weights @ self.index.vectors[rows[nearest]], rows)

    def _reciprocal(self, query: Floats, rows: Rows) -> Floats:
        scores = self._cosines(query, rows)
        near = np.argsort(-scores, kind="stable")[:SHORT_LIST]
        again = k_reciprocal(np.vstack([query, self.index.vectors[rows[near]].astype(np.float64)]))[0, 1:]
        found = scores - 10.0  # all that is not on the short list comes after it
        found[near] = again - again.min()
        return found

    def _less_hubs(self, query: Floats, rows: Rows) -> Floats:
        return 2 * self._cosines(query, rows) - self._crowding[rows]

    def _whitened(self, query: Floats, rows: Rows) -> Floats:
        whitening, gallery = self._whitening
        return np.asarray(gallery[rows] @ whitening.apply(query[None])[0])

    @cached_property
    def _crowding(self) -> Floats:
        """The mean cosine of each vector with its nearest others, (n,): large for those that are near to everything."""
        vectors = self.index.vectors
        k = min(HUB_NEIGHBOURS, len(vectors) - 1)
        if k < 1:
            return np.zeros(len(vectors))
        crowding = np.empty(len(vectors))
        for start in range(0, len(vectors), BLOCK):
            scores = vectors[start : start + BLOCK] @ vectors.T
            np.fill_diagonal(scores[:, start:], -np.inf)
            crowding[start : start + BLOCK] = np.partition(scores, -k, axis=1)[:, -k:].mean(axis=1)
        return crowding

    @cached_property
    def _whitening(self) -> tuple[Whitening, Floats]:
        splits = self.index.lesions.get("split", [])
        train = [row for row, split in enumerate(splits) if split == "train"]
        if len(train) < 2:
            raise SearchError("Whitening learns from the training split, and this collection has none; choose another.")
        whitening = Whitening.fit(self.index.vectors[train], SHRINKAGE)
        return whitening, whitening.apply(self.index.vectors)
