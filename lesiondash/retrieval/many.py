"""Many queries at once, exactly: a float32 product of all with all, and float64 where it could matter."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lesiondash.retrieval.vectors import exact_cosines, float32_slack

QUERIES_A_BLOCK = 128
SCORES_A_BLOCK = 8_000_000
Scores = npt.NDArray[np.float32]
SPARE = 4
"""How many more than k the first pass keeps; where float32 cannot tell that they are enough, it keeps more."""


def search_many(
    vectors: npt.NDArray[np.float32],
    id_order: npt.NDArray[np.int64],
    queries: npt.NDArray[np.float64],
    k: int,
    allowed: npt.NDArray[np.bool_] | None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return rows and cosines (q, k), best first, equal ones by id; row −1 and cosine NaN where fewer are allowed.

    vectors: (n, d), queries: (q, d), unit norm; id_order: (n,), the place of each id among all; allowed: (q, n).
    """
    rows = np.full((len(queries), k), -1, np.int64)
    cosines = np.full((len(queries), k), np.nan)
    step = max(1, min(QUERIES_A_BLOCK, SCORES_A_BLOCK // max(1, len(vectors))))
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(queries), step):
            asked = queries[start : start + step]
            # The product by all of the library's threads at once; what follows it, by ours.
            scores = asked.astype(np.float32) @ vectors.T
            edges = pairwise(np.linspace(0, len(asked), threads + 1).astype(int))
            parts = [slice(a, b) for a, b in edges if b > a]

            def answer(part: slice, start: int = start, scores: Scores = scores) -> None:
                place = slice(start + part.start, start + part.stop)
                mask = None if allowed is None else allowed[place]
                rows[place], cosines[place] = _answer(vectors, id_order, queries[place], scores[part], k, mask)

            list(pool.map(answer, parts))
    return rows, cosines


def _answer(
    vectors: npt.NDArray[np.float32],
    id_order: npt.NDArray[np.int64],
    queries: npt.NDArray[np.float64],
    scores: Scores,
    k: int,
    allowed: npt.NDArray[np.bool_] | None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    from lesiondash.retrieval.codes import best_scores

    if allowed is not None:
        scores[~allowed] = -np.inf
    keep = min(len(vectors), k + SPARE)
    while True:
        values, places = best_scores(scores, keep)
        # Enough are kept where none that was left out can be better than the k-th best, or there is none left out.
        enough = values[:, -1] < values[:, k - 1] - 2 * float32_slack(vectors.shape[1])
        if keep == len(vectors) or (enough | ~np.isfinite(values[:, -1])).all():
            break
        keep = min(len(vectors), 4 * keep)
    exact = exact_cosines(vectors[places], queries)
    exact[~np.isfinite(values)] = -np.inf
    order = np.lexsort((id_order[places], -exact), axis=1)[:, :k]
    best, at = np.take_along_axis(exact, order, axis=1), np.take_along_axis(places, order, axis=1)
    missing = ~np.isfinite(best)
    return np.where(missing, -1, at), np.where(missing, np.nan, best)
