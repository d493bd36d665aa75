from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from test_deeplesion import write_collection

from lesiondash.errors import BoxError
from lesiondash.images.crops import CONTEXT, CROP_PX, MIN_SIDE_MM, box_mask, crop, crop_lesion, crop_side_mm
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.records import Box

AIR = -1024


def noise(height: int = 200, width: int = 240) -> npt.NDArray[np.int16]:
    return np.random.default_rng(3).integers(-1000, 1000, (height, width)).astype(np.int16)


def box_at(x: float, y: float, half: float = 8) -> Box:
    return Box(x - half, y - half, x + half, y + half)


def disc(spacing_mm: tuple[float, float], radius_mm: float = 10, extent_mm: float = 120) -> npt.NDArray[np.float64]:
    """A disc of 0 HU in air, anti-aliased by counting sub-pixels, at the middle of an image of extent_mm."""
    fine = 4
    axes = [(np.arange(round(extent_mm / s) * fine) + 0.5) * s / fine for s in spacing_mm]
    middle = [round(extent_mm / s) * s / 2 for s in spacing_mm]
    inside = (axes[0][:, None] - middle[0]) ** 2 + (axes[1][None, :] - middle[1]) ** 2 < radius_mm**2
    height, width = (len(axis) // fine for axis in axes)
    coverage = inside.reshape(height, fine, width, fine).mean(axis=(1, 3))
    return AIR * (1 - coverage)


def test_a_crop_at_the_same_spacing_and_size_is_the_image_itself() -> None:
    hu = noise()
    result = crop(hu, box_at(100, 90), spacing_mm=(0.5, 0.5), size_px=64, side_mm=32)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, hu[58:122, 68:132])


def test_whole_factors_shrink_without_shift() -> None:
    ramp = np.broadcast_to(np.arange(240.0), (200, 240))
    result = crop(ramp, box_at(100, 90), spacing_mm=(1, 1), size_px=16, side_mm=64)
    np.testing.assert_allclose(result[5], 68 + 4 * np.arange(16) + 1.5, atol=1e-3)
    enlarged = crop(ramp, box_at(100, 90), spacing_mm=(1, 1), size_px=128, side_mm=64)
    np.testing.assert_allclose(enlarged[5], 68 + (np.arange(128) + 0.5) / 2 - 0.5, atol=1e-3)


def test_moving_image_and_box_together_changes_nothing() -> None:
    hu = noise()
    moved = np.roll(hu, (7, -11), axis=(0, 1))
    first = crop(hu, box_at(110.3, 95.7), spacing_mm=(0.8, 0.8))
    second = crop(moved, box_at(99.3, 102.7), spacing_mm=(0.8, 0.8))
    np.testing.assert_allclose(first, second, atol=0.05)


def test_flipping_and_transposing_commute_with_cropping() -> None:
    hu = noise()
    box = Box(90.2, 70.1, 120.9, 99.4)
    spacing = (0.7, 0.9)
    plain = crop(hu, box, spacing_mm=spacing)
    mirrored = Box(240 - box.x1, box.y0, 240 - box.x0, box.y1)
    np.testing.assert_allclose(crop(hu[:, ::-1], mirrored, spacing_mm=spacing), plain[:, ::-1], atol=0.05)
    turned = Box(box.y0, box.x0, box.y1, box.x1)
    np.testing.assert_allclose(crop(hu.T, turned, spacing_mm=(0.9, 0.7)), plain.T, atol=0.05)


def test_resampling_is_linear_in_hu() -> None:
    hu = noise().astype(np.float64)
    box = box_at(60, 180)
    a, b = (crop(image, box, spacing_mm=(0.7, 0.7), side_mm=90) for image in (hu, -0.5 * hu + 40))
    inside = crop(np.zeros_like(hu), box, spacing_mm=(0.7, 0.7), side_mm=90) == 0
    np.testing.assert_allclose(b[inside], (-0.5 * a + 40)[inside], atol=0.05)


@pytest.mark.parametrize("spacing_mm", [(0.3, 0.3), (0.5, 0.5), (0.8, 0.8), (1.0, 1.0), (0.5, 0.9), (2.0, 2.0)])
def test_a_disc_of_20_mm_has_the_same_area_whatever_the_spacing(spacing_mm: tuple[float, float]) -> None:
    hu = disc(spacing_mm)
    middle_y, middle_x = hu.shape[0] / 2, hu.shape[1] / 2
    half_y, half_x = 10 / spacing_mm[0], 10 / spacing_mm[1]
    box = Box(middle_x - half_x, middle_y - half_y, middle_x + half_x, middle_y + half_y)
    result = crop(hu, box, spacing_mm=spacing_mm)
    fraction = float(np.mean(1 - result / AIR))
    assert fraction == pytest.approx(np.pi * 10**2 / MIN_SIDE_MM**2, rel=0.01)
    ys, xs = np.indices(result.shape)
    weight = 1 - result / AIR
    np.testing.assert_allclose([(ys * weight).sum(), (xs * weight).sum()] / weight.sum(), 31.5, atol=0.02)


def test_shrinking_averages_instead_of_aliasing() -> None:
    checkerboard = 1000.0 * (np.indices((512, 512)).sum(axis=0) % 2)
    result = crop(checkerboard, box_at(256, 256, 150), spacing_mm=(1, 1), size_px=64)
    np.testing.assert_allclose(result, 500, atol=15)


def test_beyond_the_edge_lies_air() -> None:
    hu = np.zeros((100, 100), dtype=np.int16)
    result = crop(hu, Box(-10, 40, 10, 60), spacing_mm=(1, 1), size_px=50, side_mm=50)
    np.testing.assert_array_equal(result[:, :25], AIR)
    np.testing.assert_array_equal(result[:, 25:], 0)
    tiny = crop(hu, Box(-30, 40, 1, 60), spacing_mm=(1, 1), size_px=8, side_mm=4)
    np.testing.assert_array_equal(tiny, AIR)


def test_the_field_of_view_follows_the_box_in_mm() -> None:
    assert crop_side_mm(Box(0, 0, 10, 20), (1.0, 1.0)) == MIN_SIDE_MM
    assert crop_side_mm(Box(0, 0, 100, 20), (1.0, 0.8)) == pytest.approx(CONTEXT * 80)
    assert crop_side_mm(Box(0, 0, 100, 90), (1.0, 0.8)) == pytest.approx(CONTEXT * 90)


def test_impossible_crops_raise() -> None:
    hu = noise()
    with pytest.raises(BoxError, match="outside"):
        crop(hu, Box(300, 10, 320, 30), spacing_mm=(1, 1))
    with pytest.raises(BoxError, match="spacing"):
        crop(hu, box_at(50, 50), spacing_mm=(0, 1))
    with pytest.raises(BoxError, match="no area"):
        crop(hu, box_at(50, 50), spacing_mm=(1, 1), side_mm=-3)
    with pytest.raises(BoxError, match="3 dimensions"):
        crop(np.zeros((2, 9, 9)), box_at(4, 4, 2), spacing_mm=(1, 1))


def test_a_margin_shows_more_around_the_same_middle(tmp_path: Path) -> None:
    write_collection(tmp_path)
    collection = DeepLesion(tmp_path)
    lesion = collection.lesions[0]
    plain = crop_lesion(collection, lesion)
    wide = crop_lesion(collection, lesion, size_px=CROP_PX * 3 // 2, margin=1.5)
    assert wide.shape == (96, 96)
    np.testing.assert_allclose(wide[16:80, 16:80], plain, atol=0.05)


def test_the_mask_of_a_box_covers_what_the_box_covers() -> None:
    """A bright box on dark is cut to a bright box, and the mask is it."""
    box, spacing_mm = Box(90, 100, 120, 112), (0.8, 0.8)
    hu = np.zeros((256, 256))
    hu[100:112, 90:120] = 1000
    shown = crop(hu, box, spacing_mm=spacing_mm)
    mask = box_mask(box, spacing_mm)
    assert shown[mask].mean() > 900
    assert shown[~mask].mean() < 50
    assert mask.sum() * (crop_side_mm(box, spacing_mm) / 64) ** 2 == pytest.approx(30 * 12 * 0.64, rel=0.12)
