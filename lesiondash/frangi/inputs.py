"""What the filter accepts: an image, scales and a spacing inside their domains, or a `FilterError` that names them."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.records import FloatArray

MEMORY_LIMIT_MB = 4096
"""Arrays larger than this, in MB of 10⁶ bytes, are refused with the size that they would need."""

LARGEST_RANGE = 1e15
"""Contrast beyond which the squares that the filter takes leave float32."""


def checked_image(
    image: npt.ArrayLike, dtype: npt.DTypeLike, ndim: int = 2, arrays: int = 1, instead: str = "take a part of it"
) -> FloatArray:
    """Return the image as a new float array (n, h, w) or (z, y, x), its middle value moved to 0.

    Derivatives ignore a constant; without the middle of each image they do so exactly, also in a flat image.
    arrays: how many of its size the work will hold. Raises `FilterError` for an image that is not finite real
    numbers of the right shape and a range up to `LARGEST_RANGE`, none of them masked, or, before anything is copied,
    for arrays beyond `MEMORY_LIMIT_MB`.
    """
    dtype, ndim = checked_dtype(dtype), checked_ndim(ndim)
    raw = _as_array(image)
    if raw.dtype.kind not in "biuf":
        raise FilterError(f"The image holds {raw.dtype} values, not real numbers; give pixels in [0, 1].")
    if ndim == 2 and raw.ndim not in (2, 3):
        raise FilterError(f"The image has shape {raw.shape}; give a slice (h, w) or a batch of them (n, h, w).")
    if ndim == 3 and raw.ndim != 3:
        raise FilterError(f"The image has shape {raw.shape}; give a volume (z, y, x), or ndim=2 for slices.")
    if raw.size == 0:
        raise FilterError(f"The image has shape {raw.shape} and holds no pixel.")
    needed = raw.size * dtype.itemsize * arrays
    if needed > MEMORY_LIMIT_MB * 1_000_000:
        shape = " × ".join(map(str, raw.shape))
        raise FilterError(
            f"An image of {shape} needs {needed / 1e6:,.0f} MB here, more than the limit of {MEMORY_LIMIT_MB:,} MB; "
            f"{instead}."
        )
    with np.errstate(over="ignore"):
        pixels = raw.astype(dtype)
    axes = None if ndim == 3 else (-2, -1)
    low, high = pixels.min(axis=axes, keepdims=True), pixels.max(axis=axes, keepdims=True)
    # An extreme is finite only if every pixel is: NaN passes through both.
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        broken = ~np.isfinite(pixels)
        raise FilterError(
            f"{np.count_nonzero(broken)} pixels of the image are not finite (the first is {pixels[broken][0]}); "
            "replace them."
        )
    with np.errstate(over="ignore"):
        contrast = float((high - low).max())
    if contrast > LARGEST_RANGE:
        raise FilterError(
            f"The image's values span {contrast:g}, more than {LARGEST_RANGE:g}; scale them, best to [0, 1]."
        )
    pixels -= low / 2 + high / 2
    return pixels if pixels.ndim == 3 else pixels[None]


def checked_ndim(ndim: int) -> int:
    """Return the number of axes; raises `FilterError` unless it is 2 or 3."""
    if isinstance(ndim, bool) or not isinstance(ndim, int | np.integer) or ndim not in (2, 3):
        raise FilterError(f"ndim is {reprlib.repr(ndim)}; 2 filters slices, 3 a volume.")
    return int(ndim)


def checked_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return the dtype; raises `FilterError` unless it is float32 or float64."""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise FilterError(f"The dtype {dtype!r} is unknown; give float32 or float64.") from error
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise FilterError(f"The filter computes in float32 or float64, not in {found}.")
    return found


def is_number(value: Any) -> bool:
    """Say whether a value is one finite real number, Python's or numpy's, and no bool."""
    try:
        real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        return real and math.isfinite(value)
    except OverflowError:  # an int beyond float64
        return False


def _float(value: Any) -> float:
    """Return a number as Python's float; raises `TypeError` for text and truths, which float() would take."""
    if isinstance(value, str | bytes | bool | np.bool_):
        raise TypeError
    return float(value)


def _as_array(image: npt.ArrayLike) -> npt.NDArray[Any]:
    if np.ma.isMaskedArray(image) and np.ma.getmaskarray(image).any():
        raise FilterError("The image has masked pixels, which the filter cannot leave out; fill them first.")
    try:
        return np.asarray(image)
    except ValueError as error:
        raise FilterError("The image is not a rectangle of numbers; give an array (h, w) or (n, h, w).") from error
    except (TypeError, RuntimeError) as error:  # a tensor with a gradient, on a device or in bfloat16
        raise FilterError(
            f"The image cannot be read as a numpy array ({str(error).splitlines()[0]}); convert it to one."
        ) from error


def checked_sigmas(sigmas: Sequence[float]) -> tuple[float, ...]:
    """Return the scales as floats; raises `FilterError` unless there is one and all are above 0."""
    try:
        scales = tuple(map(_float, sigmas))
    except (TypeError, ValueError, OverflowError) as error:
        raise FilterError(
            f"The scales {reprlib.repr(sigmas)} are not numbers; give sigmas such as (1, 2, 3)."
        ) from error
    if not scales:
        raise FilterError("The list of scales () is empty; give at least one sigma.")
    for sigma in scales:
        if not (math.isfinite(sigma) and sigma > 0):
            raise FilterError(f"The scale sigma = {sigma:g} is not above 0; give scales such as 1 to 9.")
    return scales


def checked_spacing(spacing_mm: Sequence[float] | None, ndim: int = 2) -> tuple[float, ...]:
    """Return the spacing of each axis, 1 where none is given; raises `FilterError` unless all are above 0."""
    ndim = checked_ndim(ndim)
    if spacing_mm is None:
        return (1.0,) * ndim
    form = "(y, x)" if ndim == 2 else "(z, y, x)"
    try:
        steps = tuple(map(_float, spacing_mm))
    except (TypeError, ValueError, OverflowError) as error:
        raise FilterError(f"The spacing {reprlib.repr(spacing_mm)} is not numbers; give {form} in mm.") from error
    if len(steps) != ndim:
        raise FilterError(f"The spacing {spacing_mm!r} has {len(steps)} values; give {form} in mm.")
    if not all(math.isfinite(step) and step > 0 for step in steps):
        text = ", ".join(f"{step:g}" for step in steps)
        raise FilterError(f"The spacing ({text}) mm is not above 0; give {form} in mm.")
    return steps


def checked_tolerance(tolerance: float | None, ndim: int = 2) -> float | None:
    """Return the tolerance as a float; raises `FilterError` unless it is above 0, or None, as a volume's must be."""
    if tolerance is None:
        return None
    if not (is_number(tolerance) and tolerance > 0):
        raise FilterError(
            f"The tolerance is {reprlib.repr(tolerance)}; give a number above 0, or None to compute every scale."
        )
    if ndim == 3:
        raise FilterError(f"Every scale of a volume is computed, not within {tolerance:g}; give tolerance=None.")
    return float(tolerance)
