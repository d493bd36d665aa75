"""Settings to begin with, from a box round a lesion: which scales fit its size, which γ its strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.frangi.eigenvalues import squared_norm
from lesiondash.frangi.formulas import check_params
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.inputs import is_number
from lesiondash.frangi.presets import sweep
from lesiondash.records import FrangiParams

HALF_RESPONSE = 1.1774
"""The structure factor 1 − exp(−S²/2γ²) is one half at S = √(2 ln 2) γ."""
SCALES = 21
LIMITS = (0.6, 12.0)
"""Scales in pixels that a sweep keeps within, so that it starts at 6 at the most."""


def estimate(
    image: npt.ArrayLike,
    size_px: tuple[float, float],
    params: FrangiParams = FrangiParams(),  # noqa: B008 - frozen
) -> FrangiParams:
    """Return `params` with scales and γ that fit a lesion in the middle of an image.

    image: (h, w) in [0, 1]; size_px: the lesion's height and width. A disc of radius R answers strongest at σ = R/√2
    and its rim at smaller scales (closed forms of σ²-normalised Hessians), so the sweep runs from a third of that for
    the shorter side to it for the longer, plus a quarter, within `LIMITS`. γ lets the lesion's typical structure norm
    pass by half: the median of S over the lesion, at each pixel's largest scale response, over 1.1774.
    Raises `FilterError` for a size that is not two numbers above 0, a batch, or a flat image.
    """
    check_params(params)
    if np.shape(size_px) != (2,) or not all(is_number(size) and size > 0 for size in size_px):
        raise FilterError(f"The lesion's size is {size_px!r} pixels; give height and width, two numbers above 0.")
    height, width = (float(size) for size in size_px)
    low, high = min(height, width) / 2 / np.sqrt(2) / 3, max(height, width) / 2 / np.sqrt(2) * 1.25
    low = float(np.clip(round(low, 1), LIMITS[0], LIMITS[1] / 2))
    high = float(np.clip(round(high, 1), low + 0.4, LIMITS[1]))
    step = max(0.1, round((high - low) / (SCALES - 1), 1))
    sigmas = sweep(low, high, step)
    stack = HessianStack.compute(image, sigmas, dtype=np.float32)
    if stack.big.ndim != 3:
        raise FilterError(
            f"The image has shape {np.shape(image)}; give one slice (h, w) with the lesion in its middle."
        )
    norm = np.sqrt(squared_norm((None, stack.small, stack.big))).max(axis=0)
    rows, columns = (_middle(side, size) for side, size in zip(norm.shape, (height, width), strict=True))
    typical = float(np.median(norm[rows, columns]))
    if typical <= 0:
        raise FilterError("The box is flat: there is no structure in it to fit γ to; draw it round a lesion.")
    return replace(params, sigmas=sigmas, gamma=float(f"{typical / HALF_RESPONSE:.2g}"))


def _middle(side: int, size: float) -> slice:
    """Return the middle `size` pixels of a side, one at the least and the whole side at the most."""
    length = min(max(round(size), 1), side)
    start = round((side - length) / 2)
    return slice(start, start + length)
