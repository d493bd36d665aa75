"""Two views of a lesion: random geometry, blur, noise and windows for a whole batch at once, on its
device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lesiondash.errors import TrainingValueError
from lesiondash.images.crops import CROP_PX
from lesiondash.learning.network import window_limits
from lesiondash.records import AugmentSettings

MARGIN = 1.5
"""Field of view of the crops that are augmented, as a multiple of that of the view."""
MARGIN_PX = round(CROP_PX * MARGIN)
BLUR_RADIUS_PX = 2


def augment(
    crops: Tensor,
    windows: Sequence[Sequence[float]],
    settings: AugmentSettings,
    generator: torch.Generator,
    *,
    responses: Tensor | None = None,
    replace: bool = False,
    joint: tuple[int, Tensor] | None = None,
    noise: torch.Generator | None = None,
) -> Tensor:
    """Draw one random view of each crop.

    crops: (n, 96, 96) or (n, slices, 96, 96) HU, any number type, 1.5 × the view's field; windows: (low, high) in HU,
    one pair a channel; generator lives on the crops' device. responses: of the filter, (n, slices, 96, 96) in [0, 1]:
    further channels that take the same geometry, in place of the windows where replace is true. joint: how many crops a
    batch shared between processes has, and (n,) which of them these are, so that all draw alike; noise: this process's
    own generator of the noise, which is drawn for these crops alone.
    Returns (n, channels, 64, 64) float32 in [0, 1], channels as of `Encoder.inputs`: geometry, then blur and noise in
    HU, then windows. At strength 0 it is the centre of the crop, windowed. Raises `TrainingValueError` for another
    shape.
    """
    if crops.ndim not in (3, 4) or crops.shape[-2:] != (MARGIN_PX, MARGIN_PX):
        raise TrainingValueError(f"Crops must be (n, {MARGIN_PX}, {MARGIN_PX}), not {tuple(crops.shape)}.")
    if crops.ndim == 3:
        crops = crops[:, None]
    drawn = _draw(len(crops) if joint is None else joint[0], len(windows), settings, generator, crops.device)
    if joint is not None:
        drawn = {name: numbers[joint[1]] for name, numbers in drawn.items()}
    planes = [] if replace else [crops.float()]
    if responses is not None:
        planes.append(responses.float())
    slices = crops.shape[1]
    views = _warp(torch.cat(planes, dim=1) if len(planes) > 1 else planes[0], drawn)
    if settings.blur_sigma_px > 0:
        views = _blur(views, drawn["blur_sigma_px"])
    if replace:
        return _jitter(views, drawn)
    hu = views[:, :slices]
    if settings.noise_hu > 0:
        normal = torch.randn(hu.shape, generator=noise or generator, device=hu.device)
        hu = torch.addcmul(hu, drawn["noise_hu"][:, None, None, None], normal)
    shown = _window(hu, windows, drawn)
    return shown if responses is None else torch.cat([shown, _jitter(views[:, slices:], drawn)], dim=1)


def _draw(
    n: int, windows: int, settings: AugmentSettings, generator: torch.Generator, device: torch.device
) -> dict[str, Tensor]:
    """Draw every number of n views but the noise: angle, zoom, mirrors, shifts, blur, noise level and windows."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand((n, *shape), generator=generator, device=device)

    def signed(*shape: int) -> Tensor:
        return 2.0 * uniform(*shape) - 1.0

    return {
        "angle": math.radians(settings.rotation_deg) * signed(),
        "zoom": torch.exp(settings.scale * signed()) / MARGIN,
        "mirror_x": 1.0 - 2.0 * (uniform() < settings.flip_x).float(),
        "mirror_y": 1.0 - 2.0 * (uniform() < settings.flip_y).float(),
        # grid_sample's coordinates run from −1 to 1 over the crop, so a view's side is 2 / MARGIN of them.
        "shift": settings.shift * 2.0 / MARGIN * signed(2),
        "blur_sigma_px": settings.blur_sigma_px * uniform(),
        "noise_hu": settings.noise_hu * uniform(),
        # The last column is for the filter's response.
        "window_shift": settings.window_shift * signed(windows + 1),
        "window_scale": torch.exp(settings.window_scale * signed(windows + 1)),
    }


def _warp(planes: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    """Shift, rotate, flip and zoom in one bilinear resampling: (n, p, 96, 96) to (n, p, 64, 64)."""
    cosine, sine = drawn["zoom"] * torch.cos(drawn["angle"]), drawn["zoom"] * torch.sin(drawn["angle"])
    x, y, shift = drawn["mirror_x"], drawn["mirror_y"], drawn["shift"]
    centers = (torch.arange(CROP_PX, device=planes.device) * 2 + 1) / CROP_PX - 1.0
    across, down = centers[None, None, :], centers[None, :, None]
    # As F.affine_grid, whose matrix products with three columns take longer than the resampling itself.
    grid = torch.empty(len(planes), CROP_PX, CROP_PX, 2, device=planes.device)
    for axis, (along_x, along_y) in enumerate([(cosine * x, -sine * y), (sine * x, cosine * y)]):
        start = along_y[:, None, None] * down + shift[:, axis, None, None]
        torch.addcmul(start, along_x[:, None, None], across, out=grid[..., axis])
    return F.grid_sample(planes, grid, padding_mode="border", align_corners=False)


def _blur(views: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur each sample by its own Gaussian, along x and then y, with mirrored edges."""
    radius = BLUR_RADIUS_PX
    taps = torch.arange(-radius, radius + 1, device=views.device)[None, :]
    kernel = torch.softmax(-(taps**2) / (2.0 * sigma_px.clamp(min=1e-3)[:, None] ** 2), dim=1)  # (n, taps), sums to 1
    for axis in (3, 2):
        pad = (radius, radius, 0, 0) if axis == 3 else (0, 0, radius, radius)
        wide = F.pad(views, pad, mode="reflect")
        # A handful of shifted sums: on a CPU several times faster than a convolution with n kernels.
        views = kernel[:, radius, None, None, None] * wide.narrow(axis, radius, CROP_PX)
        for k in range(2 * radius + 1):
            if k != radius:
                views.addcmul_(kernel[:, k, None, None, None], wide.narrow(axis, k, CROP_PX))
    return views


def _window(hu: Tensor, windows: Sequence[Sequence[float]], drawn: dict[str, Tensor]) -> Tensor:
    """Show (n, slices, 64, 64) through windows of jittered centre and width: (n, slices · windows, 64, 64)."""
    limits = window_limits(tuple(map(tuple, windows)), hu.device)  # (c, 2)
    width = limits[:, 1] - limits[:, 0]
    center = limits.mean(dim=1) + width * drawn["window_shift"][:, :-1]
    width = width * drawn["window_scale"][:, :-1]
    slope, start = 1.0 / width, 0.5 - center / width
    shown = torch.addcmul(start[:, None, :, None, None], hu[:, :, None], slope[:, None, :, None, None])
    return shown.clamp_(0.0, 1.0).flatten(1, 2)


def _jitter(response: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    """Brighten or dim a response in [0, 1], as a window of another width would."""
    return (response / drawn["window_scale"][:, -1, None, None, None]).clamp_(0.0, 1.0)
