"""Scores of a ranked list against slow definitions, enumeration and closed forms."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from lesiondash.errors import SearchError
from lesiondash.retrieval.metrics import (
    ap_hit,
    ap_min,
    ap_min_ceiling,
    ap_min_chance,
    mean_precision,
    precision_at,
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


@pytest.mark.parametrize("call", [lambda: precision_at([1], 0), lambda: ap_min([1, 2], 1), lambda: ap_hit([[1]], 1)])
def test_refuses_what_is_no_ranking(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SearchError):
        call()


def test_refuses_impossible_counts() -> None:
    with pytest.raises(SearchError, match="5 relevant of 3"):
        precision_chance(3, 5, 1)
    with pytest.raises(SearchError, match="total_relevant is 1"):
        ap_min([1, 1], 2, total_relevant=1)
