"""Measures of vectors that need no labels, and one that needs few: is training collapsing, is it learning?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesiondash.records import FloatArray

NEIGHBOURS = 9


def spread(vectors: FloatArray) -> float:
    """Return the mean standard deviation of a dimension times √d: 1 for vectors all over the sphere, 0 for one point.

    vectors: (n, d), unit norm. Source: Chen & He 2021, section 4.1 (their 1/√d is here 1).
    """
    return float(vectors.std(axis=0).mean() * np.sqrt(vectors.shape[1]))


def effective_rank(vectors: FloatArray) -> float:
    """Return how many directions the vectors use: e to the entropy of the singular values' shares.

    vectors: (n, d). Between 1 and min(n, d). Source: Garrido et al. 2023 (RankMe), eq. 1.
    """
    values = np.linalg.svd(np.asarray(vectors, np.float64), compute_uv=False)
    total = values.sum()
    if total <= 0:
        return 0.0
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def alignment(a: FloatArray, b: FloatArray) -> float:
    """Return the mean squared distance of two views' unit vectors, (n, d) each (Wang & Isola 2020, with α = 2)."""
    return float(np.square(a - b).sum(axis=1).mean())


def uniformity(vectors: FloatArray) -> float:
    """Return log of the mean of e^{−2 ‖x − y‖²} over pairs of unit vectors, (n, d); lower is more even.

    0 for one point, about −4 for the whole sphere in many dimensions (Wang & Isola 2020, with t = 2).
    """
    x = np.asarray(vectors, np.float64)
    similarity = x @ x.T
    pairs = similarity[np.triu_indices(len(x), 1)]
    return float(np.log(np.exp(-2.0 * np.maximum(2.0 - 2.0 * pairs, 0.0)).mean()))


def knn_accuracy(
    vectors: FloatArray, labels: npt.NDArray[np.int64], patients: npt.NDArray[np.int64], k: int = NEIGHBOURS
) -> float:
    """Return how often the vote of the k nearest of other patients gives a vector's own label.

    vectors: (n, d), unit norm; labels, patients: (n,). The first label wins a tie. NaN where nobody has a neighbour.
    """
    similarity = vectors @ vectors.T
    similarity[patients[:, None] == patients[None, :]] = -np.inf
    right = []
    for row, own in zip(similarity, labels, strict=True):
        nearest = [i for i in np.argsort(-row, kind="stable")[:k] if np.isfinite(row[i])]
        if nearest:
            right.append(np.bincount(labels[nearest]).argmax() == own)
    return float(np.mean(right)) if right else float("nan")
