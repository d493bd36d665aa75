"""Self-supervised pre-training of the encoder, on crops that nobody has labelled: SimCLR or a VAE, in one loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lesiondash.errors import TrainingError
from lesiondash.learning.augment import augment
from lesiondash.learning.batches import Batches
from lesiondash.learning.dataset import TrainingCrops
from lesiondash.learning.distributed import World
from lesiondash.learning.encoder import Encoder, make_header
from lesiondash.learning.lars import LARS
from lesiondash.learning.losses import dcl, nt_xent, vae_loss
from lesiondash.learning.models import VAE, SimCLR
from lesiondash.learning.monitor import Monitor
from lesiondash.learning.network import EMBEDDING_DIM, bfloat16_is_fast, graphed, warn_if_uncompiled
from lesiondash.learning.runs import Run
from lesiondash.learning.settings import TRUST, PretrainSettings
from lesiondash.learning.statistics import plain_network, resident, sent, settle_statistics

CONTRASTIVE = {"dcl": dcl, "nt_xent": nt_xent}
MODELS: dict[str, type[SimCLR] | type[VAE]] = {"simclr": SimCLR, "vae": VAE}


def pretrain(
    data: TrainingCrops,
    settings: PretrainSettings,
    *,
    run: Run | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    device: torch.device | None = None,
) -> Encoder:
    """Train an encoder without labels.

    SimCLR: two views of a lesion meet and lesions of different patients part. VAE: a view is drawn again from its
    vector. Each step depends on the seed and its number alone, so a run that was cut off resumes to the same weights as
    one that was not, on one machine at one thread count. run: where checkpoint and metrics are kept, and requests to
    pause or stop are read. progress(step, total, loss) is called with steps counted from 1. Started by `torchrun`, each
    process takes its part of one joint batch. Raises `TrainingError` where the loss is no longer a number or a
    checkpoint does not fit, `TrainingStopped` where somebody asked for it. Source: Chen et al. 2020 (SimCLR), Kingma &
    Welling 2014 (VAE), Qi et al. 2023 (network, LARS and schedule).
    """
    world = World.join(device)
    _check(data, settings, world)
    model = MODELS[settings.model](settings.architecture, settings.seed)
    model = model.to(world.device).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(model, settings)
    views = Views(data, settings, world)
    monitor = Monitor(settings, data, run, world, progress, chance=views.chance, views_a_step=views.count)
    start = monitor.restore(model, optimizer)
    shared = graphed(world.share(model), world.device, processes=world.size)
    fast = bfloat16_is_fast(world.device)

    for step in range(start, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate_at(step)
        batch = views.at(step)
        optimizer.zero_grad(set_to_none=True)  # before the forward pass, whose graph takes the gradients' memory
        loss = _loss(shared, batch, views, settings, world, fast)
        torch.autograd.backward(loss)
        optimizer.step()
        if step == start:
            warn_if_uncompiled(shared)
        told = world.mean(loss.detach())
        monitor.after(step + 1, told, batch.pictures, batch.pairs, model, optimizer)

    net = plain_network(model.net, settings.architecture)
    settle_statistics(net, data.hu, data.responses, settings.architecture, settings.seed)
    encoder = Encoder(net, make_header(settings.architecture, **_story(settings, data)), world.device)
    monitor.finish(encoder)
    world.leave()
    return encoder


def _check(data: TrainingCrops, settings: PretrainSettings, world: World) -> None:
    """Raise `TrainingError` where the crops, or the processes, do not go with the settings."""
    if data.hu.shape[1] != settings.architecture.slices or (data.responses is None) != (
        settings.architecture.frangi == "none"
    ):
        raise TrainingError("The crops were cut for another network; cut them with its architecture.")
    for what, count in (("lesions", settings.batch), ("patches", settings.background)):
        if count % world.size:
            raise TrainingError(f"{world.size} processes cannot share {count} {what}; take a multiple of {world.size}.")


class StepViews:
    """What one step sees: views (n, channels, 64, 64) of this process, and the patients (b,) of the joint batch.

    SimCLR's are first views, second views and patches in turn; the VAE's one view of each lesion. pairs: this process's
    lesions.
    """

    def __init__(self, pictures: Tensor, patients: Tensor, pairs: int) -> None:
        self.pictures, self.patients, self.pairs = pictures, patients, pairs


class Views:
    """Draws each step's views, on the device where all crops lie: 18 kB a crop and slice."""

    def __init__(self, data: TrainingCrops, settings: PretrainSettings, world: World) -> None:
        self._settings, self._world = settings, world
        self._lesions = resident(data.hu, data.responses, world.device)
        self._background = resident(data.background, data.background_responses, world.device)
        self._patients = data.patients
        patches = 0 if data.background is None else len(data.background)
        self._batches = Batches(
            data.lesions,
            settings.batch,
            settings.seed,
            background=settings.background,
            patches=patches,
            processes=world.size,
        )
        self._generator = torch.Generator(world.device)
        # Each process draws noise for its own views; alone, from the generator that drew the rest.
        self.noise = self._generator if world.size == 1 else torch.Generator(world.device)

    @property
    def chance(self) -> float:
        """The loss of vectors that tell nothing apart: ln of how many there are to choose from; NaN for the VAE."""
        if self._settings.model == "vae":
            return math.nan
        candidates = self._batches.candidates(self._patients) + (self._settings.loss == "nt_xent")
        return float(np.log(np.maximum(candidates, 1.0)).mean())

    @property
    def count(self) -> int:
        """How many views a step has, of all processes."""
        return (2 if self._settings.model == "simclr" else 1) * self._batches.size + self._batches.background

    def at(self, step: int) -> StepViews:
        """Return the views of a step, counted from 0."""
        batch, world = self._batches.at(step), self._world
        self._generator.manual_seed(step_seed(self._settings.seed, step))
        if world.size > 1:
            self.noise.manual_seed(step_seed(self._settings.seed, step, 1 + world.rank))
        part, extra = world.rows(len(batch.first)), world.rows(len(batch.background))
        simclr = self._settings.model == "simclr"
        sides = [batch.first, batch.second] if simclr else [batch.first]
        rows = sent(np.concatenate([side[part] for side in sides]), world.device)
        crops = [self._lesions[0][rows]]
        responses = None if self._lesions[1] is None else [self._lesions[1][rows]]
        place = [np.arange(len(side))[part] + k * len(side) for k, side in enumerate(sides)]
        total = len(batch.first) * len(sides)
        if simclr and len(batch.background):
            rows = sent(batch.background[extra], world.device)
            crops.append(self._background[0][rows])
            if responses is not None and self._background[1] is not None:
                responses.append(self._background[1][rows])
            place.append(np.arange(len(batch.background))[extra] + total)
            total += len(batch.background)
        views = augment(
            torch.cat(crops),
            self._settings.architecture.windows,
            self._settings.augment,
            self._generator,
            responses=None if responses is None else torch.cat(responses),
            replace=self._settings.architecture.frangi == "replace",
            joint=(total, sent(np.concatenate(place), world.device)),
            noise=self.noise,
        )
        patients = sent(self._patients[batch.first], world.device)
        return StepViews(views.contiguous(memory_format=torch.channels_last), patients, part.stop - part.start)


def _loss(
    model: nn.Module, batch: StepViews, views: Views, settings: PretrainSettings, world: World, fast: bool
) -> Tensor:
    """Return SimCLR's loss of the joint batch, the same in every process, or the VAE's of this process's lesions.

    In bfloat16 runs the network, not the loss.
    """
    half = torch.autocast(world.device.type, dtype=torch.bfloat16, enabled=fast)
    if settings.model == "vae":
        noise = torch.randn(len(batch.pictures), EMBEDDING_DIM, generator=views.noise, device=world.device)
        with half:
            pictures, mean, log_variance = model(batch.pictures, noise)
        return vae_loss(pictures, batch.pictures, mean, log_variance, settings.beta)
    with half:
        projected = model(batch.pictures)
    a, b, negatives = projected.split([batch.pairs, batch.pairs, len(projected) - 2 * batch.pairs])
    return CONTRASTIVE[settings.loss](
        world.gather(a),
        world.gather(b),
        settings.temperature,
        groups=batch.patients,
        negatives=world.gather(negatives) if len(negatives) else None,
    )


def make_optimizer(model: nn.Module, settings: PretrainSettings) -> Optimizer:
    """Return LARS with its trust coefficient of 0.001, or AdamW, as the settings say."""
    if settings.optimiser == "adamw":
        fused = next(model.parameters()).is_cuda or None  # None: as torch chooses
        return torch.optim.AdamW(
            model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=fused
        )
    return LARS(
        model.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        trust_coefficient=TRUST,
        plain_scale=settings.plain_scale,
    )


def step_seed(seed: int, step: int, *stream: int) -> int:
    """Return the seed of a step's views; stream: numbers above 0, of what else is drawn."""
    return int(np.random.SeedSequence([seed, step, *stream]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _story(settings: PretrainSettings, data: TrainingCrops) -> Mapping[str, Any]:
    """Say how the encoder was trained, for its header."""
    counts = {
        "crops": len(data.hu),
        "lesions": len(np.unique(data.lesions)),
        "patients": len(np.unique(data.patients)),
        "fingerprint": data.fingerprint,
    }
    chosen = settings.to_dict()
    chosen.pop("architecture")  # the header has it already
    return {"objective": _objective(settings), "trained_on": {**counts, **dict(data.source)}, **chosen}


def _objective(settings: PretrainSettings) -> str:
    return f"SimCLR, {settings.loss}" if settings.model == "simclr" else f"VAE, β {settings.beta:g}"
