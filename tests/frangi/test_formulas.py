"""Each formula on eigenvalues of known structures, in slices and in volumes."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Any

import numpy as np
import pytest

from lesiondash.frangi.formulas import rate, response_of
from lesiondash.frangi.hessian import HessianStack
from lesiondash.records import FrangiParams

GAIN = 1 - exp(-0.5)


def value(params: FrangiParams, *eigenvalues: float) -> float:
    """The response with eigenvalues (λ2, λ3) or (λ1, λ2, λ3), far above gamma."""
    first, small, big = (None, *eigenvalues) if len(eigenvalues) == 2 else eigenvalues
    arrays = [each if each is None else np.array([each], float) for each in (first, small, big)]
    return float(response_of(*arrays, replace(params, gamma=1e-3))[0])


@pytest.mark.parametrize(
    ("small", "expected"),
    [
        (1.0, (0.3935, 0.3608, 0.2780, 0.1801, 0.0981)),  # blob
        (0.5, (0.1175, 0.1714, 0.2184, 0.2544, 0.2780)),  # ellipse 1 : 2
        (0.0, (0, 0.0308, 0.1175, 0.2452, 0.3935)),  # ridge, step contour
    ],
)
def test_table_of_rho(small: float, expected: tuple[float, ...]) -> None:
    stack = HessianStack(np.full((1, 1, 1), -small), np.full((1, 1, 1), -1.0), (1.0,))
    for rho, value in zip((0, 0.25, 0.5, 0.75, 1), expected, strict=True):
        params = FrangiParams(rho=rho, sigmas=(1.0,), gamma=1e-3)
        assert stack.respond(params).response.item() == pytest.approx(value, abs=6e-5)


@pytest.mark.parametrize(
    ("eigenvalues", "literal", "promoted"),
    [
        ((0, 0, -1), 0, GAIN),  # plate
        ((0, -1, -1), GAIN, GAIN * exp(-1 / 0.72)),  # tube
        ((-1, -1, -1), GAIN * exp(-1 / 0.72), GAIN * exp(-1 / 0.72)),  # ball
        ((0, 0, 1), 0, 0),
        ((1, 1, 1), 0, 0),
        ((0, 0, 0), 0, 0),
    ],
)
def test_structures_of_a_volume(eigenvalues: Any, literal: float, promoted: float) -> None:
    assert value(FrangiParams(rho=0), *eigenvalues) == pytest.approx(literal)
    assert value(FrangiParams(rho=1), *eigenvalues) == pytest.approx(promoted)
    dark = (-each for each in eigenvalues)
    assert value(FrangiParams(rho=1, polarity="dark"), *dark) == pytest.approx(promoted)


def test_strict_gate_tests_the_second_eigenvalue_too() -> None:
    for rho in (0.0, 0.5, 1.0):
        loose, strict = FrangiParams(rho=rho), FrangiParams(rho=rho, formula="strict")
        assert value(loose, 0.5, -1) > 0
        assert value(strict, 0.5, -1) == 0
        assert value(strict, -0.5, -1) == value(loose, -0.5, -1)
        assert value(strict, 0.5, -1, -1) == value(loose, 0.5, -1, -1)
        both = replace(strict, polarity="both")
        assert value(both, 0.5, 1) == value(strict, -0.5, -1)
        assert value(both, 0.5, -1) == 0


def test_objectness_is_for_blobs_and_plates() -> None:
    params = FrangiParams(formula="objectness")
    assert value(params, -1, -1) == pytest.approx(GAIN)
    assert value(params, 0, -1) == pytest.approx(1)
    assert value(params, -1, -1, -1) == pytest.approx(GAIN)
    assert value(params, 0, 0, -1) == pytest.approx(1)
    tube = value(params, 0, -1, -1)
    assert tube == pytest.approx(exp(-1 / 0.72))
    assert tube < GAIN
    # Not of one sign: no blob.
    assert value(params, 1, -1) == pytest.approx(exp(-1 / 0.72))
    assert value(params, -1, 1) == 0
    assert value(replace(params, polarity="dark"), 1, 1, 1) == pytest.approx(GAIN)
    assert value(replace(params, polarity="both"), 1, 1, 1) == pytest.approx(GAIN)


def test_rates_do_not_overflow_in_the_kind_of_their_number() -> None:
    assert rate(np.uint8(16)) == rate(16)  # type: ignore[arg-type]
    assert rate(np.float16(1e-4)) == pytest.approx(rate(1e-4), rel=2e-2)  # type: ignore[arg-type]


@pytest.mark.parametrize("formula", ["promotion", "strict", "objectness"])
def test_formulas_stay_in_their_range(formula: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 5000))
    values = np.take_along_axis(values, np.argsort(np.abs(values), axis=0), axis=0)
    for first in (None, values[0]):
        for polarity in ("bright", "dark", "both"):
            for normalise in (False, True):
                params = FrangiParams(rho=0.4, formula=formula, polarity=polarity, normalise=normalise)  # type: ignore[arg-type]
                found = response_of(first, values[1], values[2], params)
                assert found.min() >= 0
                assert 0.1 < found.max() <= 1 + 1e-12
