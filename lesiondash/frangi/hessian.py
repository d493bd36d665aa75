"""The half of the Frangi filter that depends on image and scales alone: Hessian eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.records import FloatArray, FrangiParams, FrangiResult

TRUNCATE = 6.0
"""Kernel radius in standard deviations."""
MAX_SIGMA_PX = 1000.0
CACHED_SIDE_PX = 128
"""Operators of longer axes are built anew each time: 41 of 512 × 512 would hold 260 MB."""

Kernels = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class HessianStack:
    """Signed eigenvalues of the σ²-normalised Hessian at every scale, kept while the parameters are tuned.

    small, big: (scales, h, w) or (scales, n, h, w), |small| ≤ |big|, in units of the image. sigmas: in
    pixels, or in mm where a spacing was given.

    >>> stack = HessianStack.compute(np.eye(16), (1.0, 2.0))
    >>> stack.respond(FrangiParams(sigmas=(1.0, 2.0), beta=0.3)).response.shape
    (16, 16)
    """

    small: FloatArray
    big: FloatArray
    sigmas: tuple[float, ...]

    @classmethod
    def compute(
        cls,
        image: npt.ArrayLike,
        sigmas: Sequence[float],
        *,
        spacing_mm: tuple[float, float] | None = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> HessianStack:
        """Filter with sampled Gaussian derivatives and take the eigenvalues of each pixel's 2 × 2 Hessian.

        image: (h, w), or a batch of slices (n, h, w), finite, nominally in [0, 1]. spacing_mm: (y, x); sigmas
        are then in mm. The image is continued by reflection about its edge (half-sample symmetric).
        dtype: float32 or float64, of the work and the result.
        Raises `FilterError` for an image, scale or spacing outside of this.

        Source: Frangi et al. 1998 (doi 10.1007/BFb0056195), scale normalisation after Lindeberg with power 2;
        eigenvalues in closed form, t ± sqrt(((Lxx − Lyy)/2)² + Lxy²) with t the half trace.
        """
        pixels = _checked_image(image, dtype)
        scales = checked_sigmas(sigmas)
        spacing_y, spacing_x = _checked_spacing(spacing_mm)
        height, width = pixels.shape[-2:]
        # Derivatives ignore a constant; taking out the mid-range makes that exact, also for a flat image.
        ends = [extreme(axis=(-2, -1), keepdims=True) / 2 for extreme in (pixels.min, pixels.max)]
        pixels = pixels - (ends[0] + ends[1])
        small = np.empty((len(scales), *pixels.shape), pixels.dtype)
        big = np.empty_like(small)
        for k, sigma in enumerate(scales):
            along_y = derivative_operators(height, sigma / spacing_y, pixels.dtype)
            along_x = derivative_operators(width, sigma / spacing_x, pixels.dtype)
            _eigenvalues(pixels, along_y, along_x, small[k], big[k])
        return cls(small, big, scales)

    @cached_property
    def peak_norm(self) -> FloatArray:
        """Largest structure norm S over pixels and scales, per image: shape () or (n,)."""
        squares = [
            (small * small + big * big).max(axis=(-2, -1)) for small, big in zip(self.small, self.big, strict=True)
        ]
        return np.asarray(np.sqrt(np.max(squares, axis=0)), self.big.dtype)

    def respond(self, params: FrangiParams) -> FrangiResult:
        """Evaluate the filter at these parameters, of the stack's sigmas; see `response.respond`."""
        # The formula builds on this class, so it can only be looked up once both files are read.
        from lesiondash.frangi.response import respond

        return respond(self, params)

    def responses(self, params: FrangiParams) -> FloatArray:
        """Return each scale's response, (scales, [n,] h, w), in [0, 1]; see `response.responses`."""
        from lesiondash.frangi.response import responses

        return responses(self, params)


def gaussian_derivatives(sigma_px: float) -> Kernels:
    """Return sampled Gaussian kernels of derivative order 0, 1 and 2, each (2r + 1,) with r = ceil(6 σ).

    Their moments are corrected: h0 sums to 1, h1 maps x to 1, h2 maps 1 to 0 and x² to 2. Second derivatives
    of polynomials up to degree 3 are exact at every σ > 0, where plain sampling errs below σ = 1.
    """
    radius = math.ceil(TRUNCATE * sigma_px)
    k = np.arange(-radius, radius + 1, dtype=np.float64)
    h0 = np.exp(-0.5 * (k / sigma_px) ** 2)
    h0 /= h0.sum()
    # Weights relative to the first neighbour: the same kernels, and no underflow at small σ.
    beside = np.where(k == 0, 0.0, np.exp(-0.5 * (k**2 - 1) / sigma_px**2, where=k != 0, out=np.zeros_like(k)))
    h1 = -k * beside / np.sum(k**2 * beside)
    h2 = beside * (k**2 - np.sum(k**2 * h0))
    h2 *= 2 / np.sum(k**2 * h2)
    h2[radius] = -h2.sum()
    return h0, h1, h2


def derivative_operators(
    size: int, sigma_px: float, dtype: npt.DTypeLike = np.float64
) -> npt.NDArray[np.floating[Any]]:
    """Return σ^o times the derivative of order o along an axis of `size` pixels, as matrices (3, size, size).

    The border is part of the matrix: columns are folded by reflection, as often as a wide kernel needs.
    Raises `FilterError` for a scale beyond `MAX_SIGMA_PX`.
    """
    if sigma_px > MAX_SIGMA_PX:
        raise FilterError(
            f"The scale is {sigma_px:g} pixels, more than {MAX_SIGMA_PX:g}; take smaller sigmas or check the spacing."
        )
    build = _cached_operators if size <= CACHED_SIDE_PX else _operators
    return build(size, float(sigma_px), np.dtype(dtype).str)


def _operators(size: int, sigma_px: float, dtype: str) -> npt.NDArray[np.floating[Any]]:
    kernels = gaussian_derivatives(sigma_px)
    radius = len(kernels[0]) // 2
    rows = np.arange(size)[:, None]
    # A convolution, so out[i] takes h[k] from pixel i − k.
    columns = (rows - np.arange(-radius, radius + 1)) % (2 * size)
    places = (rows * size + np.minimum(columns, 2 * size - 1 - columns)).ravel()
    operators = np.empty((3, size, size), np.dtype(dtype))
    for order, kernel in enumerate(kernels):
        folded = np.bincount(places, np.tile(kernel, size), size * size)
        operators[order] = sigma_px**order * folded.reshape(size, size)
    operators.flags.writeable = False
    return operators


_cached_operators = lru_cache(maxsize=256)(_operators)


def _eigenvalues(
    pixels: FloatArray, along_y: FloatArray, along_x: FloatArray, small: FloatArray, big: FloatArray
) -> None:
    """Write one scale's eigenvalues into `small` and `big`, each (..., h, w)."""
    yy = along_y[2] @ (pixels @ along_x[0].T)
    xx = along_y[0] @ (pixels @ along_x[2].T)
    xy = along_y[1] @ (pixels @ along_x[1].T)
    half_trace = (xx + yy) / 2
    half_difference = (xx - yy) / 2
    # The spread takes the trace's sign, so that it adds to the magnitude of `big`.
    spread = np.copysign(np.sqrt(half_difference * half_difference + xy * xy), half_trace)
    np.add(half_trace, spread, out=big)
    np.subtract(half_trace, spread, out=small)


def checked_sigmas(sigmas: Sequence[float]) -> tuple[float, ...]:
    """Return the scales as floats; raises `FilterError` unless there is one and all are above 0."""
    try:
        scales = tuple(float(sigma) for sigma in sigmas)
    except (TypeError, ValueError) as error:
        raise FilterError(f"The scales {sigmas!r} are not numbers; give sigmas such as (1, 2, 3).") from error
    if not scales:
        raise FilterError("The list of scales () is empty; give at least one sigma.")
    for sigma in scales:
        if not (math.isfinite(sigma) and sigma > 0):
            raise FilterError(f"The scale sigma = {sigma:g} is not above 0; give scales such as 1 to 9.")
    return scales


def _checked_image(image: npt.ArrayLike, dtype: npt.DTypeLike) -> FloatArray:
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise FilterError(f"The filter computes in float32 or float64, not in {np.dtype(dtype)}.")
    try:
        raw = np.asarray(image)
    except ValueError as error:
        raise FilterError("The image is not a rectangle of numbers; give an array (h, w) or (n, h, w).") from error
    if raw.dtype.kind not in "biuf":
        raise FilterError(f"The image holds {raw.dtype} values, not real numbers; give pixels in [0, 1].")
    if raw.ndim not in (2, 3):
        raise FilterError(f"The image has shape {raw.shape}; give a slice (h, w) or a batch of them (n, h, w).")
    if raw.size == 0:
        raise FilterError(f"The image has shape {raw.shape} and holds no pixel.")
    with np.errstate(over="ignore"):
        pixels = raw.astype(dtype)
    broken = np.count_nonzero(~np.isfinite(pixels))
    if broken:
        value = pixels[~np.isfinite(pixels)][0]
        raise FilterError(f"{broken} pixels of the image are not finite (the first is {value}); replace them.")
    return pixels


def _checked_spacing(spacing_mm: tuple[float, float] | None) -> tuple[float, float]:
    if spacing_mm is None:
        return 1.0, 1.0
    try:
        y, x = (float(step) for step in spacing_mm)
    except (TypeError, ValueError) as error:
        raise FilterError(f"The spacing {spacing_mm!r} is not a pair; give (y, x) in mm.") from error
    if not (math.isfinite(y) and math.isfinite(x) and y > 0 and x > 0):
        raise FilterError(f"The spacing ({y:g}, {x:g}) mm is not above 0; give (y, x) in mm.")
    return y, x
