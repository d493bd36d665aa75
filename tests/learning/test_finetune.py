from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lesiondash.errors import TrainingError
from lesiondash.learning.dataset import LabelledCrops
from lesiondash.learning.encoder import Encoder
from lesiondash.learning.finetune import FinetuneSettings, balanced_rows, finetune, mine
from lesiondash.records import NO_AUGMENTATION


def toy_data(n: int = 24) -> LabelledCrops:
    """Bright blobs and dark ones, of any size: two types."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] - 47.5
    radius = random.uniform(4, 20, n)[:, None, None]
    labels = np.arange(n) % 2
    sign = np.where(labels, 1.0, -1.0)[:, None, None]
    hu = sign * 300 * np.exp(-(x**2 + y**2) / (2 * radius**2)) + random.normal(0, 60, (n, 96, 96))
    return LabelledCrops(hu.astype(np.int16)[:, None], None, labels, np.arange(n) // 2)


def gap(encoder: Encoder, data: LabelledCrops) -> float:
    """How much nearer vectors of one type are than those of two."""
    v = encoder.embed(data.hu[:, 0, 16:80, 16:80])
    same = data.labels[:, None] == data.labels[None, :]
    similarity = v @ v.T
    return float(similarity[same].mean() - similarity[~same].mean())


@pytest.mark.parametrize("objective", ["triplet", "supcon"])
def test_types_part(objective: Any) -> None:
    data, encoder = toy_data(), Encoder.untrained(seed=0)
    settings = FinetuneSettings(objective=objective, steps=8, classes=2, lesions=6, augment=NO_AUGMENTATION)
    tuned = finetune(encoder, data, settings)
    assert gap(tuned, data) > gap(encoder, data) + 0.02
    assert encoder.fingerprint == Encoder.untrained(seed=0).fingerprint  # the given one is left as it was
    assert tuned.header["training"]["finetuned"]["objective"] == objective


@pytest.mark.parametrize("head", ["linear", "sigmoid"])
def test_a_head_is_put_on_and_kept_in_the_file(head: Any, tmp_path: Path) -> None:
    data = toy_data()
    tuned = finetune(Encoder.untrained(seed=0), data, FinetuneSettings(steps=2, classes=2, lesions=4, head=head))
    tuned.save(tmp_path / "tuned.safetensors")
    loaded = Encoder.load(tmp_path / "tuned.safetensors")
    assert loaded.architecture.head == head
    crops = data.hu[:3, 0, 16:80, 16:80]
    np.testing.assert_array_equal(loaded.embed(crops), tuned.embed(crops))


def test_the_same_seed_gives_the_same_weights() -> None:
    settings = FinetuneSettings(steps=2, classes=2, lesions=3, seed=4)
    first = finetune(Encoder.untrained(seed=0), toy_data(), settings).fingerprint
    assert finetune(Encoder.untrained(seed=0), toy_data(), settings).fingerprint == first


def test_batches_hold_each_type_alike() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 10 + [3])
    rows = balanced_rows(labels, 8, 4, [0])
    assert sorted(np.bincount(labels[rows], minlength=4)) == [0, 4, 4, 4]  # one lesion makes no pair
    for label in (0, 2):
        chosen = rows[labels[rows] == label]
        assert len(np.unique(chosen)) == 4
    with pytest.raises(TrainingError, match="two types"):
        balanced_rows(np.array([0, 0, 1]), 2, 2, [0])


def test_semi_hard_negatives_are_the_nearest_beyond_the_positive() -> None:
    angles = torch.tensor([0.0, 0.3, 0.2, 0.5, 0.9, 2.5])
    vectors = torch.stack([torch.cos(angles), torch.sin(angles)], dim=1)
    labels = torch.tensor([0, 0, 1, 1, 1, 1])
    generator = torch.Generator().manual_seed(0)
    anchors, positives, negatives = mine(vectors, labels, 0.8, "semi-hard", generator)
    pairs = {(int(a), int(p)): int(n) for a, p, n in zip(anchors, positives, negatives, strict=True)}
    assert pairs[0, 1] == 3  # 0.2 rad is nearer than the positive, 0.5 rad the next beyond it
    assert len(pairs) == 2 + 12
    # Without a margin nothing fits: any of another label is taken.
    _, _, any_negative = mine(vectors, labels, 0.0, "semi-hard", generator)
    assert bool((labels[any_negative] != labels[anchors]).all())


def test_of_one_label_there_is_no_triplet() -> None:
    anchors, _, _ = mine(torch.randn(4, 3), torch.zeros(4), 0.8, "semi-hard", torch.Generator())
    assert len(anchors) == 0


def test_the_schedule_is_half_a_cosine() -> None:
    settings = FinetuneSettings(steps=50)
    assert settings.rate_at(0) == pytest.approx(0.01)
    assert settings.rate_at(25) == pytest.approx(0.005)
    assert settings.rate_at(49) < 1e-4


@pytest.mark.parametrize(
    "values", [{"objective": "nca"}, {"mining": "easy"}, {"head": "x"}, {"steps": 0}, {"lesions": 1}, {"seed": -1}]
)
def test_settings_that_tune_nothing_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(TrainingError):
        FinetuneSettings(**values)


def test_a_loss_that_breaks_down_is_said() -> None:
    with pytest.raises(TrainingError, match="broke down"):
        finetune(Encoder.untrained(), toy_data(), FinetuneSettings(steps=6, learning_rate=1e30, classes=2, lesions=3))
