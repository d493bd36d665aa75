"""Hessian eigenvalues against closed forms of scale space, and the border and degenerate cases."""

from __future__ import annotations

from collections.abc import Callable
from math import e, exp, pi, sqrt
from typing import Any

import numpy as np
import pytest

from lesiondash.errors import FilterError
from lesiondash.frangi.derivatives import derivative_operators, gaussian_derivatives
from lesiondash.frangi.hessian import HessianStack

Image = np.ndarray[Any, Any]
N = 129
MIDDLE = N // 2
Y, X = np.mgrid[:N, :N] - MIDDLE
C = 0.5


def blob(tau: float) -> Image:
    return C * np.exp(-(X**2 + Y**2) / (2 * tau**2))


def ridge(tau: float) -> Image:
    return C * np.exp(-(X**2) / (2 * tau**2))


def bar(width: int) -> Image:
    return C * (np.abs(X) <= width / 2)


def disc(radius: float) -> Image:
    fine = (np.arange(8) + 0.5) / 8 - 0.5
    inside = [(X + dx) ** 2 + (Y + dy) ** 2 <= radius**2 for dx in fine for dy in fine]
    return C * np.mean(inside, axis=0)


def at_middle(image: Image, sigma: float) -> tuple[float, float]:
    stack = HessianStack.compute(image, [sigma])
    return float(stack.small[0, MIDDLE, MIDDLE]), float(stack.big[0, MIDDLE, MIDDLE])


@pytest.mark.parametrize(("tau", "tolerance"), [(1, 4e-3), (2, 1e-6), (4, 1e-6), (9, 1e-6)])
def test_gaussian_blob(tau: float, tolerance: float) -> None:
    expected = -C * tau**4 / (2 * tau**2) ** 2  # −c σ² τ² / (τ² + σ²)² at σ = τ, both eigenvalues
    assert at_middle(blob(tau), tau) == pytest.approx((expected, expected), rel=tolerance)
    assert expected == -C / 4


def test_gaussian_blob_away_from_its_centre() -> None:
    tau, sigma, r = 4.0, 3.0, 6
    stack = HessianStack.compute(blob(tau), [sigma])
    v = tau**2 + sigma**2
    level = C * tau**2 / v * exp(-(r**2) / (2 * v))
    radial, tangential = sigma**2 * level * (r**2 / v - 1) / v, -(sigma**2) * level / v
    found = stack.small[0, MIDDLE, MIDDLE + r], stack.big[0, MIDDLE, MIDDLE + r]
    assert found == pytest.approx(sorted((radial, tangential), key=abs), abs=1e-7)


@pytest.mark.parametrize(("tau", "sigma", "tolerance"), [(2, 1, 1e-4), (2, 2.8, 1e-6), (5, 7, 1e-6)])
def test_gaussian_ridge(tau: float, sigma: float, tolerance: float) -> None:
    small, big = at_middle(ridge(tau), sigma)
    assert small == pytest.approx(0, abs=1e-12)
    assert big == pytest.approx(-C * sigma**2 * tau / (tau**2 + sigma**2) ** 1.5, rel=tolerance)


def test_disc_peaks_at_radius_over_sqrt_2() -> None:
    expected = -C / e
    assert at_middle(disc(8), 8 / sqrt(2)) == pytest.approx((expected, expected), rel=5e-3)
    weaker = [abs(at_middle(disc(8), factor * 8 / sqrt(2))[1]) for factor in (0.8, 1.25)]
    assert max(weaker) < C / e


def test_bar_peaks_at_half_its_width() -> None:
    assert at_middle(bar(9), 4.5)[1] == pytest.approx(-C * sqrt(2 / pi) * exp(-0.5), rel=6e-3)


def test_step_edge_has_one_value_at_every_matching_scale() -> None:
    edge = np.where(X >= 0, C, 0)  # the edge lies between two pixels, half a pixel from the first inside
    for column, tolerance in ((2, 2e-2), (5, 6e-3), (8, 3e-3)):
        stack = HessianStack.compute(edge, [column + 0.5])
        value = stack.big[0, MIDDLE, MIDDLE + column]
        assert value == pytest.approx(-C * exp(-0.5) / sqrt(2 * pi), rel=tolerance)


@pytest.mark.parametrize("sigma", [1, 2])
def test_white_noise_norm(sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1, (8, 256, 256))
    stack = HessianStack.compute(noise, [sigma])
    h0, h1, h2 = (float(np.sum(h**2)) for h in gaussian_derivatives(sigma))
    rms = float(np.sqrt(np.mean(stack.small**2 + stack.big**2)))
    assert rms == pytest.approx(sigma**2 * sqrt(2 * h2 * h0 + 2 * h1**2), rel=1e-2)
    assert rms == pytest.approx(1 / (sqrt(2 * pi) * sigma), rel=2e-2)


def test_eigenvalues_equal_numpy_on_each_pixel() -> None:
    image = np.random.default_rng(1).random((12, 15))
    stack = HessianStack.compute(image, [1.3])
    along_y, along_x = derivative_operators(12, 1.3), derivative_operators(15, 1.3)
    yy, xy, xx = (along_y[o] @ image @ along_x[2 - o].T for o in (2, 1, 0))
    values = np.linalg.eigvalsh(np.stack([np.stack([yy, xy], -1), np.stack([xy, xx], -1)], -1))
    values = np.take_along_axis(values, np.argsort(np.abs(values), axis=-1), axis=-1)
    assert stack.small[0] == pytest.approx(values[..., 0], abs=1e-12)
    assert stack.big[0] == pytest.approx(values[..., 1], abs=1e-12)


@pytest.mark.parametrize("transform", [np.fliplr, np.flipud, np.rot90, np.transpose])
def test_flips_and_turns_commute(transform: Callable[[Image], Image]) -> None:
    image = np.random.default_rng(2).random((31, 40))
    plain, turned = (HessianStack.compute(each, [1, 3.4]) for each in (image, transform(image)))
    for k in range(2):
        assert turned.small[k] == pytest.approx(transform(plain.small[k]), abs=1e-12)
        # Where the trace vanishes the sign of `big` is rounding's.
        assert np.abs(turned.big[k]) == pytest.approx(np.abs(transform(plain.big[k])), abs=1e-12)


def test_scales_in_mm_equal_scales_in_pixels() -> None:
    image = np.random.default_rng(3).random((30, 30))
    mm = HessianStack.compute(image, [1.6, 4.0], spacing_mm=(0.8, 0.8))
    px = HessianStack.compute(image, [2.0, 5.0])
    assert mm.small == pytest.approx(px.small, abs=1e-12)
    assert mm.big == pytest.approx(px.big, abs=1e-12)


def test_anisotropic_spacing_measures_the_same_blob() -> None:
    y, x = (np.arange(81) - 40) * 0.5, (np.arange(121) - 60) * 0.4
    image = C * np.exp(-(y[:, None] ** 2 + x**2) / (2 * 3.0**2))
    stack = HessianStack.compute(image, [3.0], spacing_mm=(0.5, 0.4))
    assert (stack.small[0, 40, 60], stack.big[0, 40, 60]) == pytest.approx((-C / 4, -C / 4), rel=1e-5)


def test_batch_equals_one_by_one() -> None:
    images = np.random.default_rng(4).random((3, 20, 24))
    batch = HessianStack.compute(images, [1, 2])
    assert batch.big.shape == (2, 3, 20, 24)
    for row, image in enumerate(images):
        one = HessianStack.compute(image, [1, 2])
        assert batch.small[:, row] == pytest.approx(one.small, abs=1e-13)
        assert batch.peak_norm[row] == pytest.approx(one.peak_norm)


def test_float32_follows_float64() -> None:
    image = np.random.default_rng(5).random((64, 64))
    single, double = (HessianStack.compute(image, [1, 9], dtype=each) for each in (np.float32, np.float64))
    assert single.big.dtype == np.float32
    assert np.abs(single.big) == pytest.approx(np.abs(double.big), abs=2e-6)


@pytest.mark.parametrize("value", [0, 0.1, 1, -3.7])
def test_constant_image_is_exactly_flat(value: float) -> None:
    stack = HessianStack.compute(np.full((20, 9), value), [0.5, 3, 9])
    assert not stack.small.any()
    assert not stack.big.any()


@pytest.mark.parametrize(
    ("image", "sigmas", "spacing_mm", "words"),
    [
        (np.array([[0, np.nan]]), [1], None, "nan"),
        (np.array([[0, np.inf]]), [1], None, "inf"),
        (np.zeros((0, 4)), [1], None, r"\(0, 4\)"),
        (np.zeros(4), [1], None, r"\(4,\)"),
        (np.zeros((2, 2, 2, 2)), [1], None, r"\(2, 2, 2, 2\)"),
        (np.array([["a"]]), [1], None, "not real numbers"),
        (np.eye(3) * 1j, [1], None, "complex"),
        ([[1, 2], [3]], [1], None, "rectangle"),
        (np.eye(3), [], None, "empty"),
        (np.eye(3), [1, -2], None, "-2"),
        (np.eye(3), [np.nan], None, "nan"),
        (np.eye(3), ["wide"], None, "wide"),
        (np.eye(3), [1e5], None, "100000"),
        (np.eye(3), [1], (1, 0), r"\(1, 0\)"),
        (np.eye(3), [1], (1, 1, 1), r"\(1, 1, 1\)"),
    ],
)
def test_refuses_what_it_cannot_filter(image: Any, sigmas: Any, spacing_mm: Any, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        HessianStack.compute(image, sigmas, spacing_mm=spacing_mm)
