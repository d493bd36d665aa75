"""LARS, stochastic gradient descent whose step in each tensor is a fraction of that tensor's norm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lesiondash.errors import TrainingValueError


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017, algorithm 1).

    For each weight tensor w with gradient g: λ = η‖w‖ / (‖g‖ + β‖w‖), v ← m·v + γ·λ·(g + β·w), w ← w − v,
    with the learning rate γ, the trust coefficient η, the weight decay β and the momentum m. λ is 1 where w
    or g is zero. Tensors of fewer than two dimensions (biases, norms) take plain momentum steps at γ ·
    plain_scale, without decay. One step moves a tensor by about γ·η/(1 − m) of its norm: at the paper's γ =
    0.05 that is 0.05 %. Raises `TrainingValueError` for values out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 1e-5,
        trust_coefficient: float = 1e-3,
        plain_scale: float = 1.0,
    ) -> None:
        """Take the tensors to train and the values of the formula above."""
        if lr < 0 or weight_decay < 0 or not 0 <= momentum < 1 or trust_coefficient <= 0 or plain_scale < 0:
            raise TrainingValueError(
                "LARS needs lr, weight_decay, plain_scale >= 0, 0 <= momentum < 1 and trust_coefficient > 0."
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "plain_scale": plain_scale,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; closure, if given, recomputes the loss and its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [weight for weight in group["params"] if weight.grad is not None]
            self._step_layers([weight for weight in moved if weight.ndim >= 2], group)
            self._step_plain([weight for weight in moved if weight.ndim < 2], group)
        return loss

    # All tensors of a kind at once: on a GPU a few kernels in place of several for each of sixty tensors. But for the
    # product with each layer's own rate, a kernel each: as numbers, which torch takes at once, the host would wait.

    def _step_layers(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        if not weights:
            return
        decay, trust = group["weight_decay"], group["trust_coefficient"]
        gradients = _gradients(weights)
        weight_norms, gradient_norms = (torch.stack(torch._foreach_norm(each)) for each in (weights, gradients))
        rates = trust * weight_norms / (gradient_norms + decay * weight_norms)
        # torch.where, not `if`: on a GPU the host need not wait for the norms.
        rates = torch.where((weight_norms > 0) & (gradient_norms > 0), rates, torch.ones_like(rates))
        updates = list(torch._foreach_add(gradients, weights, alpha=decay))
        torch._foreach_mul_(updates, list((group["lr"] * rates).unbind()))
        self._move(weights, updates, group)

    def _step_plain(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        if weights:
            updates = torch._foreach_mul(_gradients(weights), group["lr"] * group["plain_scale"])
            self._move(weights, list(updates), group)

    def _move(self, weights: list[Tensor], updates: list[Tensor], group: dict[str, Any]) -> None:
        for weight in weights:
            if "velocity" not in self.state[weight]:
                self.state[weight]["velocity"] = torch.zeros_like(weight)
        velocities = [self.state[weight]["velocity"] for weight in weights]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates)
        torch._foreach_sub_(weights, velocities)


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]
