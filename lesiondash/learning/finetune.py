"""Fine-tuning for retrieval: a few steps with labels, so that lesions of one type come nearer (Qi et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lesiondash.errors import TrainingError
from lesiondash.learning.architecture import Head
from lesiondash.learning.augment import augment
from lesiondash.learning.dataset import LabelledCrops
from lesiondash.learning.encoder import Encoder, make_header
from lesiondash.learning.losses import supcon, triplet
from lesiondash.learning.network import EMBEDDING_DIM, LesionNet, bfloat16_is_fast, seeded
from lesiondash.learning.pretrain import step_seed
from lesiondash.learning.settings import check_seed
from lesiondash.learning.statistics import resident, settle_statistics
from lesiondash.records import DEFAULT_AUGMENTATION, AugmentSettings

Objective = Literal["triplet", "supcon"]
Mining = Literal["semi-hard", "random"]
BALANCE = 3
"""Of the seed's random streams, the one that draws batches."""


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of `finetune`, the paper's by default: SGD 0.01, momentum 0.9, 50 iterations, half a cosine, margin 0.8.

    classes × lesions: of each batch, so many lesions of so many types, drawn alike. mining: of triplets, the nearest
    negative that is farther than the positive but within the margin, or any. head: what is put on the pooled vector
    where the encoder has none; "linear" begins as the identity, "sigmoid" is the paper's. temperature is that of
    supcon.
    """

    objective: Objective = "triplet"
    steps: int = 50
    classes: int = 8
    lesions: int = 8
    learning_rate: float = 0.01
    momentum: float = 0.9
    margin: float = 0.8
    mining: Mining = "semi-hard"
    temperature: float = 0.1
    head: Head = "none"
    seed: int = 0
    augment: AugmentSettings = DEFAULT_AUGMENTATION

    def __post_init__(self) -> None:
        for name, kind in (("objective", Objective), ("mining", Mining), ("head", Head)):
            if getattr(self, name) not in get_args(kind):
                raise TrainingError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(get_args(kind))}.")
        if self.steps < 1 or self.classes < 2 or self.lesions < 2:
            raise TrainingError("Fine-tuning takes a step or more, two types or more and two lesions of each or more.")
        check_seed(self.seed)
        for name in ("learning_rate", "margin", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise TrainingError(f"{name} is {getattr(self, name)}; it has to be a number above 0.")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))


def finetune(
    encoder: Encoder,
    data: LabelledCrops,
    settings: FinetuneSettings = FinetuneSettings(),
    *,
    progress: Callable[[int, int, float], None] | None = None,
) -> Encoder:
    """Train an encoder further so that lesions of one type meet and those of others part; the one given stays as it is.

    progress(step, total, loss) counts from 1. Raises `TrainingError` where fewer than two types have two lesions, or
    the loss is no longer a number. Source: Qi et al. 2023, eq. 3, read as `losses.triplet` says; Khosla et al. 2020.
    """
    architecture = encoder.architecture
    if settings.head != "none" and architecture.head == "none":
        architecture = replace(architecture, head=settings.head)
    net = _with_head(encoder, architecture.head, settings.seed)
    device = next(net.parameters()).device
    hu, responses = resident(data.hu, data.responses, device)
    generator, fast = torch.Generator(device), bfloat16_is_fast(device)
    optimizer = torch.optim.SGD(net.parameters(), settings.learning_rate, momentum=settings.momentum)
    net.train()
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate_at(step)
        drawn = balanced_rows(data.labels, settings.classes, settings.lesions, [settings.seed, BALANCE, step])
        rows = torch.from_numpy(drawn).to(device)
        generator.manual_seed(step_seed(settings.seed, step))
        views = augment(
            hu[rows],
            architecture.windows,
            settings.augment,
            generator,
            responses=None if responses is None else responses[rows],
            replace=architecture.frangi == "replace",
        )
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
            vectors = net(views.contiguous(memory_format=torch.channels_last))
        loss = _loss(vectors, torch.from_numpy(data.labels[drawn]).to(device), settings, generator)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"Fine-tuning broke down at step {step + 1}: the loss is no number. Lower the rate.")
        if progress is not None:
            progress(step + 1, settings.steps, value)
    settle_statistics(net, data.hu, data.responses, architecture, settings.seed)
    story = {**encoder.header["training"], "finetuned": asdict(settings)}
    return Encoder(net, make_header(architecture, **story), device)


def balanced_rows(labels: npt.NDArray[np.int64], classes: int, each: int, seed: list[int]) -> npt.NDArray[np.int64]:
    """Draw a batch with the same number of rows of each of up to `classes` labels that have two rows or more.

    labels: (n,). Returns (k,) rows, those of one label beside each other. Raises `TrainingError` where fewer than two
    labels have two rows.
    """
    random = np.random.default_rng(seed)
    values, counts = np.unique(labels, return_counts=True)
    usable = values[counts >= 2]
    if len(usable) < 2:
        raise TrainingError("Fine-tuning needs two lesions or more of two types or more.")
    chosen = random.permutation(usable)[:classes]
    parts = []
    for label in chosen:
        rows = np.flatnonzero(labels == label)
        parts.append(random.choice(rows, each, replace=len(rows) < each))
    return np.concatenate(parts).astype(np.int64)


def mine(
    vectors: Tensor, labels: Tensor, margin: float, mining: Mining, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose a negative for every pair of one label: rows (k,) of anchors, positives and negatives.

    vectors: (n, d), normalised here; labels: (n,). "semi-hard": the nearest of another label that is farther than the
    positive, within the margin (Schroff et al. 2015, section 3.2); where there is none, and for "random", any of
    another label.
    """
    z = F.normalize(vectors.detach().float(), dim=1)
    distance = 1.0 - z @ z.T
    same = labels[:, None] == labels[None, :]
    anchors, positives = torch.nonzero(same & ~torch.eye(len(z), dtype=torch.bool, device=z.device), as_tuple=True)
    other = ~same[anchors]  # (k, n)
    keep = other.any(dim=1)
    anchors, positives, other = anchors[keep], positives[keep], other[keep]
    chance = torch.rand(other.shape, generator=generator, device=z.device).masked_fill(~other, -1.0)
    negatives = chance.argmax(dim=1)
    if mining == "semi-hard" and len(anchors):
        near = distance[anchors, positives][:, None]
        to_all = distance[anchors]
        fits = other & (to_all > near) & (to_all < near + margin)
        nearest = to_all.masked_fill(~fits, torch.inf).argmin(dim=1)
        negatives = torch.where(fits.any(dim=1), nearest, negatives)
    return anchors, positives, negatives


def _loss(vectors: Tensor, labels: Tensor, settings: FinetuneSettings, generator: torch.Generator) -> Tensor:
    if settings.objective == "supcon":
        return supcon(vectors, labels, settings.temperature)
    anchors, positives, negatives = mine(vectors, labels, settings.margin, settings.mining, generator)
    return triplet(vectors[anchors], vectors[positives], vectors[negatives], settings.margin)


def _with_head(encoder: Encoder, head: Head, seed: int) -> LesionNet:
    """Return a copy of the network with a head where it has none."""
    net = encoder.network()
    if head == encoder.architecture.head:
        return net
    with seeded(seed):
        linear = nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM)
    if head == "linear":
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    net.head = (linear if head == "linear" else nn.Sequential(linear, nn.Sigmoid())).to(next(net.parameters()).device)
    return net
