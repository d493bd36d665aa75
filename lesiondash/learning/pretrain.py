"""Self-supervised pre-training of the encoder: SimCLR with LARS on crops that nobody has labelled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lesiondash.errors import EncoderError
from lesiondash.learning.augment import (
    DEFAULT_AUGMENTATION,
    MARGIN_PX,
    NO_AUGMENTATION,
    AugmentSettings,
    augment,
)
from lesiondash.learning.encoder import (
    DEFAULT_WINDOWS,
    EMBEDDING_DIM,
    Encoder,
    LesionNet,
    Windows,
    best_device,
    build_net,
    check_windows,
    make_header,
)
from lesiondash.learning.lars import LARS
from lesiondash.learning.losses import dcl, nt_xent

PROJECTION_DIM = 128
STATISTICS_CROPS = 1024
REPORT_EVERY_CUDA = 20
OBJECTIVES = {"dcl": dcl, "nt_xent": nt_xent}


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of `pretrain`.

    batch counts lesions, each seen in two views. learning_rate is the peak of LARS (trust coefficient 0.001),
    reached after warmup × steps and followed by half a cosine to 0; plain_scale × it is the rate of biases
    and norms. The paper's learning rate of 0.05 is for 1000 epochs: in a hundred steps it moves no weight,
    hence the larger one.
    """

    steps: int = 110
    batch: int = 64
    learning_rate: float = 3.0
    plain_scale: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-5
    warmup: float = 0.1
    loss: Literal["dcl", "nt_xent"] = "dcl"
    temperature: float = 0.1
    seed: int = 0
    windows: Windows = DEFAULT_WINDOWS
    augment: AugmentSettings = DEFAULT_AUGMENTATION

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: linear warm-up, then half a cosine (Chen et al.
        2020).
        """
        warm = max(1, round(self.warmup * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.steps - warm)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def pretrain(
    crops: npt.NDArray[np.int16],
    groups: npt.NDArray[Any],
    settings: PretrainSettings,
    *,
    trained_on: Mapping[str, Any],
    lesions: npt.NDArray[Any] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Encoder:
    """Train an encoder so that two views of a lesion meet and lesions of different patients part.

    crops: (n, 96, 96) int16 HU, cut with 1.5 × the view's field; groups: (n,) patient of each crop, whose
    other lesions are left out of the negatives; lesions: (n,) lesion of each crop, where several slices show
    one (the two views are then drawn from any two of them); trained_on goes into the header as it is;
    progress(step, total, loss) is called with steps counted from 1. The same seed gives the same weights on
    one machine at one thread count. Raises `EncoderError` for crops of another shape, fewer than two
    patients, or a loss that is no longer a number. Source: Chen et al. 2020 (SimCLR), Qi et al. 2023
    (network, LARS and schedule).
    """
    windows = check_windows(settings.windows)
    patients, items = _checked(crops, groups, lesions)
    device = best_device()
    net, head = build_net(len(windows), settings.seed), _projection_head(settings.seed)
    model = nn.Sequential(net, head).to(device).to(memory_format=torch.channels_last).train()
    optimizer = _optimizer(model, settings)
    objective = OBJECTIVES[settings.loss]
    generator = torch.Generator(device).manual_seed(settings.seed)
    pixels = torch.from_numpy(np.ascontiguousarray(crops)).to(device)  # all of them: 18 kB a crop
    pairs = _Pairs(items, settings.batch, settings.seed)
    fast = _bfloat16_is_fast(device)

    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate_at(step)
        first, second = pairs.draw()  # (batch,) rows of two crops of each lesion
        rows = torch.cat([first, second]).to(device)
        views = augment(pixels[rows], windows, settings.augment, generator)  # (2·batch, c, 64, 64)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
            vectors: Tensor = net(views.contiguous(memory_format=torch.channels_last))
        a, b = head(vectors.float()).chunk(2)  # (batch, 128) each; young vectors differ in their third digit
        loss = objective(a, b, settings.temperature, groups=patients[first].to(device))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        _report(progress, step + 1, settings.steps, loss.detach())

    _settle_statistics(net, pixels, windows, settings.seed)
    counts = {"crops": len(crops), "lesions": int(items.max()) + 1, "patients": int(patients.max()) + 1}
    return Encoder(net, make_header(windows, **_story(settings, trained_on, counts)), device)


class _Pairs:
    """Rows of two crops of each lesion, without repeating a lesion before all have been seen."""

    def __init__(self, items: npt.NDArray[np.int64], batch: int, seed: int) -> None:
        order = np.argsort(items, kind="stable")
        self._rows = np.split(order, np.flatnonzero(np.diff(items[order])) + 1)
        self._batch = min(batch, len(self._rows))
        self._random = np.random.default_rng(seed)
        self._queue = np.empty(0, np.int64)

    def draw(self) -> tuple[Tensor, Tensor]:
        if len(self._queue) < self._batch:
            self._queue = self._random.permutation(len(self._rows))
        chosen, self._queue = self._queue[: self._batch], self._queue[self._batch :]
        drawn = np.empty((2, self._batch), np.int64)
        for column, item in enumerate(chosen):
            rows = self._rows[item]
            drawn[:, column] = self._random.choice(rows, 2, replace=len(rows) < 2)
        first, second = torch.from_numpy(drawn)
        return first, second


def _checked(
    crops: npt.NDArray[np.int16], groups: npt.NDArray[Any], lesions: npt.NDArray[Any] | None
) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Return patients (n,) and lesions (n,), each numbered from 0."""
    if crops.ndim != 3 or crops.shape[1:] != (MARGIN_PX, MARGIN_PX) or crops.dtype != np.int16:
        raise EncoderError(
            f"Pre-training takes int16 crops (n, {MARGIN_PX}, {MARGIN_PX}) in HU; "
            f"these are {crops.dtype} {crops.shape}."
        )
    items = np.arange(len(crops)) if lesions is None else np.asarray(lesions)
    if np.shape(groups) != (len(crops),) or items.shape != (len(crops),):
        raise EncoderError(f"There are {len(crops)} crops; give one patient, and one lesion, for each of them.")
    patients = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(crops) == 0 or patients.max() < 1:
        raise EncoderError("Pre-training needs lesions of at least two patients; prepare a larger collection.")
    return torch.from_numpy(patients), np.unique(items, return_inverse=True)[1].astype(np.int64)


def _optimizer(model: nn.Module, settings: PretrainSettings) -> LARS:
    return LARS(
        model.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        plain_scale=settings.plain_scale,
    )


def _projection_head(seed: int) -> nn.Module:
    """Build SimCLR's head, which is dropped after training: d → d → 128."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return nn.Sequential(
            nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM, bias=False),
            nn.BatchNorm1d(EMBEDDING_DIM),
            nn.ReLU(inplace=True),
            nn.Linear(EMBEDDING_DIM, PROJECTION_DIM, bias=False),
        )


def _bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public name up to torch 2.15
    return supported is not None and bool(supported())


def _settle_statistics(net: LesionNet, pixels: Tensor, windows: Windows, seed: int) -> None:
    """Measure the batch norms' statistics anew with the final weights, on training crops as they will be
    embedded.

    The running averages lag behind weights that move this fast, and saw distorted views (Wu & Johnson 2021,
    section 3).
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    generator = torch.Generator(pixels.device).manual_seed(seed)
    rows = np.random.default_rng(seed).permutation(len(pixels))[:STATISTICS_CROPS]
    net.train()
    with torch.inference_mode():
        for part in np.array_split(rows, max(1, len(rows) // 128)):
            views = augment(pixels[torch.from_numpy(part)], windows, NO_AUGMENTATION, generator)
            net(views.contiguous(memory_format=torch.channels_last))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _report(progress: Callable[[int, int, float], None] | None, step: int, steps: int, loss_tensor: Tensor) -> None:
    if loss_tensor.is_cuda and step % REPORT_EVERY_CUDA and step != steps:
        return  # reading the loss makes the host wait for the GPU
    loss = float(loss_tensor)
    if not math.isfinite(loss):
        raise EncoderError(
            f"Training broke down at step {step} of {steps}: the loss is no number. Lower the learning rate."
        )
    if progress is not None:
        progress(step, steps, loss)


def _story(settings: PretrainSettings, trained_on: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, Any]:
    """Say how the encoder was trained, for its header."""
    chosen = asdict(settings)
    chosen.pop("windows")  # the header has them already
    return {
        "objective": f"SimCLR, {settings.loss}",
        "optimizer": "LARS, cosine schedule with warm-up",
        "trained_on": {**counts, **trained_on},
        **chosen,
    }
