"""Scores of a ranked list against slow definitions, enumeration and closed forms."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from lesiondash.errors import SearchError
from lesiondash.retrieval.metrics import (
    ap_hit,
    ap_hit_ceiling,
    ap_hit_chance,
    ap_min,
    ap_min_ceiling,
    ap_min_chance,
    available_ceiling,
    available_chance,
    hubness,
    map_at_r,
    map_at_r_chance,
    mean_precision,
    mean_precision_ceiling,
    mean_precision_chance,
    precision_at,
    precision_available,
    precision_ceiling,
    precision_chance,
)


def _slow_precision(flags: list[int], i: int) -> float:
    return sum(flags[:i]) / i


def _slow_sum(flags: list[int], k: int) -> float:
    return sum(_slow_precision(flags, i) for i in range(1, min(k, len(flags)) + 1) if flags[i - 1])


def test_hand_counted_list() -> None:
    ranked = [1, 0, 1, 0, 0]
    assert precision_at(ranked, 3) == pytest.approx(2 / 3)
    assert precision_at(ranked, 10) == pytest.approx(0.2)
    assert ap_min(ranked, 2) == pytest.approx(0.5)
    assert ap_hit(ranked, 2) == pytest.approx(1)
    assert mean_precision(ranked, 2) == pytest.approx(0.75)
    assert ap_min(ranked, 10, total_relevant=4) == pytest.approx((1 + 2 / 3) / 4)


@pytest.mark.parametrize("seed", range(50))
def test_equal_slow_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flags = [int(flag) for flag in rng.random(rng.integers(1, 30)) < rng.random()]
    k = int(rng.integers(1, 15))
    padded = flags + [0] * k
    relevant, hits = sum(flags), sum(flags[:k])
    assert precision_at(flags, k) == pytest.approx(sum(flags[:k]) / k)
    assert ap_min(flags, k) == pytest.approx(_slow_sum(flags, k) / min(k, relevant) if relevant else 0)
    assert ap_hit(flags, k) == pytest.approx(_slow_sum(flags, k) / max(1, hits))
    assert mean_precision(flags, k) == pytest.approx(np.mean([_slow_precision(padded, i) for i in range(1, k + 1)]))


@pytest.mark.parametrize("candidates", range(1, 8))
@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_chance_and_ceiling_equal_enumeration_of_every_ranking(candidates: int, k: int) -> None:
    for relevant in range(candidates + 1):
        rankings = [
            [int(i in places) for i in range(candidates)] for places in combinations(range(candidates), relevant)
        ]
        ap = [ap_min(ranking, k) for ranking in rankings]
        precision = [precision_at(ranking, k) for ranking in rankings]
        assert ap_min_chance(candidates, relevant, k) == pytest.approx(np.mean(ap))
        assert ap_min_ceiling(candidates, relevant, k) == pytest.approx(max(ap))
        assert precision_chance(candidates, relevant, k) == pytest.approx(np.mean(precision))
        assert precision_ceiling(candidates, relevant, k) == pytest.approx(max(precision))
        for score, chance, ceiling in (
            (ap_hit, ap_hit_chance, ap_hit_ceiling),
            (mean_precision, mean_precision_chance, mean_precision_ceiling),
            (precision_available, available_chance, available_ceiling),
        ):
            values = [score(ranking, k) for ranking in rankings]
            assert chance(candidates, relevant, k) == pytest.approx(np.mean(values))
            assert ceiling(candidates, relevant, k) == pytest.approx(max(values))
        assert map_at_r_chance(candidates, relevant) == pytest.approx(np.mean([map_at_r(each) for each in rankings]))


def test_chance_equals_random_rankings_of_a_large_gallery() -> None:
    rng = np.random.default_rng(0)
    flags = np.zeros(500)
    flags[:120] = 1
    drawn = [ap_min(rng.permutation(flags), 10) for _ in range(4000)]
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(np.mean(drawn) - ap_min_chance(500, 120, 10)) < 4 * error


def test_all_relevant_is_certain_and_none_is_zero() -> None:
    assert ap_min_chance(20, 20, 10) == pytest.approx(1)
    assert ap_min_chance(20, 0, 10) == 0
    assert precision_chance(5, 5, 10) == pytest.approx(0.5)


SCORES = [precision_at, precision_available, ap_min, ap_hit, mean_precision, lambda ranked, k: map_at_r(ranked)]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "ranked", [[1, 2], [1, 0, 7], [-1], [0.5], [np.nan], [[1]], 1, None, "101", ["1", "0"], {0, 1}, [1j], [[1], [1, 0]]]
)
def test_refuses_what_is_no_ranking(score: Any, ranked: Any) -> None:
    with pytest.raises(SearchError, match="0 or 1"):
        score(ranked, 2)


@pytest.mark.parametrize("score", SCORES[:-1])
@pytest.mark.parametrize("k", [0, -1, 1.5, 2.0, True, None, "3"])
def test_refuses_what_is_no_rank(score: Any, k: Any) -> None:
    with pytest.raises(SearchError, match="k is"):
        score([1, 0], k)
    for function in (precision_chance, mean_precision_chance, mean_precision_ceiling, ap_hit_chance):
        with pytest.raises(SearchError, match="k is"):
            function(5, 2, k)


@pytest.mark.parametrize("score", SCORES)
def test_takes_a_ranking_in_any_form(score: Any) -> None:
    ranked = [1, 0, 1, 0]
    expected = score(ranked, np.int64(3))
    flags = np.array(ranked, bool)
    for form in (
        tuple(ranked),
        flags,
        flags.tolist(),
        flags.astype(np.uint8),
        torch.tensor(ranked),
        torch.tensor(flags),
    ):
        assert score(form, 3) == expected
    assert score([], 3) == score([0, 0], 3) == score(np.zeros(0), 9) == 0
    assert score([1] * 300, 300) == pytest.approx(1)
    assert score(np.ones(300, np.uint8), 300) == pytest.approx(1)  # 300 is more than a uint8 counts to


def test_refuses_impossible_counts() -> None:
    with pytest.raises(SearchError, match="5 relevant of 3"):
        precision_chance(3, 5, 1)
    with pytest.raises(SearchError, match="total_relevant is 1"):
        ap_min([1, 1], 2, total_relevant=1)
    with pytest.raises(SearchError, match="total_relevant is 1"):
        map_at_r([1, 1], total_relevant=1)


def test_ten_thousand_random_rankings_equal_the_definitions() -> None:
    rng = np.random.default_rng(5)
    for _ in range(10_000):
        flags = (rng.random(rng.integers(1, 40)) < rng.random()).astype(int).tolist()
        k = int(rng.integers(1, 15))
        relevant, first = sum(flags), flags[:k]
        summed = sum(sum(flags[:i]) / i for i in range(1, len(first) + 1) if flags[i - 1])
        assert abs(precision_at(flags, k) - sum(first) / k) < 1e-9
        assert abs(precision_available(flags, k) - sum(first) / len(first)) < 1e-9
        assert abs(ap_min(flags, k) - (summed / min(k, relevant) if relevant else 0)) < 1e-9
        assert abs(ap_hit(flags, k) - summed / max(1, sum(first))) < 1e-9
        means = [sum(flags[:i]) / i for i in range(1, k + 1)]
        assert abs(mean_precision(flags, k) - sum(means) / k) < 1e-9
        until_r = sum(sum(flags[:i]) / i for i in range(1, relevant + 1) if flags[i - 1])
        assert abs(map_at_r(flags) - (until_r / relevant if relevant else 0)) < 1e-9


def test_equal_torchmetrics_where_it_measures_the_same() -> None:
    """Its MAP@k divides by the hits found, which is AP_hit; its precision is the strict one."""
    from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_precision

    rng = np.random.default_rng(6)
    for _ in range(200):
        count = int(rng.integers(2, 40))
        flags, k = rng.random(count) < 0.3, int(rng.integers(1, 15))
        falling, target = torch.arange(count, 0, -1).float(), torch.from_numpy(flags)
        k = min(k, count)
        assert ap_hit(flags, k) == pytest.approx(float(retrieval_average_precision(falling, target, top_k=k)), abs=1e-6)
        assert precision_at(flags, k) == pytest.approx(float(retrieval_precision(falling, target, top_k=k)), abs=1e-6)
        if flags.any():
            assert ap_min(flags, count) == pytest.approx(float(retrieval_average_precision(falling, target)), abs=1e-6)


def test_equal_scikit_learns_average_precision_of_a_full_ranking() -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(7)
    for _ in range(100):
        flags = rng.random(30) < 0.4
        if flags.any():
            assert ap_min(flags, 30) == pytest.approx(average_precision_score(flags, np.arange(30, 0, -1)))


def test_map_at_r_equals_pytorch_metric_learnings() -> None:
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    rng = np.random.default_rng(8)
    vectors, labels = rng.normal(size=(60, 5)).astype(np.float32), rng.integers(0, 4, 60)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ours = []
    for row in range(60):
        order = [other for other in np.argsort(-(unit @ unit[row]), kind="stable") if other != row]
        ours.append(map_at_r(labels[order] == labels[row]))
    names = ("mean_average_precision_at_r",)
    nearest = CustomKNN(CosineSimilarity())
    calculator = AccuracyCalculator(include=names, k="max_bin_count", device=torch.device("cpu"), knn_func=nearest)
    theirs = calculator.get_accuracy(torch.from_numpy(unit), torch.from_numpy(labels))
    assert np.mean(ours) == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-6)


def test_hubness_of_a_hub_and_of_a_ring() -> None:
    ring = np.array([[(row + 1) % 50, (row + 2) % 50] for row in range(50)])
    assert hubness(ring, 50) == 0  # each is found twice
    hub = np.array([[0, (row + 1) % 50] for row in range(50)])
    counts = np.bincount(hub.ravel(), minlength=50).astype(float)
    centred = counts - counts.mean()
    assert hubness(hub, 50) == pytest.approx((centred**3).mean() / (centred**2).mean() ** 1.5)
    assert hubness(hub, 50) > 5
    assert hubness(np.array([[1, -1], [0, -1]]), 2) == 0
