"""What an encoder sees and how it is built: a small record that its file keeps, and that training begins from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from lesiondash.errors import EncoderError
from lesiondash.frangi.presets import preset
from lesiondash.records import WINDOWS, FrangiParams, Window

Windows = tuple[tuple[float, float], ...]
"""(low, high) pairs in HU."""
FrangiUse = Literal["none", "replace", "channel"]
Stem = Literal["imagenet", "pool", "cifar"]
Pool = Literal["gem", "average"]
Head = Literal["none", "linear", "sigmoid"]

DEFAULT_WINDOWS: Windows = ((-160.0, 240.0), (-1350.0, 150.0), (-500.0, 1300.0))
"""Soft tissue, lung and bone, in HU."""
PAPER_FILTER, SOFT_TISSUE = preset("paper"), WINDOWS["soft tissue"]
SLICE_COUNTS = (1, 3, 9)


def check_windows(windows: Sequence[Sequence[float]]) -> Windows:
    """Return windows as (low, high) pairs of floats; raises `EncoderError` unless each is finite and low < high."""
    try:
        checked = tuple((float(low), float(high)) for low, high in windows)
    except (TypeError, ValueError) as error:
        raise EncoderError(f"The windows {windows!r} are not pairs of numbers; give (low, high) in HU.") from error
    if not checked:
        raise EncoderError("An encoder needs at least one window; give (low, high) pairs in HU.")
    for low, high in checked:
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise EncoderError(f"The window {low:g} to {high:g} HU has no width; low must be below high.")
    return checked


@dataclass(frozen=True)
class Architecture:
    """What a network takes and how it is built.

    windows: HU windows, one channel each and slice. frangi: whether the filter's response stands in place of the
    windows, beside them as one more channel, or nowhere; filter, filter_window: its setting, and the HU it sees.
    slices: 1, 3 or 9, `images.crops.SLICE_STEP_MM` apart. stem: ResNet's for ImageNet (7 × 7, stride 2, pooled), 3 × 3
    and pooled, or CIFAR's 3 × 3 alone. pool: generalised mean with a learned exponent, or average. head: what follows
    the pooling, nothing or 512 → 512 linear, with a sigmoid or not. Raises `EncoderError` for anything else.
    """

    windows: Windows = DEFAULT_WINDOWS
    frangi: FrangiUse = "none"
    filter: FrangiParams = PAPER_FILTER
    filter_window: Window = SOFT_TISSUE
    slices: int = 1
    stem: Stem = "imagenet"
    pool: Pool = "gem"
    head: Head = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "windows", check_windows(self.windows))
        for name, kind in (("frangi", FrangiUse), ("stem", Stem), ("pool", Pool), ("head", Head)):
            if getattr(self, name) not in get_args(kind):
                raise EncoderError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(get_args(kind))}.")
        if self.slices not in SLICE_COUNTS:
            raise EncoderError(f"An encoder sees 1, 3 or 9 slices, not {self.slices!r}.")

    @property
    def channels(self) -> int:
        """Input channels of the network."""
        each = {"none": len(self.windows), "replace": 1, "channel": len(self.windows) + 1}[self.frangi]
        return self.slices * each

    @property
    def name(self) -> str:
        """The network in one word, as files and messages name it."""
        stem = "" if self.stem == "imagenet" else f"[{self.stem}]"
        head = "" if self.head == "none" else f"+{self.head}"
        return f"resnet18{stem}+2conv3x3+{self.pool}{head}+l2"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a header keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Return the record that `to_dict` described; raises `EncoderError` for anything else."""
        known = dict(values)
        try:
            if "filter" in known:
                wanted = dict(known["filter"])
                known["filter"] = FrangiParams(**{**wanted, "sigmas": tuple(wanted["sigmas"])})
            if "filter_window" in known:
                known["filter_window"] = Window(**known["filter_window"])
            return cls(**known)
        except (TypeError, KeyError, ValueError) as error:
            raise EncoderError(f"The description of the network cannot be used ({error}).") from error


DEFAULT_ARCHITECTURE = Architecture()
