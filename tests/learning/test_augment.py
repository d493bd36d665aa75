from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lesiondash.learning.architecture import DEFAULT_WINDOWS
from lesiondash.learning.augment import augment
from lesiondash.learning.network import window_channels
from lesiondash.records import DEFAULT_AUGMENTATION, NO_AUGMENTATION

WIDE = ((-2000.0, 2000.0),)
"""One window that clips nothing, so that views can be compared in HU."""


def noise_crops(n: int) -> Tensor:
    return torch.randint(-1000, 1000, (n, 96, 96), generator=torch.Generator().manual_seed(7), dtype=torch.int16)


def smooth_crops(n: int) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(-3, 3, 96), torch.linspace(-3, 3, 96), indexing="ij")
    return torch.stack([800 * torch.exp(-((x - 0.4 * k) ** 2) - (y + 0.3) ** 2) for k in range(n)])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_strength_zero_is_the_windowed_centre() -> None:
    crops = noise_crops(5)
    view = augment(crops, DEFAULT_WINDOWS, NO_AUGMENTATION, generator())
    expected = window_channels(crops[:, 16:80, 16:80], DEFAULT_WINDOWS)
    torch.testing.assert_close(view, expected, atol=1e-4, rtol=0)


def test_views_have_channels_range_and_no_nan() -> None:
    view = augment(noise_crops(6), DEFAULT_WINDOWS, DEFAULT_AUGMENTATION, generator())
    assert view.shape == (6, 3, 64, 64)
    assert view.dtype == torch.float32
    assert torch.isfinite(view).all()
    assert float(view.min()) >= 0
    assert float(view.max()) <= 1


def test_one_generator_state_gives_one_view() -> None:
    crops = noise_crops(4)
    first = augment(crops, DEFAULT_WINDOWS, DEFAULT_AUGMENTATION, generator(3))
    assert torch.equal(first, augment(crops, DEFAULT_WINDOWS, DEFAULT_AUGMENTATION, generator(3)))
    assert not torch.equal(first, augment(crops, DEFAULT_WINDOWS, DEFAULT_AUGMENTATION, generator(4)))


def test_each_sample_draws_its_own() -> None:
    crops = smooth_crops(1).expand(8, 96, 96)
    views = augment(crops, WIDE, DEFAULT_AUGMENTATION, generator())
    distances = torch.cdist(views.flatten(1), views.flatten(1)) + torch.eye(8)
    assert float(distances.min()) > 1e-3


@pytest.mark.parametrize(("setting", "axis"), [("flip_x", -1), ("flip_y", -2)])
def test_certain_flip_mirrors_its_axis(setting: str, axis: int) -> None:
    crops = noise_crops(3)
    flipped = augment(crops, WIDE, replace(NO_AUGMENTATION, **{setting: 1.0}), generator())
    plain = augment(crops, WIDE, NO_AUGMENTATION, generator())
    torch.testing.assert_close(flipped, plain.flip(axis), atol=1e-4, rtol=0)


def test_flip_commutes_with_rotation_in_expectation_of_content() -> None:
    """A mirrored and rotated disc at the centre is the same disc: geometry neither shears nor squeezes."""
    y, x = torch.meshgrid(torch.arange(96) - 47.5, torch.arange(96) - 47.5, indexing="ij")
    disc = 1000 * torch.exp(-(x**2 + y**2) / 200)[None].expand(6, 96, 96)
    turned = augment(disc, WIDE, replace(NO_AUGMENTATION, rotation_deg=180.0, flip_x=0.5, flip_y=0.5), generator())
    plain = augment(disc, WIDE, NO_AUGMENTATION, generator())
    torch.testing.assert_close(turned, plain, atol=2e-3, rtol=0)


def test_shift_moves_the_content_by_at_most_its_fraction() -> None:
    y, x = torch.meshgrid(torch.arange(96) - 47.5, torch.arange(96) - 47.5, indexing="ij")
    disc = 1000 * torch.exp(-(x**2 + y**2) / 50)[None].expand(64, 96, 96)
    view = augment(disc, ((0.0, 1000.0),), replace(NO_AUGMENTATION, shift=0.25), generator())[:, 0]
    pixels = torch.arange(64) - 31.5
    mass = view.sum(dim=(1, 2))
    offset = torch.stack([(view.sum(1) * pixels).sum(1) / mass, (view.sum(2) * pixels).sum(1) / mass])
    assert float(offset.abs().max()) <= 16.01
    assert float(offset.abs().max()) > 13


def test_scale_changes_the_area_within_its_range() -> None:
    y, x = torch.meshgrid(torch.arange(96) - 47.5, torch.arange(96) - 47.5, indexing="ij")
    disc = 1000 * torch.exp(-(x**2 + y**2) / 50)[None].expand(64, 96, 96)
    window = ((0.0, 1000.0),)
    plain = augment(disc, window, NO_AUGMENTATION, generator()).sum(dim=(1, 2, 3))
    zoomed = augment(disc, window, replace(NO_AUGMENTATION, scale=0.2), generator()).sum(dim=(1, 2, 3))
    ratio = torch.log(zoomed / plain) / 2  # area goes with the square of the zoom
    assert float(ratio.abs().max()) <= 0.201
    assert float(ratio.min()) < -0.15
    assert float(ratio.max()) > 0.15


def test_blur_keeps_a_flat_image_and_smooths_noise() -> None:
    blur = replace(NO_AUGMENTATION, blur_sigma_px=1.5)
    flat = torch.full((4, 96, 96), 300.0)
    torch.testing.assert_close(
        augment(flat, WIDE, blur, generator()), augment(flat, WIDE, NO_AUGMENTATION, generator())
    )
    noisy = noise_crops(16)
    smooth = augment(noisy, WIDE, blur, generator()).std(dim=(1, 2, 3))
    assert bool((smooth <= augment(noisy, WIDE, NO_AUGMENTATION, generator()).std(dim=(1, 2, 3)) + 1e-6).all())
    assert float(smooth.mean()) < 0.2


def test_noise_has_at_most_its_deviation() -> None:
    flat = torch.zeros(32, 96, 96)
    view = augment(flat, WIDE, replace(NO_AUGMENTATION, noise_hu=50.0), generator())
    deviation_hu = view.std(dim=(1, 2, 3)) * 4000
    assert 30 < float(deviation_hu.max()) < 52


def test_window_jitter_shifts_the_grey_level_by_at_most_its_fraction() -> None:
    flat = torch.zeros(64, 96, 96)
    view = augment(flat, ((-100.0, 100.0),), replace(NO_AUGMENTATION, window_shift=0.1), generator())
    level = view.mean(dim=(1, 2, 3))
    assert float((level - 0.5).abs().max()) <= 0.1001
    assert float((level - 0.5).abs().max()) > 0.08


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="96"):
        augment(torch.zeros(2, 64, 64), WIDE, NO_AUGMENTATION, generator())
