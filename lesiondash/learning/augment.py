"""Two views of a lesion: random geometry, blur, noise and windows for a whole batch at once, on its
device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lesiondash.images.crops import CROP_PX

MARGIN = 1.5
"""Field of view of the crops that are augmented, as a multiple of that of the view."""
MARGIN_PX = round(CROP_PX * MARGIN)
BLUR_RADIUS_PX = 2


@dataclass(frozen=True)
class AugmentSettings:
    """Strengths of the augmentation; 0 switches each off.

    shift: largest shift as a fraction of the view's side. rotation_deg: largest angle. flip_x, flip_y:
    probabilities of a mirror image along x (left–right) and y. scale: zoom drawn from exp(±scale).
    window_shift: largest shift of a window as a fraction of its width, and window_scale: width drawn from
    exp(±window_scale), both for each sample and channel ("colour distortion"). blur_sigma_px: largest
    Gaussian blur. noise_hu: largest standard deviation of noise.
    """

    shift: float = 0.25
    rotation_deg: float = 45.0
    flip_x: float = 0.0
    flip_y: float = 0.0
    scale: float = 0.4
    window_shift: float = 0.05
    window_scale: float = 0.15
    blur_sigma_px: float = 1.0
    noise_hu: float = 20.0


DEFAULT_AUGMENTATION = AugmentSettings()
"""Measured on generated lesions: wide shifts and zooms teach most; mirroring would merge left and right."""
NO_AUGMENTATION = AugmentSettings(0, 0, 0, 0, 0, 0, 0, 0, 0)


def augment(
    crops: Tensor, windows: Sequence[Sequence[float]], settings: AugmentSettings, generator: torch.Generator
) -> Tensor:
    """Draw one random view of each crop.

    crops: (n, 96, 96) HU, any number type, 1.5 × the view's field; windows: (low, high) in HU, one pair a
    channel; generator lives on the crops' device. Returns (n, channels, 64, 64) float32 in [0, 1]: geometry,
    then blur and noise in HU, then windows. At strength 0 it is the centre of the crop, windowed. Raises
    `ValueError` for another shape.
    """
    if crops.ndim != 3 or crops.shape[1:] != (MARGIN_PX, MARGIN_PX):
        raise ValueError(f"crops must be (n, {MARGIN_PX}, {MARGIN_PX}), not {tuple(crops.shape)}")
    hu = _warp(crops.float(), settings, generator)
    if settings.blur_sigma_px > 0:
        hu = _blur(hu, settings.blur_sigma_px, generator)
    if settings.noise_hu > 0:
        sigma_hu = settings.noise_hu * _uniform((len(hu), 1, 1), hu, generator)
        hu = hu + sigma_hu * torch.randn(hu.shape, generator=generator, device=hu.device)
    return _window(hu, windows, settings, generator)


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=like.device)


def _signed(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return 2.0 * _uniform(shape, like, generator) - 1.0


def _warp(hu: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Shift, rotate, flip and zoom in one bilinear resampling: (n, 96, 96) to (n, 64, 64)."""
    n = len(hu)
    angle = math.radians(settings.rotation_deg) * _signed((n,), hu, generator)
    zoom = torch.exp(settings.scale * _signed((n,), hu, generator)) / MARGIN
    mirror_x = 1.0 - 2.0 * (_uniform((n,), hu, generator) < settings.flip_x).float()
    mirror_y = 1.0 - 2.0 * (_uniform((n,), hu, generator) < settings.flip_y).float()
    # grid_sample's coordinates run from −1 to 1 over the crop, so a view's side is 2 / MARGIN of them.
    shift = settings.shift * 2.0 / MARGIN * _signed((n, 2), hu, generator)
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    rows = [cosine * mirror_x, -sine * mirror_y, shift[:, 0], sine * mirror_x, cosine * mirror_y, shift[:, 1]]
    theta = torch.stack(rows, dim=1).view(n, 2, 3)
    grid = F.affine_grid(theta, [n, 1, CROP_PX, CROP_PX], align_corners=False)
    return F.grid_sample(hu[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


def _blur(hu: Tensor, largest_sigma_px: float, generator: torch.Generator) -> Tensor:
    """Blur each sample by its own Gaussian, along x and then y, with mirrored edges."""
    n, radius = len(hu), BLUR_RADIUS_PX
    sigma = (largest_sigma_px * _uniform((n, 1), hu, generator)).clamp(min=1e-3)
    taps = torch.arange(-radius, radius + 1, device=hu.device)[None, :]
    kernel = torch.softmax(-(taps**2) / (2.0 * sigma**2), dim=1)  # (n, taps), each row sums to 1
    for axis in (2, 1):
        pad = (radius, radius, 0, 0) if axis == 2 else (0, 0, radius, radius)
        wide = F.pad(hu[:, None], pad, mode="reflect")[:, 0]
        size = hu.shape[axis]
        # A handful of shifted sums: on a CPU several times faster than a convolution with n kernels.
        hu = sum(
            (kernel[:, k, None, None] * wide.narrow(axis, k, size) for k in range(2 * radius + 1)),
            start=torch.zeros_like(hu),
        )
    return hu


def _window(
    hu: Tensor, windows: Sequence[Sequence[float]], settings: AugmentSettings, generator: torch.Generator
) -> Tensor:
    """Show (n, 64, 64) through windows of jittered centre and width: (n, channels, 64, 64)."""
    limits = torch.as_tensor(windows, dtype=torch.float32, device=hu.device)  # (c, 2)
    shape = (len(hu), len(limits))
    width = limits[:, 1] - limits[:, 0]
    center = limits.mean(dim=1) + settings.window_shift * width * _signed(shape, hu, generator)
    width = width * torch.exp(settings.window_scale * _signed(shape, hu, generator))
    low = (center - width / 2)[:, :, None, None]
    return ((hu[:, None] - low) / width[:, :, None, None]).clamp_(0.0, 1.0)
