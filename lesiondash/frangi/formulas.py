"""One scale's response from its eigenvalues, by each formula, on numpy arrays and torch tensors alike."""

from __future__ import annotations

import math
import reprlib
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.frangi.eigenvalues import Array, namespace, squared_norm
from lesiondash.frangi.inputs import checked_sigmas, is_number
from lesiondash.records import Formula, FrangiParams

POLARITIES = ("bright", "dark", "both")
FORMULAS: tuple[str, ...] = get_args(Formula)

FLOAT32_GAMMA = 1e-5
"""Below this the Hessians' rounding in float32, some 1e-8 of the contrast, is no longer small beside gamma."""


def check_params(params: FrangiParams) -> None:
    """Raise `FilterError`, naming the value, for a parameter outside its domain."""
    if not isinstance(params, FrangiParams):
        raise FilterError(f"The parameters are {reprlib.repr(params)}; give FrangiParams, such as preset('paper').")
    checked_sigmas(params.sigmas)
    for name in ("alpha", "beta", "gamma"):
        value = getattr(params, name)
        if name == "gamma" and isinstance(value, str) and value == "auto":
            continue
        if not (is_number(value) and value > 0):
            choice = " or 'auto'" if name == "gamma" else ""
            raise FilterError(f"{name} is {reprlib.repr(value)}; give a number above 0{choice}.")
    if not (is_number(params.rho) and 0 <= params.rho <= 1):
        raise FilterError(f"rho is {reprlib.repr(params.rho)}; give a number from 0 to 1.")
    if params.polarity not in POLARITIES:
        raise FilterError(f"The polarity is {reprlib.repr(params.polarity)}; choose one of {', '.join(POLARITIES)}.")
    if params.formula not in FORMULAS:
        raise FilterError(f"The formula is {reprlib.repr(params.formula)}; choose one of {', '.join(FORMULAS)}.")
    if not isinstance(params.normalise, bool | np.bool_):
        raise FilterError(f"normalise is {reprlib.repr(params.normalise)}; give True or False.")


def needed_dtype(params: FrangiParams, dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return the dtype to compute in: the one given, or float64 for a gamma below `FLOAT32_GAMMA`."""
    fine = params.gamma != "auto" and params.gamma < FLOAT32_GAMMA
    return np.dtype(np.float64 if fine else dtype)


def rate(width: float | str) -> float:
    """Return 1/2w², kept within float32: neither 0 nor infinite."""
    # A numpy integer or half would be squared, and overflow, in its own kind.
    return 0.5 / min(max(float(width), 1e-15), 1e15) ** 2


def gain(params: FrangiParams) -> float:
    """Return what the formula multiplies by: 1, or one over the largest value that alpha allows."""
    return -1 / math.expm1(-rate(params.alpha)) if params.normalise else 1.0


def full(params: FrangiParams) -> float:
    """Return the largest value of the first factor, gain included: its value at R_A = 1."""
    return 1.0 if params.normalise else -math.expm1(-rate(params.alpha))


def response_of(first: Array | None, small: Array, big: Array, params: FrangiParams) -> Array:
    """Return the response of one scale, in [0, 1]; its arrays all of one shape, λ1 = 0 where `first` is None.

    params.gamma is a number here. Formulas: "promotion" and "strict" as `response.respond` says; "objectness" the
    larger of blob and plate after Antiga 2007 (Insight Journal 175), in the image's own dimension D, without rho and
    normalise:

        blob 1 − exp(−R_A²/2α²), R_A = |λ_1|/√|λ_2 λ_3| (D = 3) or |λ_2|/|λ_3| (D = 2), all of one sign;
        plate exp(−R_B²/2β²), R_B = |λ2|/|λ3|; each times 1 − exp(−S²/2γ²).
    """
    if params.polarity == "both" and params.formula != "promotion":
        bright, dark = (response_of(first, small, big, replace(params, polarity=name)) for name in ("bright", "dark"))
        return namespace(big).maximum(bright, dark)
    xp = namespace(big)
    m3 = {"bright": -big, "dark": big, "both": abs(big)}[params.polarity]
    right = m3 > 0
    safe = xp.where(right, m3, xp.ones_like(m3))
    r1, r2 = 0.0, xp.where(right, abs(small), xp.zeros_like(m3)) / safe
    if first is not None:
        r1 = xp.where(right, abs(first), xp.zeros_like(m3)) / safe
    structure = 1 - xp.exp(-rate(params.gamma) * squared_norm((first, small, big)))
    if params.formula == "objectness":
        return structure * right * _objectness(first, small, r1, r2, params)
    if params.formula == "strict":
        right = right & (_signed(small, params) >= 0)
    return structure * right * _shape(r1, r2, params)


def _shape(r1: Array, r2: Array, params: FrangiParams) -> Array:
    """Return the first two factors from r1 = |λ1|/m3 and r2 = |λ2|/m3."""
    xp, rho = namespace(r2), params.rho
    if rho == 1:  # R_A = 1 and R_B = r2
        return full(params) * xp.exp(-rate(params.beta) * (r2 * r2))
    ra = r2 + rho * (1 - r2)
    m1 = r1 + rho * (r2 - r1)
    positive = ra > 0
    rb_squared = xp.where(positive, m1 * m1 / xp.where(positive, ra, xp.ones_like(ra)), xp.zeros_like(ra))
    plate = -xp.expm1(-rate(params.alpha) * (ra * ra))
    return gain(params) * plate * xp.exp(-rate(params.beta) * rb_squared)


def _objectness(first: Array | None, small: Array, r1: Array, r2: Array, params: FrangiParams) -> Array:
    xp = namespace(r2)
    plate = xp.exp(-rate(params.beta) * (r2 * r2))
    if first is None:
        ra_squared, alike = r2 * r2, _signed(small, params) > 0
    else:
        positive = r2 > 0
        ra_squared = xp.where(positive, r1 * r1 / xp.where(positive, r2, xp.ones_like(r2)), xp.zeros_like(r2))
        alike = (_signed(small, params) > 0) & (_signed(first, params) > 0)
    blob = -xp.expm1(-rate(params.alpha) * ra_squared) * alike
    return xp.maximum(plate, blob)


def _signed(values: Array, params: FrangiParams) -> Array:
    """Return the eigenvalue, positive where it has the sign of the structures asked for."""
    return values if params.polarity == "dark" else -values
