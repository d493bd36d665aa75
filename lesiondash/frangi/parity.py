"""scikit-image's `frangi` to the bit, quirks included, so that its results can be audited beside this filter's.

What it does otherwise than `response.frangi_filter`, as of 0.20 to 0.26: no σ² normalisation, so that large scales
hardly count; gamma "auto" taken from the first scale alone, so that their order matters; each second derivative as two
first derivatives, the second of which mirrors an odd function as an even one at the border; and a filter whose
kernel reaches 100 σ where σ ≤ 1. Nothing of it is called here: it is written out from that description.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.frangi.derivatives import check_sigma
from lesiondash.frangi.formulas import check_params
from lesiondash.frangi.inputs import checked_image, checked_sigmas
from lesiondash.records import FloatArray, FrangiParams, FrangiResult

FLOOR = 1e-10
"""Eigenvalues are raised to this, which makes R_B huge and the response 0 where their sign is not asked for."""
MAX_SIDE_PX = 1024


def skimage_frangi(
    image: npt.ArrayLike,
    params: FrangiParams,
    *,
    spacing_mm: Sequence[float] | None = None,
    ndim: int = 2,
    dtype: npt.DTypeLike = np.float64,
    tolerance: float | None = None,
    per_scale: bool = False,
) -> FrangiResult:
    """Return what `skimage.filters.frangi` 0.26 returns for these alpha, beta, gamma, sigmas and polarity.

    image: (h, w), (n, h, w) or, with `ndim=3`, (z, y, x); not rescaled. rho and normalise do not apply. Agrees
    to 1e-12 in float64 and 1e-5 in float32. Raises `FilterError` for a parameter outside its domain, and for a spacing
    or a tolerance, of which scikit-image knows nothing.
    """
    check_params(params)
    if spacing_mm is not None:
        raise FilterError("The formula of scikit-image knows no spacing; give sigmas in pixels and spacing_mm=None.")
    if tolerance is not None:
        raise FilterError("The formula of scikit-image computes every scale; give tolerance=None.")
    checked_image(image, dtype, ndim, 12 + 3 * len(params.sigmas), "crop the image")
    pixels = np.asarray(image, dtype)
    if max(pixels.shape) > MAX_SIDE_PX:
        raise FilterError(f"The audit of scikit-image takes up to {MAX_SIDE_PX} pixels a side; crop the image.")
    scales = checked_sigmas(params.sigmas)
    for sigma in scales:
        check_sigma(sigma)
    images = pixels[None] if pixels.ndim == ndim else pixels
    signs = {"bright": (-1,), "dark": (1,), "both": (-1, 1)}[params.polarity]
    every = np.stack(
        [np.maximum.reduce([_each_scale(sign * one, scales, params) for sign in signs]) for one in images], axis=1
    )
    shape = pixels.shape
    index = every.argmax(axis=0).astype(np.int32).reshape(shape)
    kept = every.reshape(len(scales), *shape) if per_scale else None
    return FrangiResult(every.max(axis=0).reshape(shape), index, scales, kept)


def _each_scale(image: FloatArray, scales: tuple[float, ...], params: FrangiParams) -> FloatArray:
    """Return the response of dark structures in one image at each scale."""
    gamma = None if params.gamma == "auto" else float(params.gamma)
    found = []
    for sigma in scales:
        values = _eigenvalues(image, sigma)
        norm = np.sqrt((values**2).sum(axis=-1))
        if gamma is None:
            gamma = float(norm.max()) / 2 or 1.0
        clipped = np.maximum(values[..., 1:], FLOOR)
        ra = clipped[..., 0] / clipped[..., 1] if image.ndim == 3 else math.inf
        rb = np.abs(values[..., 0]) / (
            np.sqrt(clipped[..., 0] * clipped[..., 1]) if image.ndim == 3 else clipped[..., 0]
        )
        response = 1 - np.exp(-(np.asarray(ra, image.dtype) ** 2) / (2 * params.alpha**2))
        response = response * np.exp(-(rb**2) / (2 * params.beta**2))
        found.append(np.asarray(response * (1 - np.exp(-(norm**2) / (2 * gamma**2))), image.dtype))
    return np.stack(found)


def _eigenvalues(image: FloatArray, sigma: float) -> FloatArray:
    """Return the eigenvalues at every pixel, (..., ndim), by magnitude."""
    ndim = image.ndim
    slopes = [_filter(image, sigma, axis) for axis in range(ndim)]
    matrix = np.empty((*image.shape, ndim, ndim), image.dtype)
    for row in range(ndim):
        for column in range(row, ndim):
            matrix[..., row, column] = matrix[..., column, row] = _filter(slopes[row], sigma, column)
    if ndim == 3:
        values = np.linalg.eigvalsh(matrix)
    else:
        middle = (matrix[..., 0, 0] + matrix[..., 1, 1]) / 2
        spread = np.hypot(matrix[..., 0, 1], (matrix[..., 0, 0] - matrix[..., 1, 1]) / 2)
        values = np.stack([middle + spread, middle - spread], axis=-1)
    return np.asarray(np.take_along_axis(values, np.argsort(np.abs(values), axis=-1, kind="stable"), axis=-1))


def _filter(image: FloatArray, sigma: float, sloped: int) -> FloatArray:
    """Smooth along every axis, and differentiate once along `sloped`; each pass in float64, rounded after it."""
    found = image
    for axis, size in enumerate(image.shape):
        operator = _operator(size, sigma, int(axis == sloped))
        passed = np.tensordot(operator, found.astype(np.float64), axes=(1, axis))
        found = np.moveaxis(passed, 0, axis).astype(image.dtype)
    return found


@lru_cache(8)
def _operator(size: int, sigma: float, order: int) -> npt.NDArray[np.float64]:
    """Return the folded matrix of a sampled Gaussian of σ/√2, or of its slope, as scipy samples them."""
    narrow = sigma / math.sqrt(2)
    radius = int((8 if sigma > 1 else 100) * narrow + 0.5)
    x = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 / narrow**2 * x**2)
    kernel /= kernel.sum()
    if order:
        kernel = kernel * x / narrow**2  # of a correlation: out[i] takes kernel[k] from pixel i + k
    columns = (np.arange(size)[:, None] + x) % (2 * size)
    places = (np.arange(size)[:, None] * size + np.minimum(columns, 2 * size - 1 - columns)).ravel()
    folded = np.bincount(places, np.tile(kernel, size), size * size).reshape(size, size)
    return np.asarray(folded, np.float64)
