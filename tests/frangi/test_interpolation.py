"""Interpolated scales stay within their certificate, on images and on the worst image there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scenes import scene

from lesiondash.errors import FilterError
from lesiondash.frangi.hessian import HessianStack, Setting, scale_spaces
from lesiondash.frangi.interpolation import interpolate
from lesiondash.frangi.presets import sweep
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import DEFAULT_SIGMAS, FrangiParams

Image = np.ndarray[Any, Any]


def hessians(image: Image, sigmas: tuple[float, ...], spacing: Any, tolerance: float | None) -> Image:
    """All components, (scales, components, pixels), in float64."""
    setting = Setting(sigmas, spacing, tolerance)
    found = np.zeros((len(sigmas), 3, image.size))
    width = image.shape[1]
    for _, space in scale_spaces(image[None].astype(np.float64), setting):
        for piece in space.pieces():
            rows = piece.where[0]
            assert isinstance(rows, slice)
            for number, each in enumerate(piece.components):
                found[piece.scales, number, rows.start * width : rows.stop * width] = each
    return found


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize(
    ("sigmas", "spacing"),
    [(DEFAULT_SIGMAS, (1.0, 1.0)), (sweep(2, 5, 0.1), (0.7, 0.8)), (sweep(0.6, 3, 0.2), (1.0, 1.0))],
)
def test_error_is_below_the_certificate(sigmas: tuple[float, ...], spacing: Any, tolerance: float) -> None:
    plan = interpolate(tuple((s / spacing[0], s / spacing[1]) for s in sigmas), tolerance)
    assert plan.bound <= tolerance
    assert len(plan.exact) < len(sigmas)
    rng = np.random.default_rng(0)
    for image in (scene(), rng.random((70, 90)), np.sign(rng.normal(size=(70, 90)))):
        error = hessians(image, sigmas, spacing, tolerance) - hessians(image, sigmas, spacing, None)
        assert np.abs(error).max() <= plan.bound * np.ptp(image) + 1e-7


def test_certificate_is_reached_by_the_worst_image() -> None:
    plan = interpolate(tuple((s, s) for s in DEFAULT_SIGMAS), 1e-2)
    impulse = np.zeros((129, 129))
    impulse[64, 64] = 1
    kernels = hessians(impulse, DEFAULT_SIGMAS, (1.0, 1.0), 1e-2) - hessians(impulse, DEFAULT_SIGMAS, (1.0, 1.0), None)
    assert 0.5 * np.abs(kernels).sum(axis=2).max() == pytest.approx(plan.bound, rel=1e-3)


def test_smaller_tolerance_computes_more_scales() -> None:
    px = tuple((s, s) for s in DEFAULT_SIGMAS)
    counts = [len(interpolate(px, tolerance).exact) for tolerance in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)]
    assert counts == sorted(counts)
    assert counts[-1] < 25


def test_computed_scales_are_untouched() -> None:
    plan = interpolate(tuple((s, s) for s in DEFAULT_SIGMAS), 1e-3)
    assert np.array_equal(plan.weights[list(plan.exact)], np.eye(len(plan.exact)))


@pytest.mark.parametrize("sigmas", [(2.0,), (1.0, 9.0), (1.0, 100.0, 200.0)])
def test_computes_every_scale_where_nothing_is_won(sigmas: tuple[float, ...]) -> None:
    plan = interpolate(tuple((s, s) for s in sigmas), 1e-3)
    assert plan.exact == tuple(range(len(sigmas)))
    assert plan.bound == 0


def test_stack_says_its_error_and_its_response_is_close() -> None:
    image, params = scene(1, (100, 90)), FrangiParams()
    exact = HessianStack.compute(image, params.sigmas)
    quick = HessianStack.compute(image, params.sigmas, tolerance=1e-4)
    assert exact.hessian_error == 0
    assert 0 < quick.hessian_error <= 1e-4
    difference = np.abs(exact.respond(params).response - quick.respond(params).response)
    assert np.quantile(difference, 0.999) < 1e-3


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), "small", True])
@pytest.mark.parametrize("ndim", [2, 3])
def test_refuses_other_tolerances(tolerance: Any, ndim: int) -> None:
    for compute in (HessianStack.compute, lambda image, sigmas, **given: frangi_filter(image, **given)):
        with pytest.raises(FilterError, match="tolerance"):
            compute(np.ones((2, 9, 9)), (1.0, 2.0), ndim=ndim, tolerance=tolerance)


def test_a_tolerance_is_no_option_of_a_volume_or_of_scikit_image() -> None:
    with pytest.raises(FilterError, match="volume"):
        HessianStack.compute(np.ones((3, 9, 9)), (1.0, 2.0), ndim=3, tolerance=1e-3)
    with pytest.raises(FilterError, match="scikit-image"):
        frangi_filter(scene(), FrangiParams(formula="skimage"), tolerance=1e-3)


def test_a_tolerance_of_numpy() -> None:
    stacks = [HessianStack.compute(np.eye(9), DEFAULT_SIGMAS, tolerance=kind(2.0**-10)) for kind in (float, np.float32)]
    assert np.array_equal(stacks[0].big, stacks[1].big)
