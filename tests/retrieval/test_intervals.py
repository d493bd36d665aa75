"""Intervals by resampled patients: repeatable, wider where patients agree with themselves, and about right."""

from __future__ import annotations

import numpy as np
import pytest

from lesiondash.errors import SearchError
from lesiondash.retrieval.intervals import interval, macro_interval, resampled_means


def test_equals_a_slow_bootstrap() -> None:
    random = np.random.default_rng(0)
    patients = [f"p{k}" for k in random.integers(0, 12, 60)]
    values = random.random(60)
    names = np.unique(patients)
    times = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=50)
    slow = []
    for draw in times:
        chosen: list[float] = []
        for name, count in zip(names, draw, strict=True):
            chosen += [v for v, p in zip(values, patients, strict=True) if p == name] * int(count)
        slow.append(np.mean(chosen))
    assert resampled_means(values, patients, resamples=50) == pytest.approx(np.array(slow))


def test_columns_are_resampled_alike() -> None:
    values, patients = np.random.default_rng(1).random((40, 3)), np.arange(40) // 4
    both = resampled_means(values, patients)
    assert both.shape == (2000, 3)
    assert both[:, 1] == pytest.approx(resampled_means(values[:, 1], patients))
    assert both[:, 0] - both[:, 1] == pytest.approx(resampled_means(values[:, 0] - values[:, 1], patients))


def test_lesions_of_one_patient_are_no_independent_evidence() -> None:
    values = np.random.default_rng(2).integers(0, 2, 200).astype(float)
    many = interval(values, [str(k) for k in range(200)])
    assert many.low < values.mean() < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(200), rel=0.15)
    few = interval(np.sort(values), [str(k // 25) for k in range(200)])
    assert few.high - few.low > 2 * (many.high - many.low)


def test_holds_the_true_mean_nineteen_times_in_twenty() -> None:
    random, held = np.random.default_rng(3), 0
    for _ in range(300):
        of_patient = random.normal(size=60)
        patients = np.repeat(np.arange(60), 3)
        found = interval(of_patient[patients] + 0.3 * random.normal(size=180), patients, resamples=400)
        held += found.low < 0 < found.high
    assert 0.90 < held / 300 < 0.985


def test_refuses_what_does_not_go_together() -> None:
    with pytest.raises(SearchError, match="0 values"):
        interval([], [])
    with pytest.raises(SearchError, match="2 values of 3"):
        interval([1.0, 2.0], ["a", "b", "c"])


def test_the_mean_over_types_counts_each_alike() -> None:
    values, types = [1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]
    found = macro_interval(values, types, ["p", "q", "r", "s"])
    assert found.mean == 0.5
    assert (found.low, found.high) == (0.5, 1.0)  # resamples without the only b are of a alone
    even = macro_interval([0.2, 0.4, 0.6, 0.8], ["a"] * 4, ["p", "p", "q", "r"])
    plain = interval([0.2, 0.4, 0.6, 0.8], ["p", "p", "q", "r"])
    assert (even.mean, even.low, even.high) == pytest.approx((plain.mean, plain.low, plain.high))
