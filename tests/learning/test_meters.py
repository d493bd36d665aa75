from __future__ import annotations

import math

import numpy as np
import pytest

from lesiondash.learning.meters import alignment, effective_rank, knn_accuracy, spread, uniformity

RANDOM = np.random.default_rng(0)


def unit(n: int, d: int) -> np.ndarray:
    x = RANDOM.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_collapsed_vectors_have_no_spread_and_one_direction() -> None:
    one = np.repeat(unit(1, 16), 20, axis=0)
    assert spread(one) == pytest.approx(0, abs=1e-9)
    assert effective_rank(one) == pytest.approx(1, abs=1e-6)
    assert uniformity(one) == pytest.approx(0, abs=1e-9)
    assert effective_rank(np.zeros((4, 4))) == 0


def test_even_vectors_have_spread_one_and_every_direction() -> None:
    even = unit(4000, 16)
    assert spread(even) == pytest.approx(1, abs=0.02)
    assert effective_rank(even) == pytest.approx(16, abs=0.1)
    assert effective_rank(np.eye(5)) == pytest.approx(5)


def test_uniformity_and_alignment_have_closed_forms() -> None:
    eye = np.eye(6)
    assert uniformity(eye) == pytest.approx(-4)  # every pair at squared distance 2
    assert alignment(eye, eye) == 0
    assert alignment(eye, -eye) == pytest.approx(4)
    turned = np.roll(eye, 1, axis=0)
    assert alignment(eye, turned) == pytest.approx(2)


def test_neighbours_vote_among_other_patients() -> None:
    angles = np.array([0.0, 0.1, 0.2, 2.0, 2.1, 2.2])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert knn_accuracy(vectors, labels, np.arange(6), k=1) == 1
    # Of one patient each, the nearest others are of the other label.
    assert knn_accuracy(vectors, labels, labels, k=1) == 0
    assert math.isnan(knn_accuracy(vectors, labels, np.zeros(6, int)))
