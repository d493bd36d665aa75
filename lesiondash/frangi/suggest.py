"""Boxes to begin with: the places of a slice that the filter answers to as to a round, bright structure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesiondash.errors import FilterError
from lesiondash.frangi.hessian import HessianStack
from lesiondash.records import Box, FrangiParams, Window

WINDOW = Window(0, 320)
"""From below fat to well-perfused organs: bone is no brighter than these, and air no darker than fat."""
SIGMAS_MM: tuple[float, ...] = tuple(float(sigma) for sigma in np.geomspace(2, 12, 10).round(2))
PARAMS = FrangiParams(alpha=0.5, gamma=0.3, rho=0.0, sigmas=SIGMAS_MM, formula="strict")
"""The printed formula, which answers where both curvatures have one sign: to discs, not to contours and walls."""
BODY_HU, BONE_HU = -500.0, 200.0
SKIN_MM, BONE_MARGIN_MM = 4.0, 2.0
SIDE_SIGMAS = 3.0
"""A disc of radius R answers strongest at σ = R/√2; a box of three σ, a little more than 2R, goes round it."""
PEAK_FLOOR = 1e-3
APART = 0.65
"""Centres nearer than this share of a stronger one's side are the same structure."""
SMALLEST_PX = 16


@dataclass(frozen=True)
class Suggestion:
    """A box in pixels, the filter's response at its middle in [0, 1], and the scale that answered, in mm."""

    box: Box
    response: float
    sigma_mm: float


def suggest(
    hu: npt.ArrayLike,
    *,
    spacing_mm: tuple[float, float],
    count: int = 10,
    window: Window = WINDOW,
    params: FrangiParams = PARAMS,
) -> list[Suggestion]:
    """Return up to `count` boxes round the strongest responses within the body, strongest first.

    hu: (y, x) in HU; spacing_mm: (y, x); params.sigmas in mm. Responses are compared after weighting by √σ, so that
    noise at the smallest scale does not come first. Bone, the skin and what lies outside of the body are left out; so
    is a weaker peak near a stronger one. A slice without a body has none. Raises `FilterError` for an image that is no
    slice of numbers, a spacing that is not positive and a count below 1.
    """
    image = _checked(hu, spacing_mm, count)
    inside = body(image, spacing_mm) & ~_near_bone(image, spacing_mm)
    if not inside.any():
        return []
    stack = HessianStack.compute(window.apply(image), params.sigmas, spacing_mm=spacing_mm, dtype=np.float32)
    responses = stack.responses(replace(params, sigmas=params.sigmas)) * inside
    return _strongest(responses, params.sigmas, spacing_mm, count)


def body(hu: npt.NDArray[np.floating], spacing_mm: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Return the largest connected part above −500 HU with all it surrounds, less 4 mm of skin: (y, x)."""
    tissue = ndimage.binary_opening(hu > BODY_HU, iterations=2)
    labels, found = ndimage.label(tissue)
    if not found:
        return np.zeros(hu.shape, bool)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    filled = ndimage.binary_fill_holes(largest)
    return np.asarray(ndimage.binary_erosion(filled, iterations=_pixels(SKIN_MM, spacing_mm)))


def _near_bone(hu: npt.NDArray[np.floating], spacing_mm: tuple[float, float]) -> npt.NDArray[np.bool_]:
    bone = ndimage.binary_opening(hu > BONE_HU)
    return np.asarray(ndimage.binary_dilation(bone, iterations=_pixels(BONE_MARGIN_MM, spacing_mm)))


def _pixels(length_mm: float, spacing_mm: tuple[float, float]) -> int:
    return max(1, round(length_mm / max(spacing_mm)))


def _strongest(
    responses: npt.NDArray[np.floating],
    sigmas_mm: tuple[float, ...],
    spacing_mm: tuple[float, float],
    count: int,
) -> list[Suggestion]:
    """Take peaks in scale and place, strongest first, none near one that was taken."""
    weighted = responses * np.sqrt(np.array(sigmas_mm, np.float32))[:, None, None]
    peak = (weighted == ndimage.maximum_filter(weighted, size=(3, 5, 5))) & (responses > PEAK_FLOOR)
    scales, rows, columns = np.nonzero(peak)
    taken: list[Suggestion] = []
    height, width = responses.shape[1:]
    for at in np.argsort(-weighted[peak], kind="stable"):
        sigma_mm, y, x = sigmas_mm[scales[at]], rows[at] + 0.5, columns[at] + 0.5
        if any(_near(x, y, other.box) for other in taken):
            continue
        half_y, half_x = (SIDE_SIGMAS / 2 * sigma_mm / step for step in spacing_mm)
        box = Box(x - half_x, y - half_y, x + half_x, y + half_y).inside(height, width)
        taken.append(Suggestion(box, float(responses[scales[at], rows[at], columns[at]]), sigma_mm))
        if len(taken) == count:
            break
    return taken


def _near(x: float, y: float, box: Box) -> bool:
    (center_x, center_y), (width, height) = box.center, box.size
    return abs(x - center_x) < APART * width and abs(y - center_y) < APART * height


def _checked(hu: npt.ArrayLike, spacing_mm: tuple[float, float], count: int) -> npt.NDArray[np.floating]:
    image = np.asarray(hu)
    if image.ndim != 2 or image.dtype.kind not in "iuf" or min(image.shape) < SMALLEST_PX:
        raise FilterError(f"Boxes are suggested on a slice of {SMALLEST_PX} pixels a side or more; not {image.shape}.")
    if not np.isfinite(image).all():
        raise FilterError("The slice holds NaN or infinity; read it again, or fill those pixels.")
    if len(spacing_mm) != 2 or not all(np.isfinite(step) and step > 0 for step in spacing_mm):
        raise FilterError(f"The spacing is {spacing_mm!r}; give two sizes of a pixel in mm, above 0.")
    if count < 1:
        raise FilterError(f"{count} boxes cannot be suggested; ask for 1 or more.")
    return image.astype(np.float32)
