"""The modified multi-scale Frangi filter: what its parameters make of the eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.frangi.hessian import HessianStack, checked_sigmas
from lesiondash.records import FloatArray, FrangiParams, FrangiResult

POLARITIES = ("bright", "dark", "both")


def frangi_filter(
    image: npt.ArrayLike,
    params: FrangiParams = FrangiParams(),  # noqa: B008 - frozen
    *,
    spacing_mm: tuple[float, float] | None = None,
) -> FrangiResult:
    """Filter a slice, or each slice of a batch, for blobs and contours.

    image: (h, w) or (n, h, w), finite; meant for a CT window mapped to [0, 1], as gamma is in units of that
    window (values outside are taken as they are). spacing_mm: (y, x); params.sigmas are then in mm, else in px.
    Returns a float64 response in [0, 1] and the index of the winning scale, both of the image's shape.
    Raises `FilterError` for an image, spacing or parameter outside its domain.

    Source: Frangi et al. 1998 (doi 10.1007/BFb0056195) eq 13, as modified by Qi et al. 2023, Appendix A, in
    the reading of `respond`. To move a slider, keep a `HessianStack` and call its `respond`.

    >>> bar = np.zeros((32, 32))
    >>> bar[:, 14:18] = 0.5
    >>> frangi_filter(bar, FrangiParams(sigmas=(2.0,))).response[16, 15].round(3)
    np.float64(0.393)
    """
    check_params(params)
    return respond(HessianStack.compute(image, params.sigmas, spacing_mm=spacing_mm), params)


def respond(stack: HessianStack, params: FrangiParams) -> FrangiResult:
    """Evaluate the response at every scale and keep each pixel's largest.

    A slice is read as a volume constant along z: (λ1, λ2, λ3) = (0, small, big). Appendix A says "set λ3 = 0
    if λ3 > 0, and change λ1 and λ2 into high eigenvalues"; here, with m3 = |λ3| where λ3 has the sign asked
    for and V = 0 elsewhere (the sign of λ2 is not tested, so that concave contours stay):

        m1 = |λ1| + ρ(|λ2| − |λ1|),  m2 = |λ2| + ρ(m3 − |λ2|),  R_A = m2/m3,  R_B = m1/√(m2 m3)
        V = (1 − exp(−R_A²/2α²)) · exp(−R_B²/2β²) · (1 − exp(−S²/2γ²)),  S² = λ1² + λ2² + λ3²

    ρ = 0 is the printed formula; ρ = 1 is Frangi's 2-D eq 15 times 1 − exp(−1/2α²). gamma "auto" is half the
    largest S over the image's pixels and scales. Raises `FilterError` when params.sigmas are not the stack's.
    """
    best = np.zeros(stack.big.shape[1:], stack.big.dtype)
    scale_index = np.zeros(best.shape, np.int32)
    for k, response in enumerate(_each_scale(stack, params)):
        np.copyto(scale_index, k, where=response > best)
        np.maximum(best, response, out=best)
    return FrangiResult(best, scale_index, stack.sigmas)


def responses(stack: HessianStack, params: FrangiParams) -> FloatArray:
    """Return the response of each scale on its own, (scales, [n,] h, w), as in `respond`."""
    return np.stack(list(_each_scale(stack, params)))


def check_params(params: FrangiParams) -> None:
    """Raise `FilterError`, naming the value, for a parameter outside its domain."""
    checked_sigmas(params.sigmas)
    for name in ("alpha", "beta", "gamma"):
        value = getattr(params, name)
        if name == "gamma" and isinstance(value, str) and value == "auto":
            continue
        if not (_is_number(value) and value > 0):
            choice = " or 'auto'" if name == "gamma" else ""
            raise FilterError(f"{name} is {value!r}; give a number above 0{choice}.")
    if not (_is_number(params.rho) and 0 <= params.rho <= 1):
        raise FilterError(f"rho is {params.rho!r}; give a number from 0 to 1.")
    if params.polarity not in POLARITIES:
        raise FilterError(f"The polarity is {params.polarity!r}; choose one of {', '.join(POLARITIES)}.")


def _is_number(value: Any) -> bool:
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _each_scale(stack: HessianStack, params: FrangiParams) -> Iterator[FloatArray]:
    """Check the parameters, then yield each scale's response: small temporaries stay in the cache."""
    check_params(params)
    if checked_sigmas(params.sigmas) != stack.sigmas:
        raise FilterError(
            f"The parameters ask for {len(params.sigmas)} scales from {min(params.sigmas):g} to "
            f"{max(params.sigmas):g}, but the stack holds {len(stack.sigmas)} from {min(stack.sigmas):g} to "
            f"{max(stack.sigmas):g}; compute a HessianStack for these sigmas."
        )
    structure = _structure_rate(stack, params)
    for small, big in zip(stack.small, stack.big, strict=True):
        yield _one_scale(small, big, params, structure)


def _structure_rate(stack: HessianStack, params: FrangiParams) -> FloatArray:
    """Return 1/2γ², shape () or, where gamma follows each image of a batch, (n, 1, 1); 0 for a flat image."""
    if params.gamma != "auto":
        return np.asarray(_rate(params.gamma), stack.big.dtype)
    rates = [_rate(0.5 * float(peak)) if peak > 0 else 0.0 for peak in np.ravel(stack.peak_norm)]
    shape = (-1, 1, 1) if stack.peak_norm.ndim else ()
    return np.asarray(rates, stack.big.dtype).reshape(shape)


def _rate(width: float) -> float:
    """Return 1/2w², kept within float32: neither 0 nor infinite."""
    return 0.5 / min(max(width, 1e-15), 1e15) ** 2


def _one_scale(small: FloatArray, big: FloatArray, params: FrangiParams, structure: FloatArray) -> FloatArray:
    m3 = {"bright": -big, "dark": big, "both": np.abs(big)}[params.polarity]
    right = m3 > 0
    ratio = np.divide(np.abs(small), m3, out=np.zeros_like(m3), where=right)  # |λ2| / m3, in [0, 1]
    response = 1 - np.exp(-structure * (small * small + big * big))
    gain = -math.expm1(-_rate(params.alpha))  # the largest value of the first factor, at R_A = 1
    if params.rho == 1:
        response *= np.exp(-_rate(params.beta) * (ratio * ratio))
        response *= 1.0 if params.normalise else gain
    else:
        ra = ratio + params.rho * (1 - ratio)
        rb_squared = np.divide((params.rho * ratio) ** 2, ra, out=np.zeros_like(ra), where=ra > 0)
        response *= np.exp(-_rate(params.beta) * rb_squared)
        response *= -np.expm1(-_rate(params.alpha) * (ra * ra))
        if params.normalise:
            response /= gain
    response *= right
    return response
