"""Many queries at once, exactly: a float32 product of all with all, and float64 where it could matter."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from lesiondash.learning.threads import one_blas_thread
from lesiondash.retrieval.vectors import exact_cosines, float32_slack

QUERIES_A_BLOCK = 512
SCORES_A_BLOCK = 8_000_000
EXACT_A_BLOCK = 8
"""So many queries' nearest are compared in float64 at once: what is copied for it stays in the processor's cache."""
Scores = npt.NDArray[np.float32]
COMPILED_FROM = 5_000_000
"""From so many scores the compiled choice of the best is worth loading its compiler, 160 MB of a page's memory."""
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

    compiled = len(queries) * len(vectors) >= COMPILED_FROM

    def answer(start: int) -> None:
        part = slice(start, start + step)
        scores = queries[part].astype(np.float32) @ vectors.T
        mask = None if allowed is None else allowed[part]
        rows[part], cosines[part] = _answer(vectors, id_order, queries[part], scores, k, mask, compiled)

    # A block is one thread's from product to answer: threads of the product's own would idle, spinning, in between.
    with one_blas_thread(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(answer, range(0, len(queries), step)))
    return rows, cosines


def _answer(
    vectors: npt.NDArray[np.float32],
    id_order: npt.NDArray[np.int64],
    queries: npt.NDArray[np.float64],
    scores: Scores,
    k: int,
    allowed: npt.NDArray[np.bool_] | None,
    compiled: bool,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    from lesiondash.retrieval.codes import best_scores

    if allowed is not None:
        scores[~allowed] = -np.inf
    keep = min(len(vectors), k + SPARE)
    while True:
        values, places = best_scores(scores, keep, compiled=compiled)
        # Enough are kept where none that was left out can be better than the k-th best, or there is none left out.
        enough = values[:, -1] < values[:, k - 1] - 2 * float32_slack(vectors.shape[1])
        if keep == len(vectors) or (enough | ~np.isfinite(values[:, -1])).all():
            break
        keep = min(len(vectors), 4 * keep)
    exact = np.empty(places.shape)
    for start in range(0, len(places), EXACT_A_BLOCK):
        part = slice(start, start + EXACT_A_BLOCK)
        exact[part] = exact_cosines(vectors[places[part]], queries[part])
    exact[~np.isfinite(values)] = -np.inf
    order = np.lexsort((id_order[places], -exact), axis=1)[:, :k]
    best, at = np.take_along_axis(exact, order, axis=1), np.take_along_axis(places, order, axis=1)
    missing = ~np.isfinite(best)
    return np.where(missing, -1, at), np.where(missing, np.nan, best)
