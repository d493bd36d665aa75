"""Scores of types told: counted by hand, scikit-learn's, and what a perfect and a blind classifier get."""

from __future__ import annotations

import numpy as np
import pytest

from lesiondash.errors import SearchError
from lesiondash.retrieval.classification import (
    blind_guess,
    classification_intervals,
    classification_scores,
    linear_probe,
    nearest_vote,
    vote,
)
from lesiondash.retrieval.intervals import interval


def test_counted_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    scores = classification_scores(probabilities, np.array([0, 0, 1, 1]))
    assert scores["accuracy"] == 0.75
    assert scores["balanced accuracy"] == 0.75
    assert scores["macro F1"] == pytest.approx((0.8 + 2 / 3) / 2)
    # Type 0 ranks .9, .7 (wrong), .6: AP (1 + 2/3) / 2; type 1 ranks .8, .4 (wrong), .3: the same.
    assert scores["macro mAP"] == pytest.approx((1 + 2 / 3) / 2)


def test_a_type_that_does_not_occur_counts_for_nothing() -> None:
    probabilities = np.array([[0.5, 0.1, 0.4], [0.1, 0.2, 0.7]])
    scores = classification_scores(probabilities, np.array([0, 2]))
    assert scores["accuracy"] == scores["balanced accuracy"] == scores["macro F1"] == scores["macro mAP"] == 1
    assert scores["calibration error"] == pytest.approx((0.5 + 0.3) / 2)


def test_clusters_are_told_and_noise_is_not() -> None:
    random = np.random.default_rng(0)
    types = [("bone", "liver", "lung")[k] for k in random.integers(0, 3, 240)]
    patients = [f"p{k // 4}" for k in range(240)]
    axes = np.array([("bone", "liver", "lung").index(kind) for kind in types])
    vectors = 0.1 * random.normal(size=(240, 8))
    noise = random.normal(size=(240, 8))
    vectors[np.arange(240), axes] += 1
    for data, low, high in ((vectors, 0.99, 1.0), (noise, 0.1, 0.55)):
        probe = classification_scores(*linear_probe(data[:160], types[:160], patients[:160], data[160:], types[160:]))
        nearest = classification_scores(*nearest_vote(data[:160], types[:160], data[160:], types[160:]))
        assert low <= probe["accuracy"] <= high
        assert low <= nearest["accuracy"] <= high


def test_votes() -> None:
    shares = vote(np.array([[0, 0, 1], [2, -1, -1], [-1, -1, -1]]), 3)
    assert shares == pytest.approx(np.array([[2 / 3, 1 / 3, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]]))


def test_refuses_types_that_were_never_seen() -> None:
    with pytest.raises(SearchError, match="'brain'"):
        nearest_vote(np.eye(3), ["a", "b", "b"], np.eye(3)[:1], ["brain"])
    with pytest.raises(SearchError, match="do not go with"):
        classification_scores(np.eye(3), np.array([0]))


def test_intervals_are_of_the_scores_and_of_resampled_patients() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 120)
    probabilities = np.eye(3)[np.where(random.random(120) < 0.7, truth, random.integers(0, 3, 120))]
    patients = [f"p{k // 3}" for k in range(120)]
    scores = classification_scores(probabilities, truth)
    found = classification_intervals(probabilities, truth, patients)
    for name, part in found.items():
        assert part.mean == pytest.approx(scores[name], abs=1e-12)
        assert part.low < part.mean < part.high
    right = (probabilities.argmax(axis=1) == truth).astype(float)
    plain = interval(right, patients)
    assert (found["accuracy"].low, found["accuracy"].high) == pytest.approx((plain.low, plain.high))


def test_the_scores_of_counts_are_those_of_each_resample() -> None:
    random = np.random.default_rng(2)
    truth, probabilities = random.integers(0, 4, 60), random.random((60, 4))
    truth[truth == 3] = 2  # a type that is told and never true
    found = classification_intervals(probabilities, truth, [str(k) for k in range(60)])
    scores = classification_scores(probabilities, truth)
    assert {name: part.mean for name, part in found.items()} == pytest.approx({name: scores[name] for name in found})


def test_chance_knows_how_frequent_the_types_are_and_no_more() -> None:
    scores = classification_scores(*blind_guess(["a", "a", "a", "b"], ["a", "a", "b", "b", "b"]))
    assert scores["accuracy"] == 0.4
    assert scores["balanced accuracy"] == 0.5
    assert scores["calibration error"] == pytest.approx(0.35)
