from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lesiondash.learning.lars import LARS


def slow_lars(
    weights: list[np.ndarray],
    gradients: list[list[np.ndarray]],
    *,
    lr: float,
    momentum: float,
    decay: float,
    trust: float,
    plain_scale: float,
) -> list[np.ndarray]:
    """Algorithm 1 of You et al. 2017, written out in float64."""
    weights = [w.astype(np.float64) for w in weights]
    velocity = [np.zeros_like(w) for w in weights]
    for step in gradients:
        for k, g in enumerate(step):
            w = weights[k]
            if w.ndim < 2:
                velocity[k] = momentum * velocity[k] + lr * plain_scale * g
            else:
                norm_w, norm_g = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
                local = trust * norm_w / (norm_g + decay * norm_w) if norm_w > 0 and norm_g > 0 else 1.0
                velocity[k] = momentum * velocity[k] + lr * local * (g + decay * w)
            weights[k] = w - velocity[k]
    return weights


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize("plain_scale", [1.0, 0.05])
def test_steps_equal_the_algorithm(momentum: float, decay: float, plain_scale: float) -> None:
    random = np.random.default_rng(0)
    shapes = [(4, 3), (2, 3, 3, 3), (5,), (1,)]
    start = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    gradients = [[random.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(5)]
    parameters = [nn.Parameter(torch.from_numpy(w.copy())) for w in start]
    optimizer = LARS(
        parameters,
        lr=2.0,
        momentum=momentum,
        weight_decay=decay,
        trust_coefficient=0.01,
        plain_scale=plain_scale,
    )
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
    expected = slow_lars(start, gradients, lr=2.0, momentum=momentum, decay=decay, trust=0.01, plain_scale=plain_scale)
    for parameter, reference in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), reference, rtol=2e-4, atol=1e-6)


def test_step_in_a_matrix_does_not_depend_on_the_size_of_its_gradient() -> None:
    moved = []
    for factor in (1.0, 1000.0):
        weight = nn.Parameter(torch.eye(3))
        weight.grad = factor * torch.ones(3, 3)
        LARS([weight], lr=1.0, weight_decay=0.0).step()
        moved.append(weight.detach() - torch.eye(3))
    torch.testing.assert_close(moved[0], moved[1])
    assert float(moved[0].norm()) == pytest.approx(1e-3 * 3**0.5, rel=1e-4)  # trust × ‖w‖


def test_learning_rate_of_the_paper_hardly_moves_a_weight() -> None:
    weight = nn.Parameter(torch.eye(8))
    optimizer = LARS([weight], lr=0.05, weight_decay=1e-5)
    for _ in range(100):
        weight.grad = torch.ones(8, 8)
        optimizer.step()
    assert 0.01 < float((weight.detach() - torch.eye(8)).norm() / torch.eye(8).norm()) < 0.06


def test_zero_weights_and_zero_gradients_stay_finite() -> None:
    zero_weight, zero_gradient = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2, 2))
    zero_weight.grad, zero_gradient.grad = torch.ones(2, 2), torch.zeros(2, 2)
    LARS([zero_weight, zero_gradient], lr=0.1, weight_decay=0.0).step()
    torch.testing.assert_close(zero_weight.detach(), torch.full((2, 2), -0.1))
    torch.testing.assert_close(zero_gradient.detach(), torch.ones(2, 2))


def test_tensors_without_gradient_are_left_alone() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    LARS([weight], lr=1.0).step()
    assert torch.equal(weight.detach(), torch.ones(2, 2))


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"lr": 1.0, "momentum": 1.0}, {"lr": 1.0, "trust_coefficient": 0.0}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="LARS needs"):
        LARS([nn.Parameter(torch.ones(1))], **wrong)


@pytest.mark.parametrize("decay", [1e-9, 1e-5, 1e-2])
def test_steps_are_lightlys(decay: float) -> None:
    from lightly.utils.lars import LARS as Lightlys

    generator = torch.Generator().manual_seed(0)
    ours, theirs = (nn.Parameter(torch.randn(6, 5, generator=generator.manual_seed(1))) for _ in range(2))
    our_bias, their_bias = (nn.Parameter(torch.randn(6, generator=generator.manual_seed(2))) for _ in range(2))
    mine = LARS([ours, our_bias], lr=0.7, momentum=0.9, weight_decay=decay)
    peer = Lightlys(
        [
            {"params": [theirs], "weight_decay": decay},
            {"params": [their_bias], "weight_decay": 0.0},
        ],
        lr=0.7,
        momentum=0.9,
        trust_coefficient=1e-3,
        eps=0.0,
    )
    for _ in range(12):
        gradient, slope = torch.randn(6, 5, generator=generator), torch.randn(6, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        our_bias.grad, their_bias.grad = slope.clone(), slope.clone()
        mine.step()
        peer.step()
    torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-6)
    # lightly's leaves a tensor without decay out of the scaling, as ours does biases
    torch.testing.assert_close(our_bias, their_bias, atol=1e-5, rtol=1e-6)
