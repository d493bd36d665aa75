"""The map: a two-dimensional projection of a collection's embeddings, fitted once, and a query's place on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MIN_FOR_UMAP = 16


def project(vectors: npt.NDArray[np.floating[Any]], *, seed: int = 0) -> npt.NDArray[np.float32]:
    """Project embeddings to the plane by UMAP with cosine distance (McInnes et al. 2018).

    vectors: (n, d), unit norm. Returns (n, 2) float32. Below `MIN_FOR_UMAP` points, where a neighbourhood graph says
    nothing, the two leading principal components. Deterministic for a seed, at the price of one thread.
    """
    if len(vectors) < MIN_FOR_UMAP:
        centred = vectors - vectors.mean(axis=0, keepdims=True)
        left, scale, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
        plane = np.zeros((len(vectors), 2), dtype=np.float32)
        plane[:, : min(2, len(scale))] = (left * scale)[:, :2]
        return plane
    import umap  # 10 to 30 s the first time on a machine: only here

    mapper = umap.UMAP(n_neighbors=15, min_dist=0.15, metric="cosine", random_state=seed, n_jobs=1)
    return np.asarray(mapper.fit_transform(vectors), dtype=np.float32)


def place(
    similarities: npt.NDArray[np.floating[Any]], xy: npt.NDArray[np.floating[Any]], *, k: int = 9
) -> tuple[float, float]:
    """Return where a query belongs on a fitted map: the similarity-weighted mean of its k nearest items.

    similarities: (n,) cosine to every item; xy: (n, 2). UMAP's own `transform` is slow and moves points, so the map
    stays as it was fitted. Weights fall off exponentially, so that one near-identical item dominates.
    """
    nearest = np.argsort(-similarities, kind="stable")[:k]
    weights = np.exp((similarities[nearest] - similarities[nearest].max()) / 0.05)
    x, y = np.average(xy[nearest], axis=0, weights=weights)
    return float(x), float(y)
