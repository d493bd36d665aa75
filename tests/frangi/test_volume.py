"""The closed forms of scale space in three dimensions, and the responses that follow from them."""

from __future__ import annotations

from math import exp, pi, sqrt
from typing import Any

import numpy as np
import pytest
from scenes import Image, grid

from lesiondash.errors import FilterError
from lesiondash.frangi.derivatives import gaussian_derivatives
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import FrangiParams

N = 41
MIDDLE = N // 2
C = 0.5
GAIN = 1 - exp(-0.5)
Z, Y, X = grid(N)
BLOB_BEST = (2 / 3) / (5 / 3) ** 2.5
BALL_BEST = 4 / (3 * sqrt(pi)) * 1.5**1.5 * exp(-1.5)


def at_middle(image: Image, sigma: float, **options: Any) -> tuple[float, ...]:
    stack = HessianStack.compute(image, [sigma], ndim=3, **options)
    middle = tuple(n // 2 for n in image.shape)
    assert stack.first is not None
    return tuple(float(each[0][middle]) for each in (stack.first, stack.small, stack.big))


def respond(image: Image, sigma: float, rho: float) -> float:
    found = frangi_filter(image, FrangiParams(sigmas=(sigma,), rho=rho), ndim=3)
    return float(found.response[MIDDLE, MIDDLE, MIDDLE])


def gaussian(tau: float, *axes: Image) -> Image:
    return np.asarray(C * np.exp(-sum(axis**2 for axis in axes) / (2 * tau**2)))


def smooth(inside: Any, steps: int = 4) -> Image:
    """Share of each voxel for which `inside(z, y, x)` holds, sampled `steps` times an axis."""
    offsets = (np.arange(steps) + 0.5) / steps - 0.5
    total = np.zeros(X.shape)
    for dz in offsets:
        for dy in offsets:
            for dx in offsets:
                total += inside(Z + dz, Y + dy, X + dx)
    return C * total / steps**3


@pytest.mark.parametrize(("tau", "tolerance"), [(1.0, 2e-2), (2.0, 1e-4), (4.0, 1e-6)])
def test_gaussian_blob(tau: float, tolerance: float) -> None:
    sigma = sqrt(2 / 3) * tau
    expected = -C * sigma**2 * tau**3 / (tau**2 + sigma**2) ** 2.5
    assert expected == pytest.approx(-C * BLOB_BEST)
    image = gaussian(tau, Z, Y, X)
    assert at_middle(image, sigma) == pytest.approx((expected,) * 3, rel=tolerance)
    if tau > 1:  # smaller kernels are too coarsely sampled
        weaker = [abs(at_middle(image, factor * sigma)[2]) for factor in (0.8, 1.25)]
        assert max(weaker) < abs(expected)


def test_gaussian_blob_away_from_its_centre() -> None:
    tau, sigma, r = 3.0, 2.0, 5
    stack = HessianStack.compute(gaussian(tau, Z, Y, X), [sigma], ndim=3)
    v = tau**2 + sigma**2
    level = C * (tau**2 / v) ** 1.5 * exp(-(r**2) / (2 * v))
    radial, tangential = sigma**2 * level * (r**2 / v - 1) / v, -(sigma**2) * level / v
    assert stack.first is not None
    for place in ((MIDDLE + r, MIDDLE, MIDDLE), (MIDDLE, MIDDLE + r, MIDDLE), (MIDDLE, MIDDLE, MIDDLE - r)):
        found = [each[(0, *place)] for each in (stack.first, stack.small, stack.big)]
        assert found == pytest.approx(sorted((radial, tangential, tangential), key=abs), abs=1e-7)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
def test_gaussian_tube(axes: tuple[int, int]) -> None:
    tau = 3.0
    image = gaussian(tau, *((Z, Y, X)[axis] for axis in axes))
    assert at_middle(image, tau) == pytest.approx((0, -C / 4, -C / 4), abs=1e-6)
    assert respond(image, tau, rho=0) == pytest.approx(0.393327, abs=2e-6)
    assert respond(image, tau, rho=1) == pytest.approx(0.098077, abs=2e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gaussian_plate(axis: int) -> None:
    tau, sigma = 2.0, 2 * sqrt(2)
    image = gaussian(tau, (Z, Y, X)[axis])
    expected = -C * sigma**2 * tau / (tau**2 + sigma**2) ** 1.5
    assert expected == pytest.approx(-0.3849 * C, rel=1e-4)
    assert at_middle(image, sigma) == pytest.approx((0, 0, expected), abs=1e-6)
    assert respond(image, sigma, rho=0) == pytest.approx(0, abs=1e-6)
    assert respond(image, sigma, rho=1) == pytest.approx(GAIN, abs=5e-5)


def test_ball_peaks_at_radius_over_sqrt_3() -> None:
    radius = 5.0
    sigma = radius / sqrt(3)
    ball = smooth(lambda z, y, x: z**2 + y**2 + x**2 <= radius**2)
    assert pytest.approx(0.3084, abs=1e-4) == BALL_BEST
    assert at_middle(ball, sigma) == pytest.approx((-C * BALL_BEST,) * 3, rel=1e-2)
    assert respond(ball, sigma, rho=1) == pytest.approx(0.098112, abs=1e-3)


def test_cylinder_peaks_at_radius_over_sqrt_2() -> None:
    radius = 6.0
    cylinder = smooth(lambda z, y, x: y**2 + x**2 <= radius**2)
    expected = -C / np.e
    assert at_middle(cylinder, radius / sqrt(2)) == pytest.approx((0, expected, expected), rel=1e-2, abs=1e-6)


def test_slab_peaks_at_half_its_width() -> None:
    slab = C * (np.abs(Z) <= 4.5)
    expected = -C * sqrt(2 / pi) * exp(-0.5)
    assert at_middle(slab, 4.5) == pytest.approx((0, 0, expected), rel=6e-3, abs=1e-6)
    # A voxel is a box: its own variance of 1/12 belongs to the object, not to the filter.
    narrow, sigma = C * (np.abs(Z) <= 1.5), 1.0
    effective = sqrt(sigma**2 - 1 / 12)
    corrected = -C * sqrt(2 / pi) * sigma**2 * 1.5 / effective**3 * exp(-(1.5**2) / (2 * effective**2))
    assert at_middle(narrow, sigma)[2] == pytest.approx(corrected, rel=5e-3)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_white_noise_norm(sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1, (72, 96, 96))
    stack = HessianStack.compute(noise, [sigma], ndim=3)
    assert stack.first is not None
    margin = slice(int(4 * sigma), -int(4 * sigma))  # the mirrored noise beyond the border is not independent
    square = float(np.mean((stack.first**2 + stack.small**2 + stack.big**2)[0, margin, margin, margin]))
    e0, e1, e2 = (float(np.sum(h**2)) for h in gaussian_derivatives(sigma))
    assert square == pytest.approx(sigma**4 * (3 * e2 * e0**2 + 6 * e1**2 * e0), rel=3e-2)
    assert square == pytest.approx(15 / (32 * pi**1.5 * sigma**3), rel=6e-2)


def test_anisotropic_spacing_measures_the_same_blob() -> None:
    spacing = (1.5, 0.7, 0.8)
    axes = [(np.arange(n) - n // 2) * s for n, s in zip((21, 51, 45), spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    image = gaussian(3.0, z, y, x)
    sigma = sqrt(2 / 3) * 3.0
    expected = pytest.approx((-C * BLOB_BEST,) * 3, rel=2e-3)
    assert at_middle(image, sigma, spacing_mm=spacing) == expected
    assert at_middle(image, sigma) != expected


def test_constant_volume_is_exactly_flat() -> None:
    for dtype in (np.float32, np.float64):
        result = frangi_filter(
            np.full((6, 20, 9), 0.1), FrangiParams(polarity="both"), ndim=3, dtype=dtype, compile=True
        )
        assert not result.response.any()
        assert not result.scale_index.any()


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (np.eye(4), {"ndim": 3}, r"\(4, 4\).*volume"),
        (np.zeros((2, 2, 2, 2)), {"ndim": 3}, r"\(2, 2, 2, 2\)"),
        (np.full((2, 3, 4), np.nan), {"ndim": 3}, "24 pixels.*nan"),
        (np.zeros((0, 3, 4)), {"ndim": 3}, "no pixel"),
        (np.zeros((2, 3, 4)), {"ndim": 4}, "ndim is 4"),
        (np.zeros((2, 3, 4)), {"ndim": 3, "spacing_mm": (1, 1)}, r"\(z, y, x\)"),
        (np.zeros((2, 3, 4)), {"ndim": 3, "spacing_mm": (1, 0, 1)}, "not above 0"),
        (np.zeros((2, 3, 4)), {"ndim": 3, "dtype": np.float16}, "float16"),
    ],
)
def test_refuses_what_it_cannot_filter(image: Image, options: dict[str, Any], words: str) -> None:
    with pytest.raises(FilterError, match=words):
        frangi_filter(image, FrangiParams(sigmas=(1.0,)), **options)
