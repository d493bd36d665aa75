"""Each re-ranking does what it is for, on vectors where that can be seen."""

from __future__ import annotations

import numpy as np
import pytest

from lesiondash.errors import SearchError
from lesiondash.retrieval.metrics import hubness
from lesiondash.retrieval.rerank import Whitening, cosine, hubness_corrected, k_reciprocal, query_expansion, ranking_of


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_whitened_training_vectors_vary_alike_in_every_direction() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(4000, 5)) * np.array([10, 5, 1, 0.5, 0.1]) + 3
    found = Whitening.fit(vectors, shrinkage=1e-6)
    moved = (vectors - found.mean) @ found.matrix
    assert np.cov(moved, rowvar=False) == pytest.approx(np.eye(5), abs=5e-3)
    whole = Whitening.fit(vectors, shrinkage=1.0)  # nothing is left of the covariance: plain centred cosines
    centred = unit(vectors - vectors.mean(axis=0))
    assert whole.apply(vectors) == pytest.approx(centred)
    with pytest.raises(SearchError, match="two vectors"):
        Whitening.fit(vectors[:1])


def test_expansion_finds_what_lies_behind_the_nearest() -> None:
    """A chain of lesions, each near the next; the far end comes before a stranger at the same angle."""
    angles = np.deg2rad([0, 12, 24, 36])
    chain = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(4)])
    stranger = np.array([[np.cos(angles[3]), 0, np.sin(angles[3])]])
    gallery, query = np.concatenate([chain[1:], stranger]), chain[:1]
    plain = cosine(query, gallery)[0]
    assert plain[2] == pytest.approx(plain[3])
    expanded = query_expansion(query, gallery, np.ones((1, 4), bool), k=2)[0]
    assert expanded[2] > expanded[3]
    alone = query_expansion(query, gallery, np.array([[False, False, False, True]]), k=1)[0]
    assert alone[3] > alone[2]  # it may not be expanded with what it may not find


def test_hubs_fall_back() -> None:
    """In many directions some lesions are everyone's neighbours; the correction makes them fewer."""
    random = np.random.default_rng(1)
    spread = random.uniform(0.5, 1.5, (300, 1))  # those of little spread lie near the middle of all
    gallery, queries = unit(spread * random.normal(size=(300, 60)) + 0.5), unit(random.normal(size=(400, 60)) + 0.5)
    skews = [
        hubness(np.argsort(-scores, axis=1)[:, :10], len(gallery))
        for scores in (cosine(queries, gallery), hubness_corrected(queries, gallery))
    ]
    assert skews[0] > 1
    assert skews[1] < 0.6 * skews[0]


def test_mutual_neighbours_come_first() -> None:
    """Two clumps and a lesion between them: re-ranked, a clump's own members come before the other's."""
    random = np.random.default_rng(2)
    centers = np.repeat([[1.0, 0, 0], [0.6, 0.8, 0]], 15, axis=0)
    vectors = unit(centers + 0.25 * random.normal(size=(30, 3)))
    labels = np.arange(30) // 15

    def right(scores: np.ndarray) -> float:
        order = ranking_of(scores)(np.arange(30))
        return float(np.mean(labels[order[:, 1:11]] == labels[:, None]))

    again = k_reciprocal(vectors, k1=8, k2=3)
    assert right(again) > right(cosine(vectors, vectors))
    only_cosine = k_reciprocal(vectors, k1=8, k2=3, weight=1.0)
    assert only_cosine.argsort(axis=1).tolist() == cosine(vectors, vectors).argsort(axis=1).tolist()
