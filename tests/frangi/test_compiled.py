"""The compiled float32 kernels against the float64 formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lesiondash.frangi import compiled
from lesiondash.frangi.eigenvalues import eigenvalues
from lesiondash.frangi.formulas import response_of
from lesiondash.frangi.hessian import HessianStack
from lesiondash.records import FrangiParams

Image = np.ndarray[Any, Any]


@compiled._kernel()
def powers(values: Any, out: Any) -> None:
    for i in range(values.size):
        out[i] = compiled.exp2_below_zero(values[i])


def test_powers_of_two() -> None:
    x = -np.concatenate([np.linspace(0, 126, 100_001), np.geomspace(1e-30, 1, 1000)]).astype(np.float32)
    out = np.empty_like(x)
    powers(x, out)
    assert np.abs(out / np.exp2(x.astype(np.float64)) - 1).max() < 3e-7
    powers(np.array([0, -127, -1e30, -np.inf], np.float32), out)
    assert out[0] == 1
    assert (out[1:4] < 2e-38).all()


@compiled._kernel()
def complements(values: Any, out: Any) -> None:
    for i in range(values.size):
        out[i] = compiled.one_less_exp2(values[i])


def test_complements_of_powers_keep_their_digits() -> None:
    x = np.concatenate([np.geomspace(1e-30, 1, 10_000), np.linspace(0.05, 0.2, 1001)]).astype(np.float32)
    out = np.empty_like(x)
    complements(x, out)
    assert np.abs(out / -np.expm1(-np.log(2) * x.astype(np.float64)) - 1).max() < 2e-6


@pytest.mark.parametrize("count", [3, 6])
def test_eigenvalues(count: int) -> None:
    parts = np.random.default_rng(0).normal(size=(count, 10_000)).astype(np.float32)
    found = np.empty((count // 3 + 1, 10_000), np.float32)
    (compiled.eigenvalues_2d if count == 3 else compiled.eigenvalues_3d)(*parts, *found)
    expected = np.stack([each for each in eigenvalues(list(parts.astype(np.float64))) if each is not None])
    assert np.abs(np.abs(found) - np.abs(expected)).max() < 1e-5


def test_eigenvalues_of_equal_kind() -> None:
    # A ball, a tube and a plate along the axes, and nothing.
    parts = np.zeros((6, 4), np.float32)
    parts[[0, 2, 5], 0] = -1
    parts[[0, 2], 1] = -1
    parts[0, 2] = -1
    found = np.empty((3, 4), np.float32)
    compiled.eigenvalues_3d(*parts, *found)
    expected = np.array([[-1, 0, 0, 0], [-1, -1, 0, 0], [-1, -1, -1, 0]])
    assert found == pytest.approx(expected, abs=5e-4)
    assert not found[:, 3].any()


@pytest.mark.parametrize("alpha", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("polarity", ["bright", "dark", "both"])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.68, 1.0])
@pytest.mark.parametrize("volume", [False, True])
def test_response(polarity: Any, rho: float, volume: bool, alpha: float) -> None:
    rng = np.random.default_rng(5)
    values = 0.1 * rng.normal(size=(3, 3, 10_000)).astype(np.float32)  # eigenvalues, scales, pixels
    values = np.take_along_axis(values, np.argsort(np.abs(values), axis=0), axis=0)
    values[:, :, :3] = 0  # nothing there
    values[0, :, 3:6] = 0
    values[1, :, 6:9] = 0
    first = values[0] if volume else None
    stack = HessianStack(values[1], values[2], (1.0, 2.0, 3.0), first, compile=True)
    for normalise in (False, True):
        params = FrangiParams(alpha=alpha, sigmas=stack.sigmas, rho=rho, polarity=polarity, normalise=normalise)
        every = np.stack(
            [
                response_of(None if first is None else each[0], each[1], each[2], params)
                for each in values.astype(np.float64).swapaxes(0, 1)
            ]
        )
        result = stack.respond(params)
        assert np.abs(result.response - every.max(axis=0)).max() < 2e-6
        assert result.response.max() <= 1
        assert (result.scale_index == every.argmax(axis=0)).mean() > 0.999
        assert not result.response[:3].any()
        assert not result.scale_index[:3].any()


def test_first_scale_wins_a_tie() -> None:
    values = np.full((3, 8), -0.2, np.float32)
    stack = HessianStack(values, values, (1.0, 2.0, 3.0), compile=True)
    params = FrangiParams(sigmas=stack.sigmas)
    for each in (params, replace(params, rho=0.5)):
        assert not stack.respond(each).scale_index.any()


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma"])
@pytest.mark.parametrize("value", [1e-300, 1e-30, 1e30, 1e300])
def test_extreme_parameters(name: str, value: float) -> None:
    values = np.array([[-0.5, -1e-20, 0, 1e3, -1e3]], np.float32)
    for first in (None, values):
        stack = HessianStack(values, values, (1.0,), first, compile=True)
        for rho in (0.4, 1.0):
            found = stack.respond(FrangiParams(sigmas=(1.0,), rho=rho, **{name: value})).response  # type: ignore[arg-type]
            assert np.isfinite(found).all()
            assert found.min() >= 0
            assert found.max() <= 1
