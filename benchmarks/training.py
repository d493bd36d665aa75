"""Training and embedding: views and crops a second, beside the same training fed by a torch DataLoader, and kornia.

    python benchmarks/training.py [--rounds 3] [--steps 20] [--only augment train embed]

Sides take turns, so that a busy machine is busy for each; wall clock, medians of the rounds. The peers draw the same
kinds of views, one slice to 64 × 64 pixels in three windows: shift, rotation and zoom, blur, noise, jittered windows.

- DataLoader: two workers, each crop by itself through torchvision's transforms; no more than a project that trains on
  images does everywhere.
- kornia: a batch at once through its RandomAffine, RandomGaussianBlur and RandomGaussianNoise on the crop, then cut to
  the view; and its functions called by hand, warped to the view's 64 × 64 at once, which spares it half of the pixels.

Both leave the windows, which they have nothing for, to the same lines of torch as ours. Crops are random numbers.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import numpy as np
import torch
from machine import describe
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import v2

from lesiondash import Encoder
from lesiondash.images.crops import CROP_PX
from lesiondash.learning.augment import BLUR_RADIUS_PX, MARGIN, MARGIN_PX, augment
from lesiondash.learning.dataset import TrainingCrops
from lesiondash.learning.losses import dcl
from lesiondash.learning.models import SimCLR
from lesiondash.learning.network import best_device, bfloat16_is_fast
from lesiondash.learning.pretrain import make_optimizer, pretrain
from lesiondash.learning.settings import PretrainSettings

LESIONS, PATIENTS = 1024, 256
BATCH = 64
WARM_CPU, WARM_CUDA = 3, 20  # on a GPU the loss is looked at every 20 steps
WORKERS, AHEAD = 2, 2
KERNEL_PX = 2 * BLUR_RADIUS_PX + 1
LEAST_SIGMA_PX = 0.05  # the peers take no blur of 0
SETTINGS = PretrainSettings(batch=BATCH)
STRENGTH = SETTINGS.augment
WINDOWS = SETTINGS.architecture.windows
DEGREES, ZOOM = STRENGTH.rotation_deg, (math.exp(-STRENGTH.scale), math.exp(STRENGTH.scale))
MOVED = STRENGTH.shift / MARGIN
"""The largest shift, as a fraction of the crop."""
KORNIA_BAR, LOADER_BAR = 1.5, 3.0
EMBED_BAR, LATENCY_BAR_MS = 500, 15

Sides = dict[str, Callable[[], float]]


def crops(count: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.random.default_rng(0).integers(-1000, 1000, (count, MARGIN_PX, MARGIN_PX), dtype=np.int16)


class JitteredWindows(torch.nn.Module):
    """(…, 1, 64, 64) HU to (…, 3, 64, 64), windows drawn for each view; one view or a batch of them."""

    def forward(self, hu: Tensor) -> Tensor:
        low, high = torch.tensor(WINDOWS, device=hu.device).T
        shape = (*hu.shape[:-3], len(WINDOWS))
        signed = 2.0 * torch.rand(2, *shape, device=hu.device) - 1.0
        width = (high - low) * torch.exp(STRENGTH.window_scale * signed[0])
        low = (high + low) / 2 + (high - low) * STRENGTH.window_shift * signed[1] - width / 2
        return ((hu - low[..., None, None]) / width[..., None, None]).clamp(0.0, 1.0)


class RandomNoise(torch.nn.Module):
    """Noise of a drawn strength: torchvision's is of a fixed one."""

    def forward(self, hu: Tensor) -> Tensor:
        return hu + STRENGTH.noise_hu * torch.rand(()) * torch.randn_like(hu)


class LesionViews(Dataset[tuple[Tensor, Tensor, int]]):
    """Two views of each lesion, drawn one by one."""

    def __init__(self, data: TrainingCrops) -> None:
        self._hu, self._patients = data.hu, data.patients
        self._draw = v2.Compose(
            [
                v2.ToDtype(torch.float32),
                v2.RandomAffine(DEGREES, (MOVED, MOVED), ZOOM, interpolation=v2.InterpolationMode.BILINEAR),
                v2.CenterCrop(CROP_PX),
                v2.GaussianBlur(KERNEL_PX, (LEAST_SIGMA_PX, STRENGTH.blur_sigma_px)),
                RandomNoise(),
                JitteredWindows(),
            ]
        )

    def __len__(self) -> int:
        return len(self._hu)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, int]:
        crop = torch.from_numpy(self._hu[row])
        return self._draw(crop), self._draw(crop), int(self._patients[row])


def endless(data: TrainingCrops) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    views = LesionViews(data)
    loader = DataLoader(
        views,
        BATCH,
        sampler=RandomSampler(views),
        num_workers=WORKERS,
        prefetch_factor=AHEAD,
        drop_last=True,
        persistent_workers=True,
        pin_memory=torch.cuda.is_available(),
    )
    return chain.from_iterable(repeat(loader))


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def rounds_of(sides: Sides, rounds: int) -> dict[str, float]:
    """Median of what each side measures; rounds go through all sides."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            found[name].append(call())
    return {name: statistics.median(values) for name, values in found.items()}


def rate(draw: Callable[[], Any], views: int, calls: int, device: torch.device) -> float:
    """Views a second of `calls` calls, after as many that are not counted as a loader has at hand."""
    for _ in range(WORKERS * AHEAD + 1):
        draw()
    settle(device)
    start = time.perf_counter()
    for _ in range(calls):
        draw()
    settle(device)
    return calls * views / (time.perf_counter() - start)


def kornia_sides(hu: Tensor) -> dict[str, Callable[[], Tensor]]:
    """kornia's transforms, and its functions called by hand, on crops (n, 1, 96, 96)."""
    try:
        import kornia
    except ImportError:
        print("kornia is not installed: its rows are left out; `pip install kornia` brings them.")
        return {}
    sigma, kernel = (LEAST_SIGMA_PX, STRENGTH.blur_sigma_px), (KERNEL_PX, KERNEL_PX)
    affine = {"translate": (MOVED, MOVED), "scale": ZOOM, "padding_mode": "border", "p": 1.0}
    draw = torch.nn.Sequential(
        kornia.augmentation.RandomAffine(DEGREES, **affine),
        kornia.augmentation.CenterCrop(CROP_PX),
        kornia.augmentation.RandomGaussianBlur(kernel, sigma, p=1.0),
        kornia.augmentation.RandomGaussianNoise(std=STRENGTH.noise_hu / 2, p=1.0),
        JitteredWindows(),
    )
    return {"kornia's transforms": lambda: draw(hu), "kornia's functions": lambda: by_hand(kornia, hu)}


def by_hand(kornia: Any, hu: Tensor) -> Tensor:
    def signed(*shape: int) -> Tensor:
        return 2.0 * torch.rand(len(hu), *shape, device=hu.device) - 1.0

    middle = torch.full((len(hu), 2), (MARGIN_PX - 1) / 2, device=hu.device)
    zoom = torch.exp(STRENGTH.scale * signed())[:, None].expand(-1, 2)
    moved = MOVED * MARGIN_PX * signed(2) - (MARGIN_PX - CROP_PX) / 2
    matrix = kornia.geometry.get_affine_matrix2d(moved, middle, zoom, DEGREES * signed())[:, :2]
    views = kornia.geometry.warp_affine(hu, matrix, (CROP_PX, CROP_PX), padding_mode="border", align_corners=True)
    sigma = (STRENGTH.blur_sigma_px * signed().abs()).clamp(min=LEAST_SIGMA_PX)[:, None].expand(-1, 2)
    views = kornia.filters.gaussian_blur2d(views, (KERNEL_PX, KERNEL_PX), sigma)
    noise = STRENGTH.noise_hu * signed().abs()[:, None, None, None]
    return JitteredWindows()(views + noise * torch.randn_like(views))


def augmentation(data: TrainingCrops, rounds: int, steps: int, device: torch.device) -> None:
    """Drawing alone, batches of as many views as a training step has."""
    hu = torch.from_numpy(np.concatenate([data.hu[:BATCH]] * 2)).to(device)
    generator = torch.Generator(device).manual_seed(0)
    loaded = endless(data)
    peers = {"DataLoader": lambda: next(loaded), **kornia_sides(hu.float())}
    draws = {"ours": lambda: augment(hu, WINDOWS, STRENGTH, generator), **peers}
    sides = {name: lambda draw=draw: rate(draw, 2 * BATCH, steps, device) for name, draw in draws.items()}
    with torch.inference_mode():
        found = rounds_of(sides, rounds)
    for name in peers:
        row("views drawn", found["ours"], name, found[name], LOADER_BAR if name == "DataLoader" else KORNIA_BAR)


def own_training(data: TrainingCrops, steps: int, device: torch.device) -> float:
    """Views a second of `pretrain`, after its first steps."""
    warm = WARM_CUDA if device.type == "cuda" else WARM_CPU
    marks = {}
    settings = PretrainSettings(batch=BATCH, steps=warm + steps)
    pretrain(data, settings, progress=lambda step, _, __: marks.update({step: time.perf_counter()}), device=device)
    return steps * 2 * BATCH / (marks[warm + steps] - marks[warm])


def loader_training(loaded: Iterator[tuple[Tensor, Tensor, Tensor]], steps: int, device: torch.device) -> float:
    """Views a second of the same model, optimiser and loss in a plain loop over a DataLoader."""
    warm = WARM_CUDA if device.type == "cuda" else WARM_CPU
    settings = PretrainSettings(batch=BATCH, steps=warm + steps)
    model = SimCLR(settings.architecture, settings.seed).to(device).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(model, settings)
    fast = bfloat16_is_fast(device)
    start = 0.0
    for step in range(warm + steps):
        if step == warm:
            settle(device)
            start = time.perf_counter()
        first, second, patients = next(loaded)
        views = torch.cat([first, second]).to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = settings.rate_at(step)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
            projected = model(views)
        loss = dcl(*projected.split(BATCH), settings.temperature, groups=patients.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    settle(device)
    return steps * 2 * BATCH / (time.perf_counter() - start)


def training(data: TrainingCrops, rounds: int, steps: int, device: torch.device) -> None:
    loaded = endless(data)
    sides: Sides = {
        "ours": lambda: own_training(data, steps, device),
        "DataLoader": lambda: loader_training(loaded, steps, device),
    }
    found = rounds_of(sides, rounds)
    dtype = "bfloat16" if bfloat16_is_fast(device) else "float32"
    row(f"views trained on, {dtype}", found["ours"], "DataLoader", found["DataLoader"], None)


def embedding(rounds: int) -> None:
    encoder, hu = Encoder.untrained(seed=0), crops(512)[:, :CROP_PX, :CROP_PX]
    encoder.embed(hu[:128])
    rates, singles = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        encoder.embed(hu)
        rates.append(len(hu) / (time.perf_counter() - start))
        for each in hu[:50]:
            start = time.perf_counter()
            encoder.embed(each)
            singles.append(1000 * (time.perf_counter() - start))
    many, one = statistics.median(rates), statistics.median(singles)
    print(f"{'crops embedded, batches':32}{many:8.0f} /s   at least {EMBED_BAR} /s {said(many >= EMBED_BAR)}")
    print(f"{'one crop embedded, p50':32}{one:8.1f} ms   at most {LATENCY_BAR_MS} ms {said(one <= LATENCY_BAR_MS)}")


def row(what: str, ours: float, peer: str, theirs: float, bar: float | None) -> None:
    ratio = ours / theirs
    aim = "" if bar is None else f"   at least {bar:g} {said(ratio >= bar)}"
    print(f"{what:32}{ours:8.0f} /s   {peer:20}{theirs:8.0f} /s   ratio {ratio:5.2f}{aim}", flush=True)


def said(passed: bool) -> str:
    return "pass" if passed else "MISS"


def main() -> None:
    parts = ("augment", "train", "embed")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a round; on a GPU a multiple of 20")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    asked = parser.parse_args()
    device = best_device()
    print(describe())
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}; medians of {asked.rounds} rounds, {asked.steps} batches of {BATCH} lesions in two views")
    rows = np.arange(LESIONS)
    data = TrainingCrops.of_arrays(crops(LESIONS), rows % PATIENTS, rows)
    if "augment" in asked.only:
        augmentation(data, asked.rounds, asked.steps, device)
    if "train" in asked.only:
        training(data, asked.rounds, asked.steps, device)
    if "embed" in asked.only:
        embedding(asked.rounds)


if __name__ == "__main__":
    main()
