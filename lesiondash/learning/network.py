"""The network that turns a lesion's crop into a vector (Qi, Cheng, Haehn 2023)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from importlib.util import find_spec
from shutil import which

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lesiondash.learning.architecture import Architecture
from lesiondash.learning.resnet import BasicBlock, resnet18_trunk

EMBEDDING_DIM = 512
VARIANTS = 64
"""Compiled versions of a model's step that one process may keep."""


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
        p = self.exponent
        pooled: Tensor = x.float().clamp(min=self.eps).pow(p).mean(dim=(-2, -1)).pow(1.0 / p)
        return pooled

    @property
    def exponent(self) -> Tensor:
        """The exponent that counts, (1,)."""
        return self.p.clamp(1.0, 6.0)


class AveragePool(nn.Module):
    """The mean over y and x: (n, c, y, x) to (n, c) float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool (n, c, y, x) to (n, c)."""
        return x.float().mean(dim=(-2, -1))


class LesionNet(nn.Module):
    """ResNet-18 trunk, two 3×3 convolutional layers, pooling, an optional head, and L2 normalisation (Qi et al.
    2023, section 2).

    Takes (n, channels, 64, 64) in [0, 1] and returns unit vectors (n, 512) float32.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Build the layers with torch's current random state."""
        super().__init__()
        self.trunk = resnet18_trunk(architecture.channels, architecture.stem)
        self.top = nn.Sequential(*_conv_layer(EMBEDDING_DIM), *_conv_layer(EMBEDDING_DIM))
        self.pool: nn.Module = GeM() if architecture.pool == "gem" else AveragePool()
        self.head: nn.Module = nn.Identity()
        if architecture.head != "none":
            linear = nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM)
            self.head = linear if architecture.head == "linear" else nn.Sequential(linear, nn.Sigmoid())

    def pooled(self, x: Tensor) -> Tensor:
        """Return what the pooling makes of (n, channels, 64, 64): (n, 512) float32, not normalised."""
        pooled: Tensor = self.pool(self.features(x))
        return pooled

    def features(self, x: Tensor) -> Tensor:
        """Return what is pooled: (n, channels, 64, 64) to (n, 512, y, x)."""
        features: Tensor = self.top(self.trunk(2.0 * x - 1.0))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Embed (n, channels, 64, 64) as unit vectors (n, 512)."""
        return F.normalize(self.head(self.pooled(x)).float(), dim=1)


def _conv_layer(width: int) -> list[nn.Module]:
    conv = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def build_net(architecture: Architecture, seed: int) -> LesionNet:
    """Build a network with random weights that depend on the seed alone; torch's own random state is left as
    it was.
    """
    with seeded(seed):
        return LesionNet(architecture)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let what draws on the CPU depend on a seed; afterwards torch's random state is as it was, a GPU's untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU too
        yield


def window_channels(hu: Tensor, windows: Sequence[Sequence[float]]) -> Tensor:
    """Show HU through each window: (n, y, x) to (n, len(windows), y, x) float32, linear from 0 to 1 and
    clipped.
    """
    limits = window_limits(tuple(map(tuple, windows)), hu.device)  # (c, 2)
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    return ((hu.float().unsqueeze(1) - low) / (high - low)).clamp_(0.0, 1.0)


@lru_cache(16)
def window_limits(windows: tuple[tuple[float, ...], ...], device: torch.device) -> Tensor:
    """Return windows as (c, 2) float32 on a device; kept there, since to send them anew makes the host wait."""
    with torch.inference_mode(False):
        return torch.tensor(windows, dtype=torch.float32, device=device)


def graphed(model: nn.Module, device: torch.device, *, processes: int = 1) -> nn.Module:
    """Return a model whose steps run as CUDA graphs on a GPU where they can, and the model itself elsewhere.

    A ResNet-18's step is some four hundred small kernels: a GPU that is told of each one waits for the host. Needs
    triton, which comes with torch on Linux, and a C compiler; several processes train without graphs.
    """
    compiler = which(os.environ.get("CC", "cc")) or which("gcc") or which("clang")
    if device.type != "cuda" or processes > 1 or compiler is None or find_spec("triton") is None:
        return model
    torch._dynamo.config.suppress_errors = True  # what cannot be compiled on this machine runs as it is
    # Each network and shape of a batch is a variant of one function, of which torch by itself compiles eight a process.
    torch._dynamo.config.recompile_limit = VARIANTS
    model.compile(mode="reduce-overhead")
    return model


def warn_if_uncompiled(model: nn.Module) -> None:
    """Say after a step where a model of `graphed` runs without graphs, since the compiler gave up on it."""
    if model._compiled_call_impl is None:
        return
    from torch._dynamo.utils import counters  # heavy, and there already

    if counters["frames"]["total"] > counters["frames"]["ok"]:
        warnings.warn(
            "The network cannot be compiled on this machine and trains without CUDA graphs, slower; "
            "torch's message above says why.",
            RuntimeWarning,
            stacklevel=2,
        )


def best_device() -> torch.device:
    """Return the first CUDA device where there is one, the CPU otherwise."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it would be slower than float32."""
    if device.type == "cuda":
        # ROCm's cards all do; CUDA's from Ampere on, where torch.cuda.is_bf16_supported would count emulation as well.
        return torch.version.hip is not None or torch.cuda.get_device_properties(device).major >= 8
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public name up to torch 2.15
    return supported is not None and bool(supported())


def folded(net: LesionNet) -> LesionNet:
    """Return a copy for inference whose batch norms are part of the convolutions before them: the same vectors."""
    shared = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    copy = deepcopy(net, shared).eval()  # what is fused below is new; copying all of it first would take the room twice
    for block in [each for each in copy.modules() if isinstance(each, BasicBlock)]:
        for weights, statistics in (("conv1", "bn1"), ("conv2", "bn2")):
            setattr(block, weights, fuse_conv_bn_eval(getattr(block, weights), getattr(block, statistics)))
            setattr(block, statistics, nn.Identity())
    for layers in [each for each in copy.modules() if isinstance(each, nn.Sequential)]:
        for k in range(len(layers) - 1):
            conv, norm = layers[k], layers[k + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[k], layers[k + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return copy
