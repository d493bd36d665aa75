"""The shares of a similarity sum to it, lie where the likeness is, and are symmetric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lesiondash.errors import EncoderError
from lesiondash.learning.agreement import agreement
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.encoder import Encoder


def crops(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0, 200, (64, 64)).astype(np.float32)


@pytest.mark.parametrize("pool", ["gem", "average"])
@pytest.mark.parametrize("head", ["none", "linear"])
@pytest.mark.parametrize("stem", ["imagenet", "pool"])
def test_both_maps_sum_to_the_cosine_of_the_vectors(pool: Any, head: Any, stem: Any) -> None:
    encoder = Encoder.untrained(seed=1, architecture=Architecture(pool=pool, head=head, stem=stem))
    first, second = crops(0), crops(1)
    found = agreement(encoder, first, second)
    vectors = encoder.embed(np.stack([first, second]))
    assert found.similarity == pytest.approx(float(vectors[0] @ vectors[1]), abs=5e-3)  # embed may use bfloat16
    assert found.first.sum() == pytest.approx(found.similarity, abs=1e-9)
    assert found.second.sum() == pytest.approx(found.similarity, abs=1e-9)
    assert found.first.shape == found.second.shape
    back = agreement(encoder, second, first)
    assert back.first == pytest.approx(found.second)


def test_a_crop_with_itself_agrees_wholly_and_evenly_where_it_is_even() -> None:
    encoder = Encoder.untrained(seed=0)
    found = agreement(encoder, np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32))
    assert found.similarity == pytest.approx(1)
    assert found.first == pytest.approx(found.second)


def test_the_place_that_both_share_brings_most() -> None:
    """The same bright disc in the upper left of two crops whose rest is different noise."""
    encoder = Encoder.untrained(seed=0, architecture=Architecture(stem="pool"))
    y, x = np.mgrid[:64, :64]
    disc = 900 * np.exp(-((x - 16) ** 2 + (y - 16) ** 2) / 120)
    found = agreement(encoder, 0.02 * crops(2) + disc, 0.02 * crops(3) + disc)
    half = len(found.first) // 2
    for each in (found.first, found.second):
        assert each[:half, :half].mean() > each[half:, half:].mean()


def test_what_cannot_be_split_is_refused() -> None:
    encoder = Encoder.untrained(seed=0, architecture=Architecture(head="sigmoid"))
    with pytest.raises(EncoderError, match="sigmoid"):
        agreement(encoder, crops(0), crops(1))
    with pytest.raises(EncoderError, match="3 together"):
        agreement(Encoder.untrained(seed=0), np.stack([crops(0), crops(1)]), crops(2))
