"""How a training goes: what is trained, for how long, how fast; said in full by its run folder and its encoder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from lesiondash.errors import TrainingError
from lesiondash.learning.architecture import DEFAULT_ARCHITECTURE, Architecture
from lesiondash.records import DEFAULT_AUGMENTATION, AugmentSettings

Model = Literal["simclr", "vae"]
Loss = Literal["dcl", "nt_xent"]
Optimiser = Literal["lars", "adamw"]
Scaling = Literal["none", "sqrt", "linear"]

RATE_BATCH = 64
"""The batch that a learning rate is given for, where it is scaled with the batch."""
TRUST = 1e-3
MOMENTUM = 0.9
ENOUGH_MOVEMENT = 0.5
SEEDS = 2**63


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of `pretrain`.

    batch counts lesions, each seen in two views by SimCLR, in one by the VAE. learning_rate is that of a batch of 64,
    scaled with the batch as scaling says; it is reached after warmup × steps and followed by half a cosine to 0.
    plain_scale × it is the rate of biases and norms under LARS. The paper's learning rate of 0.05 is for 1000 epochs:
    in a hundred steps it moves no weight, hence the larger one. background: patches without a lesion a batch, further
    negatives. neighbours: how many slices on each side show a lesion too. follow_ups: likely annotations of one lesion
    in other studies are one lesion. beta: weight of the VAE's divergence. Raises `TrainingError` for values that make
    no training.
    """

    model: Model = "simclr"
    architecture: Architecture = DEFAULT_ARCHITECTURE
    steps: int = 110
    batch: int = 64
    optimiser: Optimiser = "lars"
    learning_rate: float = 3.0
    scaling: Scaling = "sqrt"
    plain_scale: float = 0.02
    momentum: float = MOMENTUM
    weight_decay: float = 1e-5
    warmup: float = 0.1
    loss: Loss = "dcl"
    temperature: float = 0.1
    background: int = 0
    neighbours: int = 1
    follow_ups: bool = False
    beta: float = 0.05
    seed: int = 0
    augment: AugmentSettings = DEFAULT_AUGMENTATION

    def __post_init__(self) -> None:
        if self.model == "vae" and self.architecture.head == "none":  # the linear layer that makes the posterior's mean
            object.__setattr__(self, "architecture", replace(self.architecture, head="linear"))
        for name, kind in (("model", Model), ("loss", Loss), ("optimiser", Optimiser), ("scaling", Scaling)):
            if getattr(self, name) not in get_args(kind):
                raise TrainingError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(get_args(kind))}.")
        check_seed(self.seed)
        if self.model == "vae" and self.architecture.head != "linear":
            raise TrainingError(f"The VAE's vector is its linear head's; head {self.architecture.head!r} cannot be it.")
        if self.model == "vae" and self.background:
            raise TrainingError("background is SimCLR's, as further negatives; the VAE has none: leave it at 0.")
        if self.steps < 1 or self.batch < 2 or self.background < 0:
            raise TrainingError(
                f"{self.steps} steps of {self.batch} lesions make no training; take 1 or more, of 2 lesions or more."
            )
        for name in ("learning_rate", "temperature"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise TrainingError(f"{name} is {getattr(self, name)!r}; give a number above 0.")
        for name in ("plain_scale", "weight_decay", "beta", "neighbours"):
            if not 0 <= getattr(self, name) < math.inf:
                raise TrainingError(f"{name} is {getattr(self, name)!r}; give a number of 0 or more.")
        if not 0 <= self.momentum < 1 or not 0 <= self.warmup <= 1:
            raise TrainingError(
                f"momentum is {self.momentum!r} and warmup {self.warmup!r}; give shares from 0 to 1, momentum below 1."
            )

    @property
    def peak_rate(self) -> float:
        """The largest learning rate, scaled with the batch."""
        power = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[self.scaling]
        return float(self.learning_rate * (self.batch / RATE_BATCH) ** power)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: linear warm-up, then half a cosine (Chen et al. 2020)."""
        warm = max(1, round(self.warmup * self.steps))
        if step < warm:
            return self.peak_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.steps - warm)
        return self.peak_rate * 0.5 * (1.0 + math.cos(math.pi * done))

    @property
    def movement(self) -> float:
        """How far LARS can move a weight tensor, in its norm: Σ rate · η / (1 − m), were all steps in one direction."""
        warm = max(1, round(self.warmup * self.steps))
        falling = self.steps - warm
        rates = (warm + 1) / 2 + ((falling + 1) / 2 if falling else 0.0)  # Σ of `rate_at`: a ramp, and half a cosine
        return self.peak_rate * rates * TRUST / (1.0 - self.momentum)

    @property
    def warning(self) -> str:
        """What is wrong with the schedule, with its numbers, or nothing."""
        if self.optimiser != "lars" or self.movement >= ENOUGH_MOVEMENT:
            return ""
        return (
            f"This schedule hardly moves the weights: {self.steps} steps of LARS up to a rate of {self.peak_rate:.3g} "
            f"can change a layer by {self.movement:.2g} of its norm at most. "
            f"Train longer, or raise the rate to about {self.learning_rate / self.movement:.2g}."
        )

    @property
    def title(self) -> str:
        """The training in a few words, such as "simclr-gem-frangi-channel"."""
        filtered = "" if self.architecture.frangi == "none" else f"-frangi-{self.architecture.frangi}"
        return f"{self.model}-{self.architecture.pool}{filtered}"

    @property
    def digest(self) -> str:
        """Eight digits that change with any setting."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON keeps them."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PretrainSettings:
        """Return the settings that `to_dict` described; raises `TrainingError` for anything else."""
        known = dict(values)
        try:
            known["architecture"] = Architecture.from_dict(known["architecture"])
            known["augment"] = AugmentSettings(**known["augment"])
            return cls(**known)
        except (TypeError, KeyError, AttributeError) as error:
            raise TrainingError(f"The settings of the training cannot be read ({error}).") from error


def check_seed(seed: int) -> None:
    """Raise `TrainingError` for a seed that no generator takes."""
    if not 0 <= seed < SEEDS:
        raise TrainingError(f"seed is {seed!r}; give a whole number from 0 to below 2⁶³.")


def settings_of(model: Model, **values: Any) -> PretrainSettings:
    """Return a model's settings: for the VAE AdamW at a rate that suits it, unless `values` say otherwise."""
    own: dict[str, Any] = {}
    if model == "vae":
        own = {"optimiser": "adamw", "learning_rate": 1e-3, "scaling": "none"}
    return PretrainSettings(model=model, **{**own, **values})
