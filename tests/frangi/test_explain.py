"""The terms under the cursor: their product is the response, at every place, scale and setting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lesiondash.errors import FilterError
from lesiondash.frangi.explain import explain
from lesiondash.frangi.hessian import HessianStack
from lesiondash.records import FrangiParams

SIGMAS = (1.0, 2.0, 3.5)
RNG = np.random.default_rng(5)
IMAGE = RNG.random((24, 20))
STACK = HessianStack.compute(IMAGE, SIGMAS)
BASE = FrangiParams(sigmas=SIGMAS)


@pytest.mark.parametrize("rho", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("polarity", ["bright", "dark", "both"])
@pytest.mark.parametrize("formula", ["promotion", "strict"])
@pytest.mark.parametrize("gamma", [0.1, "auto"])
def test_terms_multiply_to_the_response(rho: float, polarity: str, formula: str, gamma: float | str) -> None:
    params = replace(BASE, rho=rho, polarity=polarity, formula=formula, gamma=gamma)
    found = STACK.respond(params)
    for place in [(0, 0), (5, 7), (23, 19), (12, 3), (9, 9)]:
        terms = explain(STACK, params, place)
        assert terms.response == pytest.approx(found.response[place], abs=1e-12)
        assert terms.scale_index == found.scale_index[place]
        product = 0.0 if terms.gated else terms.ra_factor * terms.rb_factor * terms.structure
        if not (formula == "strict" and polarity == "both"):
            assert product == pytest.approx(terms.response, abs=1e-9)
        assert terms.s == pytest.approx(np.linalg.norm(terms.eigenvalues))


def test_a_scale_can_be_chosen() -> None:
    every = STACK.responses(BASE)
    for k, sigma in enumerate(SIGMAS):
        terms = explain(STACK, BASE, (8, 8), k)
        assert terms.sigma == sigma
        assert terms.response == pytest.approx(every[k, 8, 8], abs=1e-12)


def test_a_bright_blob_and_a_ridge() -> None:
    """At ρ = 1 a blob's R_B is 1, a ridge's 0; on the far side of the sign the gate says so."""
    y, x = np.mgrid[-15:16, -15:16]
    params = replace(BASE, sigmas=(3.0,))
    blob = explain(HessianStack.compute(np.exp(-(x**2 + y**2) / 18), (3.0,)), params, (15, 15))
    ridge = explain(HessianStack.compute(np.exp(-(x**2) / 18.0), (3.0,)), params, (15, 15))
    assert blob.rb == pytest.approx(1, abs=1e-6)
    assert ridge.rb == pytest.approx(0, abs=1e-6)
    assert explain(HessianStack.compute(-np.exp(-(x**2) / 18.0), (3.0,)), params, (15, 15)).gated


def test_a_volume_has_three_eigenvalues() -> None:
    stack = HessianStack.compute(RNG.random((6, 7, 8)), (1.0,), ndim=3)
    params = replace(BASE, sigmas=(1.0,), rho=0.3)
    terms = explain(stack, params, (3, 2, 4))
    assert terms.response == pytest.approx(stack.respond(params).response[3, 2, 4], abs=1e-9)


@pytest.mark.parametrize("place", [(24, 0), (-1, 0), (1,), (0, 0, 0)])
def test_places_outside_are_refused(place: tuple[int, ...]) -> None:
    with pytest.raises(FilterError, match="outside"):
        explain(STACK, BASE, place)


@pytest.mark.parametrize("place", [(1.0, 2), (0.5, 0), ("1", 2), (None, 1)])
def test_places_are_whole_numbers(place: tuple[int, ...]) -> None:
    with pytest.raises(FilterError, match="whole numbers"):
        explain(STACK, BASE, place)
    with pytest.raises(FilterError, match="whole numbers"):
        explain(STACK, BASE, (1, 2), 0.5)  # type: ignore[arg-type]
    assert explain(STACK, BASE, (np.int64(1), 2)).response == explain(STACK, BASE, (1, 2)).response  # type: ignore[arg-type]


def test_parameters_are_of_the_stacks_scales() -> None:
    with pytest.raises(FilterError, match="compute a HessianStack"):
        explain(STACK, replace(BASE, sigmas=(1.0, 2.0, 9.0)), (1, 2))


def test_auto_gamma_is_each_images_own() -> None:
    stack = HessianStack.compute(np.stack([IMAGE, 0.1 * IMAGE, 0 * IMAGE]), SIGMAS)
    params = replace(BASE, gamma="auto")
    for n in range(3):
        found = explain(stack, params, (n, 5, 7)).response
        assert found == pytest.approx(stack.respond(params).response[n, 5, 7], abs=1e-12)


def test_formulas_that_are_no_product_are_refused() -> None:
    with pytest.raises(FilterError, match="no product"):
        explain(STACK, replace(BASE, formula="objectness"), (0, 0))
    with pytest.raises(FilterError, match="no scale"):
        explain(STACK, BASE, (0, 0), 7)
