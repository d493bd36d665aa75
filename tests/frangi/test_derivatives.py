"""Gaussian derivatives along an axis: moments, the folded border, and the two factorings of one operator."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from lesiondash.errors import FilterError
from lesiondash.frangi import derivatives
from lesiondash.frangi.derivatives import (
    MIN_SIGMA_PX,
    cosines,
    derivative_operators,
    frequencies,
    gaussian_derivatives,
    row_blocks,
    spectral_operators,
    spectral_pays,
)
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import FrangiParams


@pytest.mark.parametrize("sigma", [0.01, 0.3, 0.7, 1, 2.2, 9])
def test_kernel_moments(sigma: float) -> None:
    h0, h1, h2 = gaussian_derivatives(sigma)
    k = np.arange(len(h0)) - len(h0) // 2
    assert [h0.sum(), -(k * h1).sum(), (k**2 * h2).sum()] == pytest.approx([1, 1, 2], abs=1e-12)
    odd = [h1.sum(), h2.sum(), (k * h2).sum(), (k**3 * h2).sum()]
    assert odd == pytest.approx([0, 0, 0, 0], abs=1e-10)


@pytest.mark.parametrize("size", [1, 2, 5, 64])
@pytest.mark.parametrize("sigma", [0.5, 2, 9])
def test_operators_equal_convolution_of_the_reflected_signal(size: int, sigma: float) -> None:
    signal = np.random.default_rng(size).random(size)
    for order, kernel in enumerate(gaussian_derivatives(sigma)):
        padded = np.pad(signal, len(kernel) // 2, mode="symmetric")
        expected = sigma**order * np.convolve(padded, kernel, mode="valid")
        assert derivative_operators(size, sigma)[order] @ signal == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [1, 5, 64, 200])
@pytest.mark.parametrize("sigma", [0.5, 2, 9])
def test_blocks_of_rows_are_the_operator(size: int, sigma: float) -> None:
    expected = derivative_operators(size, sigma)
    for transposed in (False, True):
        found = np.zeros_like(expected)
        for block in row_blocks(size, sigma, "<f8", 64, transposed):
            weights = block.weights.swapaxes(1, 2) if transposed else block.weights
            found[:, block.rows, block.columns] = weights
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("size", [1, 2, 5, 64, 301])
def test_all_cosines_make_the_operator(size: int) -> None:
    sigma = 0.7  # no frequency is above the cut
    assert frequencies(size, sigma) == size
    found = spectral_operators(size, sigma, "<f8") @ cosines(size, size, "<f8")
    assert found == pytest.approx(derivative_operators(size, sigma), abs=1e-11)


@pytest.mark.parametrize("sigma", [2, 4.4, 9])
def test_frequencies_left_out_do_not_count(sigma: float) -> None:
    few = spectral_operators(64, sigma, "<f8")
    assert few.shape[2] < 64
    assert np.array_equal(spectral_operators(64, sigma, "<f8", True), few.swapaxes(1, 2))
    rest = few @ cosines(64, few.shape[2], "<f8") - derivative_operators(64, sigma)
    assert np.linalg.norm(rest, 2, axis=(1, 2)).max() < 1e-6


def test_cosines_are_orthonormal() -> None:
    series = cosines(37, 37, "<f8")
    assert series @ series.T == pytest.approx(np.eye(37), abs=1e-13)


def test_wide_kernels_are_left_to_cosines() -> None:
    assert spectral_pays((512, 512), (9, 9))
    assert not spectral_pays((512, 512), (1, 1))
    assert spectral_pays((64, 64), (3, 3))


def test_operators_are_kept_within_their_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivatives, "_kept", OrderedDict())
    assert row_blocks(64, 2.5, "<f8") is row_blocks(64, 2.5, "<f8")
    assert spectral_operators(64, 2.5, "<f4") is spectral_operators(64, 2.5, "<f4")
    monkeypatch.setattr(derivatives, "OPERATOR_BYTES", 1_000_000)
    for size in (200, 300, 400):
        for dtype in (np.float32, np.float64):
            HessianStack.compute(np.ones((size, size + 9)), (1.0, 3.0, 9.0), dtype=dtype)
    assert 0 < sum(size for _, size in derivatives._kept.values()) <= 1_000_000
    last = spectral_operators(100, 4.0, "<f4")
    assert spectral_operators(100, 4.0, "<f4") is last


def test_refuses_a_scale_beyond_reason() -> None:
    with pytest.raises(FilterError, match="2000 pixels"):
        derivative_operators(8, 2000)
    with pytest.raises(FilterError, match=r"less than 0\.001"):
        derivative_operators(8, 1e-170)
    assert np.isfinite(derivative_operators(8, MIN_SIGMA_PX)).all()


@pytest.mark.parametrize("formula", ["promotion", "skimage"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("sigma", [1e7, 1e308, 1e-3 / 2, 1e-170])
def test_every_path_refuses_a_scale_beyond_reason(sigma: float, ndim: int, dtype: Any, formula: Any) -> None:
    image = np.random.default_rng(0).random((3, 8, 9))
    params = FrangiParams(sigmas=(1.0, sigma), formula=formula)
    with pytest.raises(FilterError, match="The scale is"):
        frangi_filter(image, params, ndim=ndim, dtype=dtype)


def test_the_bounds_of_a_scale_are_in_pixels() -> None:
    for spacing, words in ((1e-5, "more than"), (1e5, "less than"), (1e-320, "more than")):
        with pytest.raises(FilterError, match=words):
            HessianStack.compute(np.eye(9), (0.5,), spacing_mm=(1, spacing), tolerance=1e-3)
