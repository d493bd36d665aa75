from __future__ import annotations

import numpy as np
import pytest

from lesiondash.errors import TrainingError
from lesiondash.learning.batches import Batches


def test_every_lesion_comes_once_a_round() -> None:
    batches = Batches(np.arange(30) % 10, 3, seed=1)
    assert batches.steps_an_epoch == 3
    for epoch in range(4):
        rows = np.concatenate([batches.at(epoch * 3 + k).first for k in range(3)])
        assert len(np.unique(rows % 10)) == 9


def test_both_views_are_of_one_lesion_and_of_two_crops_where_there_are_two() -> None:
    lesions = np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 3])
    batches = Batches(lesions, 4, seed=0)
    for step in range(20):
        batch = batches.at(step)
        np.testing.assert_array_equal(lesions[batch.first], lesions[batch.second])
        same = batch.first == batch.second
        np.testing.assert_array_equal(same, lesions[batch.first] == 0)


def test_every_crop_of_a_lesion_is_drawn() -> None:
    batches = Batches(np.zeros(5, int), 1, seed=0)
    assert {int(row) for step in range(80) for row in batches.at(step).first} == set(range(5))
    assert {int(row) for step in range(80) for row in batches.at(step).second} == set(range(5))


def test_a_step_depends_on_its_number_and_the_seed_alone() -> None:
    lesions = np.arange(40) // 2
    forward, backward = Batches(lesions, 8, seed=3), Batches(lesions, 8, seed=3)
    expected = [forward.at(step) for step in range(7)]
    for step in reversed(range(7)):
        np.testing.assert_array_equal(backward.at(step).second, expected[step].second)
    assert not np.array_equal(Batches(lesions, 8, seed=4).at(0).first, expected[0].first)


@pytest.mark.parametrize(("wanted", "patches", "found"), [(0, 9, 0), (4, 9, 4), (4, 2, 2), (4, 0, 0)])
def test_patches_are_drawn_out_of_those_there_are(wanted: int, patches: int, found: int) -> None:
    batch = Batches(np.arange(8), 4, seed=0, background=wanted, patches=patches).at(0)
    assert len(batch.background) == found
    assert all(0 <= row < patches for row in batch.background)


def test_a_batch_is_no_larger_than_the_collection() -> None:
    assert len(Batches(np.arange(5), 64, seed=0).at(3).first) == 5


def test_what_there_is_too_little_of_is_shared_alike() -> None:
    batches = Batches(np.arange(13), 64, seed=0, background=64, patches=11, processes=4)
    assert (batches.size, batches.background) == (12, 8)
    batch = batches.at(0)
    assert (len(batch.first), len(batch.background)) == (12, 8)


@pytest.mark.parametrize(("lesions", "patches", "words"), [(3, 9, "share 3 lesions"), (9, 3, "share 3 patches")])
def test_fewer_than_one_for_each_process_are_refused(lesions: int, patches: int, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        Batches(np.arange(lesions), 64, seed=0, background=64, patches=patches, processes=4)


def test_candidates_are_of_other_patients_and_of_what_is_drawn() -> None:
    alone = Batches(np.arange(10), 64, seed=0, background=64, patches=7)
    np.testing.assert_array_equal(alone.candidates(np.arange(10)), np.full(10, 2 * 9 + 7))
    patients = np.array([0, 0, 0, 1])  # all in each batch: both views of the one, or of the three
    np.testing.assert_array_equal(Batches(np.arange(4), 4, seed=0).candidates(patients), [2, 2, 2, 6])
    whose, some = np.arange(12) // 3, Batches(np.arange(12), 5, seed=0)
    drawn = [whose[some.at(step).first] for step in range(3000)]
    found = np.mean([2 * (batch[:, None] != batch[None, :]).sum(axis=1).mean() for batch in drawn])
    np.testing.assert_allclose(some.candidates(whose), np.full(12, found), rtol=0.02)
