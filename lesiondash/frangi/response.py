"""The modified multi-scale Frangi filter: what its parameters make of the eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.frangi.backend import fetch, full_precision, kernels, place
from lesiondash.frangi.eigenvalues import Array, Eigenvalues, namespace
from lesiondash.frangi.formulas import check_params, full, gain, needed_dtype, rate, response_of
from lesiondash.frangi.hessian import HessianStack, Setting, piece_eigenvalues, scale_spaces
from lesiondash.frangi.inputs import checked_dtype, checked_image, checked_sigmas
from lesiondash.records import FloatArray, FrangiParams, FrangiResult

BLOCK_PX = 32768
"""Pixels whose temporaries stay in the processor's cache."""


def frangi_filter(
    image: npt.ArrayLike,
    params: FrangiParams = FrangiParams(),  # noqa: B008 - frozen
    *,
    spacing_mm: Sequence[float] | None = None,
    ndim: int = 2,
    dtype: npt.DTypeLike = np.float64,
    tolerance: float | None = None,
    device: str | None = None,
    compile: bool | None = None,
    per_scale: bool = False,
) -> FrangiResult:
    """Filter a slice, each slice of a batch, or with `ndim=3` a volume, for blobs and contours.

    image: (h, w), (n, h, w) or (z, y, x), finite; meant for a CT window mapped to [0, 1], as gamma is in units of
    that window (values outside are taken as they are). spacing_mm: (y, x) or (z, y, x); params.sigmas are then in
    mm, else in px. dtype: float64, or float32, which is some five times as fast and within 1e-5 wherever the
    response does not jump; a gamma below 1e-5 is computed in float64 all the same. tolerance, device, compile: see
    `HessianStack.compute`; here float32 also waits for compiled kernels where the work is worth it, and the formula
    of scikit-image takes no tolerance and no device's help. per_scale: return each scale's response too.
    Returns a response in [0, 1] of that dtype and the index of the winning scale, both of the image's shape. Memory
    is three to four times the image and some MB.
    Raises `FilterError` for an image, option or parameter outside its domain, or an image beyond the memory limit.

    Source: Frangi et al. 1998 (doi 10.1007/BFb0056195) eq 13, as modified by Qi et al. 2023, Appendix A, in
    the reading of `respond`. To move a slider, keep a `HessianStack` and call its `respond`.

    >>> bar = np.zeros((32, 32))
    >>> bar[:, 14:18] = 0.5
    >>> frangi_filter(bar, FrangiParams(sigmas=(2.0,))).response[16, 15].round(3)
    np.float64(0.393)
    """
    check_params(params)
    asked, dtype = checked_dtype(dtype), needed_dtype(params, dtype)
    if params.formula == "skimage":
        from lesiondash.frangi.parity import skimage_frangi

        return skimage_frangi(
            image, params, spacing_mm=spacing_mm, ndim=ndim, dtype=asked, tolerance=tolerance, per_scale=per_scale
        )
    if per_scale:
        stack = HessianStack.compute(
            image, params.sigmas, spacing_mm=spacing_mm, ndim=ndim, dtype=dtype,
            tolerance=tolerance, device=device, compile=compile,
        )  # fmt: skip
        return _as_asked(respond(stack, params, per_scale=True), asked)
    setting = Setting.checked(params.sigmas, spacing_mm, ndim, tolerance, device)
    pixels = checked_image(image, dtype, ndim, 4, "filter it in parts with a margin of some 6 σ, or in float32")
    fast = kernels(compile, pixels.dtype, pixels.size * len(params.sigmas)) if device is None else None
    return _as_asked(_filter(pixels, params, setting, fast, np.shape(image)), asked)


def _as_asked(found: FrangiResult, dtype: np.dtype[Any]) -> FrangiResult:
    scales = None if found.responses is None else found.responses.astype(dtype, copy=False)
    return replace(found, response=found.response.astype(dtype, copy=False), responses=scales)


def _filter(
    pixels: FloatArray, params: FrangiParams, setting: Setting, fast: ModuleType | None, shape: tuple[int, ...]
) -> FrangiResult:
    """Filter checked pixels, which it may overwrite, scale by scale, keeping the largest response and its scale."""
    with full_precision(setting.device):
        return _filtered(pixels, params, setting, fast, shape)


def _filtered(
    pixels: FloatArray, params: FrangiParams, setting: Setting, fast: ModuleType | None, shape: tuple[int, ...]
) -> FrangiResult:
    if params.gamma == "auto":
        _to_unit_norm(pixels, setting)
        params = replace(params, gamma=0.5)
    response, index = np.zeros(pixels.shape, pixels.dtype), np.zeros(pixels.shape, np.int32)
    at_once = setting.device is None and (setting.ndim == 3 or len(pixels) == 1)
    for images, space in scale_spaces(pixels, setting):
        if at_once:
            best, winner = (each.reshape(space.pixels.shape) for each in (response, index))
        else:
            best, winner = (place(np.zeros(space.pixels.shape, t), setting.device) for t in (pixels.dtype, np.int32))
        for piece in space.pieces():
            values = piece_eigenvalues(piece.components, fast)
            part, number = best[piece.where].reshape(-1), winner[piece.where].reshape(-1)
            _merge(values, params, piece.scales.start, part, number, fast)
        for target, found in () if at_once else ((response, best), (index, winner)):
            target[images] = fetch(found) if space.ndim == 3 else fetch(found).swapaxes(0, 1)
    return FrangiResult(response.reshape(shape), index.reshape(shape), setting.sigmas)


def respond(stack: HessianStack, params: FrangiParams, *, per_scale: bool = False) -> FrangiResult:
    """Evaluate the response at every scale and keep each pixel's largest.

    A slice is read as a volume constant along z: (λ1, λ2, λ3) = (0, small, big). Appendix A says "set λ3 = 0
    if λ3 > 0, and change λ1 and λ2 into high eigenvalues"; here, with m3 = |λ3| where λ3 has the sign asked
    for and V = 0 elsewhere (the sign of λ2 is not tested, so that concave contours stay):

        m1 = |λ1| + ρ(|λ2| − |λ1|),  m2 = |λ2| + ρ(m3 − |λ2|),  R_A = m2/m3,  R_B = m1/√(m2 m3)
        V = (1 − exp(−R_A²/2α²)) · exp(−R_B²/2β²) · (1 − exp(−S²/2γ²)),  S² = λ1² + λ2² + λ3²

    ρ = 0 is the printed formula; ρ = 1 is Frangi's 2-D eq 15 times 1 − exp(−1/2α²). Formula "strict" also sets
    V = 0 where λ2 has the other sign, as printed; for "objectness" see `formulas.response_of`. gamma "auto" is half
    the largest S over the image's pixels and scales. per_scale: keep each scale's response too.
    Raises `FilterError` when params.sigmas are not the stack's, or for the formula of scikit-image, which takes
    other derivatives.
    """
    if per_scale:
        every = responses(stack, params)
        return FrangiResult(every.max(axis=0), every.argmax(axis=0).astype(np.int32), stack.sigmas, every)
    check_stack(stack, params)
    best, index = [], []
    fast = kernels(stack.compile, fetch(stack.big[:0]).dtype) if stack.device is None else None
    for values, each in _parts(stack, params):
        count = values[2].shape[1]
        top, winner = (place(np.zeros(count, t), stack.device) for t in (fetch(stack.big[:0]).dtype, np.int32))
        _merge(values, each, 0, top, winner, fast)
        best.append(fetch(top))
        index.append(fetch(winner))
    response, number = (np.concatenate(each).reshape(stack.big.shape[1:]) for each in (best, index))
    return FrangiResult(response, number, stack.sigmas)


def responses(stack: HessianStack, params: FrangiParams) -> FloatArray:
    """Return the response of each scale on its own, (scales, *image), as in `respond`."""
    check_stack(stack, params)
    parts = [_each_scale(*part) for part in _parts(stack, params)]
    return np.concatenate(parts, axis=1).reshape(stack.big.shape)


def check_stack(stack: HessianStack, params: FrangiParams) -> None:
    """Raise `FilterError` for parameters outside their domain, or that the stack's derivatives cannot serve."""
    check_params(params)
    if params.formula == "skimage":
        raise FilterError("The formula of scikit-image takes other derivatives; call frangi_filter.")
    if checked_sigmas(params.sigmas) != stack.sigmas:
        raise FilterError(
            f"The parameters ask for {len(params.sigmas)} scales from {min(params.sigmas):g} to "
            f"{max(params.sigmas):g}, but the stack holds {len(stack.sigmas)} from {min(stack.sigmas):g} to "
            f"{max(stack.sigmas):g}; compute a HessianStack for these sigmas."
        )


def _parts(stack: HessianStack, params: FrangiParams) -> list[tuple[Eigenvalues, FrangiParams]]:
    """Return eigenvalues (scales, pixels) with their parameters: gamma "auto" differs from image to image."""
    arrays, count = (stack.first, stack.small, stack.big), len(stack.sigmas)
    if params.gamma != "auto":
        return [(_flat(arrays, count), params)]
    parts = []
    for i, gamma in enumerate(np.ravel(stack.auto_gamma)):
        own = arrays if stack.auto_gamma.ndim == 0 else tuple(each if each is None else each[:, i] for each in arrays)
        parts.append((_flat(own, count), replace(params, gamma=float(gamma))))
    return parts


def _flat(values: Sequence[Array | None], count: int) -> Eigenvalues:
    first, small, big = (each if each is None else each.reshape(count, -1) for each in values)
    return first, small, big


def _each_scale(values: Eigenvalues, params: FrangiParams) -> FloatArray:
    first, small, big = values
    out = np.empty(big.shape, fetch(big[:0]).dtype)
    for k in range(len(out)):
        for part in _blocks(big):
            out[k, part] = fetch(
                response_of(None if first is None else first[k, part], small[k, part], big[k, part], params)
            )
    return out


def _merge(
    values: Eigenvalues,
    params: FrangiParams,
    start: int,
    best: Array,
    index: Array,
    fast: ModuleType | None,
) -> None:
    """Raise `best` to the largest response of eigenvalues (scales, pixels), and note its scale, from `start`."""
    first, small, big = values
    if fast is not None and params.formula == "promotion":
        fast.respond(first, small, big, _constants(params), start, best, index)
        return
    xp = namespace(big)
    for part in _blocks(big):
        for k in range(len(big)):
            value = response_of(None if first is None else first[k, part], small[k, part], big[k, part], params)
            index[part] = xp.where(value > best[part], start + k, index[part])
            best[part] = xp.maximum(value, best[part])


def _blocks(values: Array) -> list[slice]:
    pixels = values.shape[1]
    step = BLOCK_PX if isinstance(values, np.ndarray) else pixels
    return [slice(low, low + step) for low in range(0, pixels, step)]


def _constants(params: FrangiParams) -> tuple[float, ...]:
    """Return sign of the structures, rho, gain, full and the three rates, as the compiled kernels take them."""
    sign = {"bright": 1.0, "dark": -1.0, "both": 0.0}[params.polarity]
    rates = [rate(width) for width in (params.alpha, params.beta, params.gamma)]
    return sign, params.rho, gain(params), full(params), *rates


def _to_unit_norm(pixels: FloatArray, setting: Setting) -> None:
    """Divide each image, in place, by its largest structure norm S, so that half of it is 0.5 for all."""
    peaks = np.zeros((1 if setting.ndim == 3 else len(pixels), 1, 1), pixels.dtype)
    for images, space in scale_spaces(pixels, setting):
        for piece in space.pieces():
            norm: Any = 0.0
            for place_in_matrix, each in enumerate(piece.components):
                norm = norm + (1 if place_in_matrix in (0, 2, 5) else 2) * each * each
            if space.ndim == 3:
                peaks = np.maximum(peaks, fetch(norm.max()))
            else:
                part = fetch(norm).reshape(-1, *space.pixels.shape[1:]).max(axis=(0, 2))  # over scales and rows
                peaks[images, 0, 0] = np.maximum(peaks[images, 0, 0], part)
    pixels /= np.where(peaks > 0, np.sqrt(peaks), 1)
