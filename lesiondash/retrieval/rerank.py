"""Other ways to rank than by plain cosine, each a matrix of scores (q, n) of queries against a gallery.

All take unit vectors and return float64 scores, larger is nearer. None is the page's default: what each gains is
measured with intervals in `benchmarks/rerank.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError

Floats = npt.NDArray[np.float64]
SHRINKAGE = 0.1


@dataclass(frozen=True, eq=False)
class Whitening:
    """A rotation and scaling that makes the directions of training vectors count alike. mean: (d,), matrix: (d, d)."""

    mean: Floats
    matrix: Floats

    @classmethod
    def fit(cls, vectors: npt.ArrayLike, shrinkage: float = SHRINKAGE) -> Whitening:
        """Learn from training vectors (n, d), never from those that are searched.

        Their covariance C becomes (1 − s) C + s · tr(C) / d · I, so that directions of little variance are not blown up
        (Ledoit & Wolf 2004); the matrix is its inverse square root. Raises `SearchError` for fewer than two vectors or
        a shrinkage outside of (0, 1].
        """
        table = np.asarray(vectors, np.float64)
        if table.ndim != 2 or len(table) < 2 or not 0 < shrinkage <= 1:
            raise SearchError(f"Whitening learns from two vectors or more, shrinkage in (0, 1]; not {table.shape}.")
        mean = table.mean(axis=0)
        covariance = np.cov(table - mean, rowvar=False)
        size = len(mean)
        shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / size * np.eye(size)
        values, axes = np.linalg.eigh(shrunk)
        return cls(mean, (axes / np.sqrt(np.maximum(values, 1e-12))) @ axes.T)

    def apply(self, vectors: npt.ArrayLike) -> Floats:
        """Return whitened vectors of unit norm, (n, d)."""
        moved = (np.asarray(vectors, np.float64) - self.mean) @ self.matrix
        return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12))


def cosine(queries: Floats, gallery: Floats) -> Floats:
    """Return plain cosines."""
    return queries @ gallery.T


def query_expansion(
    queries: Floats, gallery: Floats, allowed: npt.NDArray[np.bool_], k: int = 5, alpha: float = 3.0
) -> Floats:
    """Search again with the query and its k nearest, each weighted by its cosine to the power of alpha.

    allowed: (q, n), what each query may find and thus be expanded with. Source: Radenović et al. 2019, section 3.5.
    """
    scores = np.where(allowed, queries @ gallery.T, -np.inf)
    k = min(k, gallery.shape[0])
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    weights = np.clip(np.take_along_axis(scores, nearest, axis=1), 0.0, None) ** alpha
    expanded = queries + np.einsum("qk,qkd->qd", weights, gallery[nearest])
    expanded /= np.linalg.norm(expanded, axis=1, keepdims=True)
    return np.asarray(expanded @ gallery.T)


def hubness_corrected(queries: Floats, gallery: Floats, k: int = 10) -> Floats:
    """Return cross-domain similarity local scaling: 2 cos − mean cosine of each side's k nearest in the gallery.

    A lesion that is near to everything is near to nobody in particular. Source: Conneau et al. 2018, section 2.3.
    """
    k = min(k, len(gallery) - 1)
    among = gallery @ gallery.T
    np.fill_diagonal(among, -np.inf)
    of_gallery = np.partition(among, -k, axis=1)[:, -k:].mean(axis=1)
    scores = queries @ gallery.T
    of_queries = np.partition(scores, -k, axis=1)[:, -k:].mean(axis=1)
    return np.asarray(2 * scores - of_queries[:, None] - of_gallery[None, :])


def k_reciprocal(vectors: Floats, k1: int = 20, k2: int = 6, weight: float = 0.3) -> Floats:
    """Re-rank a set against itself by how far neighbourhoods overlap that are mutual: (n, d) to (n, n).

    A lesion's k1-reciprocal neighbours, those that have it among their k1 nearest as it has them, widened by the
    half-neighbourhoods of which two thirds are shared; each becomes a vector of e^−distance, averaged over the k2
    nearest; 1 − Jaccard distance of two such vectors, weighted against the cosine. Source: Zhong et al. 2017.
    """
    cosines = vectors @ vectors.T
    count = len(vectors)
    distance = np.maximum(2.0 - 2.0 * cosines, 0.0)
    order = np.argsort(distance, axis=1, kind="stable")
    mutual = _mutual(order, k1)
    half = _mutual(order, max(1, round(k1 / 2)))
    coded = np.zeros((count, count))
    for row in range(count):
        own = set(np.flatnonzero(mutual[row]))
        wide = set(own)
        for other in own:
            theirs = set(np.flatnonzero(half[other]))
            if len(theirs & own) > 2 / 3 * len(theirs):
                wide |= theirs
        rows = sorted(wide)
        near = np.exp(-distance[row, rows])
        coded[row, rows] = near / near.sum()
    if k2 > 1:
        coded = coded[order[:, :k2]].mean(axis=1)
    shared = np.stack([np.minimum(coded[row][None, :], coded).sum(axis=1) for row in range(count)])
    jaccard = 1.0 - shared / (2.0 - shared)
    return np.asarray(-((1 - weight) * jaccard + weight * distance / max(float(distance.max()), 1e-12)))


def _mutual(order: npt.NDArray[np.intp], k: int) -> npt.NDArray[np.bool_]:
    """Return whether each pair has one another among the k nearest, itself counted: (n, n)."""
    count = len(order)
    near = np.zeros((count, count), bool)
    np.put_along_axis(near, order[:, : min(count, k + 1)], True, axis=1)
    return near & near.T


def ranking_of(scores: Floats) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
    """Return what `evaluate_rankings` asks for, of a matrix of scores (n, n)."""
    return lambda rows: np.argsort(-scores[rows], axis=1, kind="stable").astype(np.int64)
