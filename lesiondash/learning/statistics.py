"""Crops as they will be embedded, undistorted: their batch statistics, and their vectors while training goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lesiondash.learning.architecture import Architecture
from lesiondash.learning.augment import augment
from lesiondash.learning.network import LesionNet, build_net
from lesiondash.records import NO_AUGMENTATION

STATISTICS_CROPS = 1024
PART = 128


def plain_views(hu: Tensor, responses: Tensor | None, architecture: Architecture) -> Tensor:
    """Return crops (n, slices, 96, 96) as they will be embedded: the centre, undistorted, (n, channels, 64, 64)."""
    return augment(
        hu,
        architecture.windows,
        NO_AUGMENTATION,
        torch.Generator(hu.device).manual_seed(0),
        responses=responses,
        replace=architecture.frangi == "replace",
    ).contiguous(memory_format=torch.channels_last)


def settle_statistics(
    net: nn.Module, crops: npt.NDArray[Any], filtered: npt.NDArray[Any] | None, architecture: Architecture, seed: int
) -> None:
    """Measure the batch norms' statistics anew with the final weights, on training crops as they will be
    embedded.

    The running averages lag behind weights that move this fast, and saw distorted views (Wu & Johnson 2021,
    section 3).
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    device = next(net.parameters()).device
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    rows = np.random.default_rng(seed).permutation(len(crops))[:STATISTICS_CROPS]
    net.train()
    with torch.inference_mode():
        for part in np.array_split(rows, max(1, len(rows) // PART)):
            hu, responses = resident(crops[part], None if filtered is None else filtered[part], device)
            net(plain_views(hu, responses, architecture))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def resident(
    crops: npt.NDArray[Any] | None, responses: npt.NDArray[Any] | None, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Put crops and responses on a device, all at once; empty where there are none."""
    if crops is None:
        return torch.empty(0, device=device), None
    held = torch.from_numpy(np.ascontiguousarray(crops)).to(device)
    return held, None if responses is None else torch.from_numpy(np.ascontiguousarray(responses)).to(device)


def sent(rows: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Put a few numbers on a device without waiting for it: a copy from pinned memory takes its place in the queue."""
    held = torch.from_numpy(rows)
    return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held


def plain_network(net: nn.Module, architecture: Architecture) -> LesionNet:
    """Return a copy of a network in training, on its device, whose batch norms know of this process alone."""
    copy = build_net(architecture, seed=0)
    copy.load_state_dict(net.state_dict())
    return copy.to(next(net.parameters()).device).to(memory_format=torch.channels_last)


def vectors_now(
    net: LesionNet, hu: npt.NDArray[Any], responses: npt.NDArray[Any] | None, architecture: Architecture
) -> npt.NDArray[np.float32]:
    """Embed crops (n, slices, 96, 96) by their own batch statistics: (n, 512) float32; for a `plain_network`."""
    device = next(net.parameters()).device
    net.train()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(hu), PART):
            part = slice(start, start + PART)
            held = resident(hu[part], None if responses is None else responses[part], device)
            parts.append(net(plain_views(*held, architecture)).float().cpu().numpy())
    return np.concatenate(parts)
