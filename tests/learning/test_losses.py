from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lesiondash.errors import TrainingError
from lesiondash.learning.losses import dcl, nt_xent, supcon, triplet, vae_loss

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
    for temperature in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(TrainingError, match="temperature"):
            nt_xent(a, b, temperature)
    for margin in (-0.1, math.nan, math.inf):
        with pytest.raises(TrainingError, match="margin"):
            triplet(a, b, a, margin)
    with pytest.raises(ValueError, match="shape"):
        dcl(a, b[:3])
    with pytest.raises(ValueError, match="groups"):
        dcl(a, b, groups=torch.zeros(3))


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_nt_xent_is_lightlys(n: int, d: int, temperature: float) -> None:
    from lightly.loss import NTXentLoss

    a, b = random_views(n, d)
    assert float(nt_xent(a, b, temperature)) == pytest.approx(float(NTXentLoss(temperature)(a, b)), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_dcl_is_lightlys(n: int, d: int, temperature: float) -> None:
    from lightly.loss import DCLLoss

    a, b = random_views(n, d)
    expected = float(DCLLoss(temperature)(a, b))
    assert float(dcl(a, b, temperature)) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("loss", "keeps_positive"), [(nt_xent, True), (dcl, False)])
def test_further_negatives_join_the_sum(loss: Any, keeps_positive: bool) -> None:
    a, b = random_views(4, 6)
    extra = torch.randn(3, 6, generator=torch.Generator().manual_seed(9))
    views = torch.cat([a, b])

    def cosine(u: Tensor, v: Tensor) -> float:
        return float(torch.nn.functional.cosine_similarity(u, v, dim=0)) / 0.3

    total = 0.0
    for k, view in enumerate(views):
        positive = cosine(view, views[(k + 4) % 8])
        others = [cosine(view, other) for j, other in enumerate(views) if j % 4 != k % 4]
        others += [cosine(view, other) for other in extra] + [positive] * keeps_positive
        total += math.log(sum(map(math.exp, others))) - positive
    assert float(loss(a, b, 0.3, negatives=extra)) == pytest.approx(total / 8, rel=1e-5)


def slow_triplet(a: Tensor, p: Tensor, n: Tensor, margin: float) -> float:
    def distance(u: Tensor, v: Tensor) -> float:
        return 1 - float(u @ v / u.norm() / v.norm())

    return sum(
        0.5 * max(0.0, margin + distance(*ap) - distance(ap[0], q)) for *ap, q in zip(a, p, n, strict=True)
    ) / len(a)


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.8, 2.0])
def test_triplet_is_the_printed_sum_and_the_librarys(margin: float) -> None:
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.reducers import MeanReducer

    a, p = random_views(6, 5)
    n = random_views(6, 5, seed=4)[0]
    assert float(triplet(a, p, n, margin)) == pytest.approx(slow_triplet(a, p, n, margin), rel=1e-5, abs=1e-7)
    rows = torch.arange(6)
    library = TripletMarginLoss(margin=margin, distance=CosineSimilarity(), reducer=MeanReducer())
    indices = (rows, rows + 6, rows + 12)
    expected = float(library(torch.cat([a, p, n]), torch.arange(18), indices)) / 2
    assert float(triplet(a, p, n, margin)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_triplet_step_brings_positives_nearer_and_negatives_away() -> None:
    a, p = random_views(6, 5)
    n = random_views(6, 5, seed=4)[0]
    a.requires_grad_(True)
    triplet(a, p, n).backward()
    assert a.grad is not None
    moved = (a - 0.1 * a.grad).detach()
    cosine = torch.nn.functional.cosine_similarity
    assert float(cosine(moved, p).mean()) > float(cosine(a.detach(), p).mean())
    assert float(cosine(moved, n).mean()) < float(cosine(a.detach(), n).mean())


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_supcon_is_the_printed_sum_and_the_librarys(temperature: float) -> None:
    from pytorch_metric_learning.losses import SupConLoss

    z = torch.randn(9, 6, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 2, 0, 3])  # the last has no positive
    unit = z / z.norm(dim=1, keepdim=True)
    total, counted = 0.0, 0
    for i in range(9):
        positives = [j for j in range(9) if j != i and labels[j] == labels[i]]
        if positives:
            log_sum = math.log(sum(math.exp(float(unit[i] @ unit[j]) / temperature) for j in range(9) if j != i))
            total += sum(log_sum - float(unit[i] @ unit[j]) / temperature for j in positives) / len(positives)
            counted += 1
    value = float(supcon(z, labels, temperature))
    assert value == pytest.approx(total / counted, rel=1e-4)
    assert value == pytest.approx(float(SupConLoss(temperature)(z, labels)), rel=1e-4)


def test_supcon_of_two_views_is_nt_xent() -> None:
    a, b = random_views(5, 4)
    value = float(supcon(torch.cat([a, b]), torch.arange(5).repeat(2), 0.4))
    assert value == pytest.approx(float(nt_xent(a, b, 0.4)), rel=1e-5)


def test_supcon_without_any_positive_teaches_nothing() -> None:
    z = torch.randn(4, 3, requires_grad=True)
    loss = supcon(z, torch.arange(4))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(z.grad).all()  # type: ignore[arg-type]


def test_vae_loss_is_the_negative_evidence_bound() -> None:
    generator = torch.Generator().manual_seed(0)
    images, pictures = torch.rand(3, 2, 4, 4, generator=generator), torch.rand(3, 2, 4, 4, generator=generator)
    mean, log_variance = torch.randn(3, 5, generator=generator), torch.randn(3, 5, generator=generator)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    prior = torch.distributions.Normal(torch.zeros(5), torch.ones(5))
    divergence = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    error = 0.5 * (images - pictures).square().flatten(1).sum(dim=1)
    expected = float((error + 0.3 * divergence).mean())
    assert float(vae_loss(pictures, images, mean, log_variance, 0.3)) == pytest.approx(expected, rel=1e-5)


def test_wrong_shapes_are_refused() -> None:
    a, b = random_views(4, 8)
    with pytest.raises(ValueError, match="Triplets"):
        triplet(a, b, a[:3])
    with pytest.raises(ValueError, match="labels"):
        supcon(a, torch.arange(3))
    with pytest.raises(ValueError, match="negatives"):
        nt_xent(a, b, negatives=torch.zeros(2, 7))


LABELS = torch.tensor([0, 0, 1, 1, 0, 2])
EVERY_LOSS: dict[str, Any] = {
    "nt_xent": lambda a, b: nt_xent(a, b, temperature=0.1),
    "dcl": lambda a, b: dcl(a, b, temperature=0.1),
    "triplet": lambda a, b: triplet(a, b, a.flip(0), margin=0.3),
    "supcon": lambda a, b: supcon(a + b, LABELS[: len(a)], temperature=0.1),
}


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    a, b = (view.double().requires_grad_() for view in random_views(6, 5))
    assert EVERY_LOSS[name](a, b).dtype == torch.float64
    assert torch.autograd.gradcheck(EVERY_LOSS[name], (a, b))


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_half_precision_around_a_loss_does_not_reach_into_it(name: str) -> None:
    a, b = random_views(6, 16)
    alone = EVERY_LOSS[name](a, b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        around = EVERY_LOSS[name](a, b)
    assert around.dtype == torch.float32
    assert float(around) == pytest.approx(float(alone), rel=1e-6)


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_a_batch_of_nothing_and_vectors_of_nothing_have_numbers(name: str) -> None:
    assert float(EVERY_LOSS[name](torch.zeros(0, 4), torch.zeros(0, 4))) == 0.0
    a, b = random_views(6, 4)
    a.mul_(torch.tensor([0.0, 1, 1, 1, 1, 1])[:, None]).requires_grad_()
    loss = EVERY_LOSS[name](a, b)
    loss.backward()
    assert a.grad is not None
    assert math.isfinite(float(loss.detach()))
    assert torch.isfinite(a.grad).all()
