"""The map: seeded, keeps clusters apart, and places a query among its neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from lesiondash.retrieval.chance import random_pair_similarities, share_below
from lesiondash.retrieval.projection import place, project


def clusters(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.eye(3, 8)
    vectors = np.repeat(centres, count, axis=0) + 0.1 * rng.standard_normal((3 * count, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_clusters_stay_together() -> None:
    vectors = clusters(30)
    xy = project(vectors)
    labels = np.repeat(np.arange(3), 30)
    distances = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.95
    np.testing.assert_array_equal(xy, project(vectors))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_points(count: int) -> None:
    xy = project(clusters(5)[:count])
    assert xy.shape == (count, 2)
    assert np.isfinite(xy).all()


def test_query_lands_on_the_item_it_equals() -> None:
    vectors, xy = clusters(5), np.arange(30, dtype=np.float32).reshape(15, 2)
    similarities = np.full(15, 0.1)
    similarities[4] = 1.0
    assert np.allclose(place(similarities, xy), xy[4], atol=1e-3)
    assert len(vectors) == len(xy)


def test_random_pairs_are_of_different_patients() -> None:
    vectors = clusters(10)
    background = random_pair_similarities(vectors, [str(i // 10) for i in range(30)])
    assert background.max() < 0.7  # pairs of one patient, being one cluster, would be near 1
    assert share_below(1.0, background) == 1.0
    assert share_below(-1.0, background) == 0.0
    assert len(random_pair_similarities(vectors, ["one"] * 30)) == 0
