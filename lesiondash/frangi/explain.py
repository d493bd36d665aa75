"""Why a pixel is bright: the terms of the response at one place and scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from lesiondash.errors import FilterError
from lesiondash.frangi.backend import fetch
from lesiondash.frangi.formulas import check_params, gain, rate, response_of
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.response import check_stack
from lesiondash.records import FrangiParams


@dataclass(frozen=True)
class Terms:
    """The response of one pixel at one scale, taken apart.

    sigma: in the stack's unit (px or mm); eigenvalues: λ1, λ2, λ3 by rising magnitude, in units of the image, before
    promotion; ra, rb, s: the ratios and the structure norm after it; ra_factor = 1 − exp(−R_A²/2α²), times the gain of
    normalise, rb_factor = exp(−R_B²/2β²), structure = 1 − exp(−S²/2γ²), whose product is the response where gated is
    false; gated: λ3 has the other sign than the structures asked for, so that the response is 0.
    """

    sigma: float
    scale_index: int
    eigenvalues: tuple[float, float, float]
    ra: float
    rb: float
    s: float
    ra_factor: float
    rb_factor: float
    structure: float
    gated: bool
    response: float


def explain(stack: HessianStack, params: FrangiParams, place: tuple[int, ...], scale_index: int | None = None) -> Terms:
    """Take a pixel's response apart, at a scale of the stack or, without one, at the scale that wins there.

    place: index into the image, (y, x), (n, y, x) or (z, y, x). Formula "promotion" or "strict", as in
    `response.respond` (Qi et al. 2023, Appendix A). Raises `FilterError` for a place or scale outside of the stack,
    parameters of other scales than its own, or a formula whose response is no such product.

    >>> bar = np.zeros((32, 32))
    >>> bar[:, 14:18] = 0.5
    >>> terms = explain(HessianStack.compute(bar, (1.0, 2.0)), FrangiParams(sigmas=(1.0, 2.0)), (16, 15))
    >>> round(terms.ra_factor * terms.rb_factor * terms.structure - terms.response, 9)
    0.0
    """
    check_params(params)
    if params.formula not in ("promotion", "strict"):
        raise FilterError(f"The formula {params.formula!r} is no product of three terms; choose promotion or strict.")
    check_stack(stack, params)
    shape = tuple(stack.big.shape[1:])
    whole = isinstance(place, Sequence) and not isinstance(place, str)
    if not whole or not all(isinstance(each, int | np.integer) for each in (*place, scale_index or 0)):
        raise FilterError(f"The place {place} or the scale {scale_index!r} is not whole numbers; give indices.")
    if len(place) != len(shape) or not all(0 <= at < size for at, size in zip(place, shape, strict=True)):
        raise FilterError(f"The place {place} is outside of the image of {shape} pixels.")
    where: Any = (slice(None), *place)
    small, big = (np.asarray(fetch(each[where]), np.float64) for each in (stack.small, stack.big))
    first = None if stack.first is None else np.asarray(fetch(stack.first[where]), np.float64)
    if params.gamma == "auto":
        params = replace(params, gamma=float(stack.auto_gamma[place[: stack.auto_gamma.ndim]]))
    values = response_of(first, small, big, params)
    k = int(np.argmax(values)) if scale_index is None else scale_index
    if not 0 <= k < len(stack.sigmas):
        raise FilterError(f"There is no scale number {k}; the stack has {len(stack.sigmas)}.")
    eigenvalues = (0.0 if first is None else float(first[k]), float(small[k]), float(big[k]))
    return _terms(eigenvalues, params, k, stack.sigmas[k], float(values[k]))


def _terms(
    eigenvalues: tuple[float, float, float], params: FrangiParams, k: int, sigma: float, response: float
) -> Terms:
    sizes = [abs(value) for value in eigenvalues]
    right = {"bright": eigenvalues[2] < 0, "dark": eigenvalues[2] > 0, "both": eigenvalues[2] != 0}[params.polarity]
    if params.formula == "strict" and eigenvalues[2] * eigenvalues[1] < 0:
        right = False
    m1, m2 = (low + params.rho * (high - low) for low, high in pairwise(sizes))
    ra = m2 / sizes[2] if sizes[2] > 0 else 0.0
    rb = m1 / math.sqrt(m2 * sizes[2]) if m2 > 0 and sizes[2] > 0 else 0.0
    s = math.sqrt(sum(size * size for size in sizes))
    return Terms(
        sigma=sigma,
        scale_index=k,
        eigenvalues=eigenvalues,
        ra=ra,
        rb=rb,
        s=s,
        ra_factor=-math.expm1(-rate(params.alpha) * ra * ra) * gain(params),
        rb_factor=math.exp(-rate(params.beta) * rb * rb),
        structure=-math.expm1(-rate(params.gamma) * s * s),
        gated=not right,
        response=response,
    )
