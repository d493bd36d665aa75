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
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step_tensor(weight, group)
        return loss

    def _step_tensor(self, weight: Tensor, group: dict[str, Any]) -> None:
        gradient = weight.grad
        assert gradient is not None
        if weight.ndim < 2:
            update = gradient * (group["lr"] * group["plain_scale"])
        else:
            decay, trust = group["weight_decay"], group["trust_coefficient"]
            weight_norm, gradient_norm = weight.norm(), gradient.norm()
            rate = trust * weight_norm / (gradient_norm + decay * weight_norm)
            # torch.where, not `if`: on a GPU the host need not wait for the norms.
            rate = torch.where((weight_norm > 0) & (gradient_norm > 0), rate, torch.ones_like(rate))
            update = (gradient + decay * weight) * (group["lr"] * rate)
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight)
        velocity = state["velocity"]
        velocity.mul_(group["momentum"]).add_(update)
        weight.sub_(velocity)
