"""The neighbours' vote, and how often votes like it were right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_protocol import _lesion

from lesiondash.records import UNLABELLED
from lesiondash.retrieval.gallery import columns
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.votes import VoteRecord, vote


def test_a_vote_and_its_record_counted_by_hand() -> None:
    record = VoteRecord(3, np.array([0, 20, 30, 40]), np.array([0, 5, 15, 38]))
    told = vote(["lung", "liver", "lung"], record)
    assert told is not None
    assert (told.type, told.count, told.of, told.right) == ("lung", 2, 3, 0.5)
    alone = vote(["lung", "liver", "lung"])
    assert alone is not None
    assert (alone.count, alone.right) == (2, None)
    tie = vote(["liver", "lung", "bone"], record)
    assert tie is not None
    assert (tie.type, tie.count) == ("liver", 1)  # the nearest decides
    assert vote([UNLABELLED], record) is None
    rare = vote(["lung"], VoteRecord(3, np.array([0, 2, 0, 0]), np.array([0, 1, 0, 0])))
    assert rare is not None
    assert rare.right is None


@pytest.mark.parametrize("noise", [0.05, 3.0])
def test_agreement_is_right_where_vectors_know_the_type(noise: float) -> None:
    random = np.random.default_rng(0)
    kinds = random.integers(0, 3, 300)
    lesions = [_lesion(row, ("lung", "liver", "bone")[kind], patient=f"p{row // 3}") for row, kind in enumerate(kinds)]
    lesions = [replace(lesion, split="test" if row < 60 else "train") for row, lesion in enumerate(lesions)]
    vectors = noise * random.normal(size=(300, 6))
    vectors[np.arange(300), kinds] += 1
    index = Index(vectors, columns(lesions))
    records = VoteRecord.of(index, lesions, (9, 15))
    for k, each in records.items():
        alone = VoteRecord.of(index, lesions, (k,))[k]
        assert (each.cases.tolist(), each.right.tolist()) == (alone.cases.tolist(), alone.right.tolist())
    record = records[9]
    assert record.cases.sum() == 240  # the test split teaches nothing
    share = record.right.sum() / record.cases.sum()
    assert share > 0.99 if noise < 1 else share < 0.7
