"""The network that turns a lesion's crop into a vector, and its file (Qi, Cheng, Haehn 2023)."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from torch.nn import functional as F

import lesiondash
from lesiondash.errors import EncoderError
from lesiondash.images.crops import CONTEXT, CROP_PX, MIN_SIDE_MM
from lesiondash.learning.checkpoint import FINGERPRINT_KEY, HEADER_KEY
from lesiondash.learning.resnet import resnet18_trunk

Windows = tuple[tuple[float, float], ...]
"""One (low, high) pair in HU for each input channel."""

DEFAULT_WINDOWS: Windows = ((-160.0, 240.0), (-1350.0, 150.0), (-500.0, 1300.0))
"""Soft tissue, lung and bone, in HU."""
EMBEDDING_DIM = 512
ARCHITECTURE = "resnet18+2conv3x3+gem+l2"
FORMAT_VERSION = 1
HU_LIMIT = 32768.0
BATCH_CPU, BATCH_CUDA = 128, 2048


class GeM(nn.Module):
    """Generalised mean pooling with a learned exponent: (mean x^p)^(1/p) over y and x (Radenović et al. 2019,
    eq. 3).

    Takes (n, c, y, x) and returns (n, c) float32. p is kept in [1, 6], where float32 powers of eps do not
    vanish.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        """Start from exponent p; inputs are clamped at eps from below."""
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Pool (n, c, y, x) to (n, c)."""
        p = self.p.clamp(1.0, 6.0)
        pooled: Tensor = x.float().clamp(min=self.eps).pow(p).mean(dim=(-2, -1)).pow(1.0 / p)
        return pooled


class LesionNet(nn.Module):
    """ResNet-18 trunk, two 3×3 convolutional layers, GeM pooling and L2 normalisation (Qi et al. 2023,
    section 2).

    Takes (n, channels, 64, 64) in [0, 1] and returns unit vectors (n, 512) float32.
    """

    def __init__(self, channels: int) -> None:
        """Build the layers with torch's current random state."""
        super().__init__()
        self.trunk = resnet18_trunk(channels)
        self.top = nn.Sequential(*_conv_layer(EMBEDDING_DIM), *_conv_layer(EMBEDDING_DIM))
        self.pool = GeM()

    def forward(self, x: Tensor) -> Tensor:
        """Embed (n, channels, 64, 64) as unit vectors (n, 512)."""
        x = self.trunk(2.0 * x - 1.0)  # (n, 512, 2, 2)
        return F.normalize(self.pool(self.top(x)), dim=1)


def _conv_layer(width: int) -> list[nn.Module]:
    conv = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def window_channels(hu: Tensor, windows: Sequence[Sequence[float]]) -> Tensor:
    """Show HU through each window: (n, y, x) to (n, len(windows), y, x) float32, linear from 0 to 1 and
    clipped.
    """
    limits = torch.as_tensor(windows, dtype=torch.float32, device=hu.device)  # (c, 2)
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    return ((hu.float().unsqueeze(1) - low) / (high - low)).clamp_(0.0, 1.0)


def best_device() -> torch.device:
    """Return the first CUDA device where there is one, the CPU otherwise."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def build_net(channels: int, seed: int) -> LesionNet:
    """Build a network with random weights that depend on the seed alone; torch's own random state is left as
    it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LesionNet(channels)


def make_header(windows: Sequence[Sequence[float]], **training: Any) -> dict[str, Any]:
    """Describe an encoder: format, architecture, input, crop geometry, versions, and how it was trained."""
    return {
        "format": FORMAT_VERSION,
        "architecture": ARCHITECTURE,
        "dimensions": EMBEDDING_DIM,
        "channels": len(windows),
        "windows_hu": [[float(low), float(high)] for low, high in windows],
        "crop": {"size_px": CROP_PX, "min_side_mm": MIN_SIDE_MM, "context": CONTEXT},
        "training": training,
        "versions": {
            "lesiondash": lesiondash.__version__,
            "torch": str(torch.__version__),
            "torchvision": version("torchvision"),
        },
    }


class Encoder:
    """A trained (or untrained) network with the header that says where it comes from.

    Build one with `Encoder.load`, `Encoder.untrained` or `lesiondash.learning.pretrain.pretrain`.

    >>> import numpy as np
    >>> from lesiondash import Encoder
    >>> Encoder.untrained(seed=0).embed(np.zeros((2, 64, 64))).shape
    (2, 512)
    """

    def __init__(self, net: LesionNet, header: Mapping[str, Any], device: torch.device | None = None) -> None:
        """Wrap a network; header as from `make_header`."""
        self._header = deepcopy(dict(header))
        self._windows: Windows = tuple((float(low), float(high)) for low, high in header["windows_hu"])
        self._device = device or best_device()
        net = net.to(self._device).to(memory_format=torch.channels_last)
        self._net = net.eval().requires_grad_(False)
        self._fingerprint = _fingerprint(self._net.state_dict())

    @classmethod
    def untrained(cls, seed: int = 0, windows: Sequence[Sequence[float]] = DEFAULT_WINDOWS) -> Encoder:
        """Return an encoder with random weights, the baseline that training has to beat.

        windows: (low, high) in HU, one pair a channel. Raises `EncoderError` for a window of no width.
        """
        checked = check_windows(windows)
        return cls(build_net(len(checked), seed), make_header(checked, objective="none", seed=seed))

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device | None = None) -> Encoder:
        """Read an encoder from a file that `save` has written; CUDA is used where there is one, unless device
        is given.

        Raises `EncoderError`, naming the file, when it is missing, is not safetensors, has no header, is of
        another architecture, or holds weights that are not finite.
        """
        path = Path(path)
        header, weights = _read(path)
        header.pop(FINGERPRINT_KEY, None)  # computed anew from the weights
        windows = _checked_header(header, path)
        # Building on the "meta" device would spare the random numbers, but imports torch's compiler: 150 MB more.
        net = build_net(len(windows), seed=0)
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise EncoderError(f"The weights in {path} do not fit the network; train or download it anew.") from error
        if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
            raise EncoderError(f"{path} holds weights that are not finite numbers; train or download it anew.")
        return cls(net, header, torch.device(device) if device is not None else None)

    def save(self, path: str | Path) -> None:
        """Write weights and header as safetensors; the file appears whole or not at all, same bytes for the
        same run.

        Raises `EncoderError` when the folder cannot be written.
        """
        path = Path(path)
        # One metadata key only: safetensors writes several in no fixed order.
        stated = {**self._header, FINGERPRINT_KEY: self._fingerprint}
        text = json.dumps(stated, sort_keys=True, ensure_ascii=False)
        weights = {name: tensor.cpu().contiguous() for name, tensor in self._net.state_dict().items()}
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(safetensors_bytes(weights, metadata={HEADER_KEY: text}))
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise EncoderError(f"The encoder could not be written to {path}: {error.strerror}.") from error

    def embed(self, crops: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Turn crops into unit vectors.

        crops: (n, 64, 64) or (64, 64), any real number type, in HU. Returns (n, 512) float32; n may be 0. A
        crop's vector does not depend on the others. Raises `EncoderError` for another shape, another type or
        NaN.
        """
        array = _checked_crops(crops)
        vectors = np.empty((len(array), EMBEDDING_DIM), np.float32)
        step = BATCH_CUDA if self._device.type == "cuda" else BATCH_CPU
        # TF32 would leave three digits; with it off a vector is the same in every batch to about 1e-7.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(array), step):
                part = array[start : start + step].clip(-HU_LIMIT, HU_LIMIT).astype(np.float32)
                x = window_channels(torch.from_numpy(part).to(self._device), self._windows)
                x = x.contiguous(memory_format=torch.channels_last)
                vectors[start : start + step] = self._net(x).cpu().numpy()
        return vectors

    @property
    def header(self) -> dict[str, Any]:
        """What the file says about itself, as a copy: architecture, windows, crop geometry, training,
        versions.
        """
        return deepcopy(self._header)

    @property
    def windows(self) -> Windows:
        """The (low, high) windows of the input channels, in HU."""
        return self._windows

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return EMBEDDING_DIM

    @property
    def device(self) -> str:
        """Where the network runs: `cpu`, `cuda:0`, …"""
        return str(self._device)

    @property
    def device_name(self) -> str:
        """The device in words."""
        if self._device.type == "cuda":
            return str(torch.cuda.get_device_name(self._device))
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'s' if threads != 1 else ''}"

    @property
    def fingerprint(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the weights: the same digits, the same
        network.
        """
        return self._fingerprint


def check_windows(windows: Sequence[Sequence[float]]) -> Windows:
    """Return windows as (low, high) pairs of floats; raises `EncoderError` unless each is finite and low <
    high.
    """
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


def _checked_crops(crops: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        array = np.asarray(crops)
    except ValueError as error:
        raise EncoderError(f"The crops differ in size; give an array (n, {CROP_PX}, {CROP_PX}).") from error
    if array.dtype.kind not in "iuf":
        raise EncoderError(f"Crops are numbers in HU; this array holds {array.dtype}.")
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1:] != (CROP_PX, CROP_PX):
        raise EncoderError(
            f"The encoder takes crops of {CROP_PX} × {CROP_PX} pixels, (n, {CROP_PX}, {CROP_PX}); "
            f"this array is {array.shape}."
        )
    if not np.isfinite(array).all():
        raise EncoderError("A crop holds values that are not finite (NaN or infinite); check how it was cut.")
    return array


def _fingerprint(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise EncoderError(f"There is no encoder at {path}; make one with `lesiondash prepare`.")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise EncoderError(
            f"{path} is not a safetensors file; encoders in other formats can run code and are not read."
        ) from error
    try:
        header = json.loads(metadata[HEADER_KEY])
    except (KeyError, ValueError) as error:
        raise EncoderError(f"{path} has no lesiondash header; it was not written by lesiondash.") from error
    if not isinstance(header, dict):
        raise EncoderError(f"{path} has no lesiondash header; it was not written by lesiondash.")
    return header, weights


def _checked_header(header: dict[str, Any], path: Path) -> Windows:
    if header.get("format") != FORMAT_VERSION or header.get("architecture") != ARCHITECTURE:
        raise EncoderError(
            f"{path} holds the architecture {header.get('architecture')!r}, format {header.get('format')!r}; "
            f"this version reads {ARCHITECTURE!r}, format {FORMAT_VERSION}."
        )
    expected = make_header(DEFAULT_WINDOWS)["crop"]
    if header.get("crop") != expected:
        raise EncoderError(
            f"{path} was trained on crops of another geometry, {header.get('crop')!r}, not {expected!r}."
        )
    try:
        return check_windows(cast("Sequence[Sequence[float]]", header.get("windows_hu")))
    except EncoderError as error:
        raise EncoderError(f"The header of {path} cannot be used: {error}") from error
