from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lesiondash.learning.losses import dcl, nt_xent

SIZES = [(2, 3), (5, 4), (8, 16)]
TEMPERATURES = [0.05, 0.1, 0.5, 1.0]


def slow_loss(a: Tensor, b: Tensor, temperature: float, groups: list[int], positive_in_denominator: bool) -> float:
    """Both losses as they are printed: one view, one negative at a time."""
    n = len(a)
    views = [(i, a[i]) for i in range(n)] + [(i, b[i]) for i in range(n)]

    def similarity(u: Tensor, v: Tensor) -> float:
        return float(u @ v / u.norm() / v.norm()) / temperature

    total = 0.0
    for k, (item, view) in enumerate(views):
        positive = similarity(view, views[(k + n) % (2 * n)][1])
        denominator = math.exp(positive) if positive_in_denominator else 0.0
        for other, negative in views:
            if groups[other] != groups[item]:
                denominator += math.exp(similarity(view, negative))
        total += math.log(denominator) - positive if denominator > 0 else -positive
    return total / (2 * n)


def random_views(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(n, d, generator=generator)
    return first, first + torch.randn(n, d, generator=generator)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize(("loss", "keeps_positive"), [(nt_xent, True), (dcl, False)])
def test_loss_equals_the_printed_sum(loss: Any, keeps_positive: bool, n: int, d: int, temperature: float) -> None:
    a, b = random_views(n, d)
    expected = slow_loss(a, b, temperature, list(range(n)), keeps_positive)
    assert float(loss(a, b, temperature)) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("groups", [[0, 0, 1, 1, 2, 3], [5, 5, 5, 5, 5, 9], [0, 0, 0, 0, 0, 0]])
@pytest.mark.parametrize(("loss", "keeps_positive"), [(nt_xent, True), (dcl, False)])
def test_items_of_one_group_are_no_negatives(loss: Any, keeps_positive: bool, groups: list[int]) -> None:
    a, b = random_views(6, 8)
    expected = slow_loss(a, b, 0.2, groups, keeps_positive)
    assert float(loss(a, b, 0.2, groups=torch.tensor(groups))) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("loss", [nt_xent, dcl])
def test_lengths_of_the_vectors_do_not_matter(loss: Any) -> None:
    a, b = random_views(6, 8)
    lengths = torch.tensor([0.1, 1.0, 3.0, 10.0, 0.5, 7.0])[:, None]
    assert float(loss(lengths * a, b / lengths)) == pytest.approx(float(loss(a, b)), rel=1e-5)


@pytest.mark.parametrize("loss", [nt_xent, dcl])
def test_order_of_views_and_items_does_not_matter(loss: Any) -> None:
    a, b = random_views(6, 8)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert float(loss(b[order], a[order])) == pytest.approx(float(loss(a, b)), rel=1e-5)


def test_orthogonal_items_have_a_closed_form() -> None:
    eye = torch.eye(4)
    assert float(nt_xent(eye, eye, 0.5)) == pytest.approx(math.log(1 + 6 * math.exp(-2)), rel=1e-5)
    assert float(dcl(eye, eye, 0.5)) == pytest.approx(math.log(6) - 2, rel=1e-5)


@pytest.mark.parametrize("loss", [nt_xent, dcl])
def test_a_gradient_step_raises_positives_and_lowers_negatives(loss: Any) -> None:
    a, b = random_views(4, 8)
    a.requires_grad_(True)
    loss(a, b, 0.5).backward()
    assert a.grad is not None
    moved = (a - 0.1 * a.grad).detach()

    def margin(view: Tensor) -> float:
        similarity = torch.nn.functional.normalize(view, dim=1) @ torch.nn.functional.normalize(b, dim=1).T
        return float(similarity.diagonal().sum() - (similarity.sum() - similarity.diagonal().sum()) / 3)

    assert margin(moved) > margin(a.detach())


@pytest.mark.parametrize("loss", [nt_xent, dcl])
def test_gradient_is_finite_without_any_negative(loss: Any) -> None:
    a, b = random_views(3, 4)
    a.requires_grad_(True)
    loss(a, b, 0.1, groups=torch.zeros(3, dtype=torch.long)).backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


def test_impossible_arguments_are_refused() -> None:
    a, b = random_views(4, 8)
    with pytest.raises(ValueError, match="temperature"):
        nt_xent(a, b, 0.0)
    with pytest.raises(ValueError, match="shape"):
        dcl(a, b[:3])
    with pytest.raises(ValueError, match="groups"):
        dcl(a, b, groups=torch.zeros(3))
