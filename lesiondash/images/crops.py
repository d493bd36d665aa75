"""Square crops round a lesion, in millimetres, resampled to a fixed number of pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import BoxError, SearchError
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.records import Box, Lesion, Series

CROP_PX = 64
MIN_SIDE_MM = 50.0
CONTEXT = 1.5
AIR_HU = -1024.0
SLICE_STEP_MM = 5.0
"""Between the slices of a crop of several, whatever the spacing of its series."""


def crop_side_mm(box: Box, spacing_mm: tuple[float, float]) -> float:
    """Return the field of view of a box's crop, in mm: `max(MIN_SIDE_MM, CONTEXT × its longest side)`.

    spacing_mm is (y, x). Raises `BoxError` for a spacing that is not positive.
    """
    spacing_y, spacing_x = _checked_spacing(spacing_mm)
    width_px, height_px = box.size
    return max(MIN_SIDE_MM, CONTEXT * max(width_px * spacing_x, height_px * spacing_y))


def crop(
    hu: npt.NDArray[Any],
    box: Box,
    *,
    spacing_mm: tuple[float, float],
    size_px: int = CROP_PX,
    side_mm: float | None = None,
) -> npt.NDArray[np.float32]:
    """Cut a square field of view in mm, centred on the box, and resample it to size_px × size_px pixels.

    hu is a slice (y, x) in HU; spacing_mm is (y, x); side_mm defaults to `crop_side_mm`. Interpolation is
    bilinear where pixels are enlarged; where they are shrunk the triangle is widened to the output pixel, so
    that nothing aliases. Outside of the image lies air, −1024 HU. Returns (size_px, size_px) float32 HU.
    Raises `BoxError` when the box lies outside the image, or a size is not positive.

    >>> import numpy as np
    >>> from lesiondash import Box, crop
    >>> crop(np.zeros((512, 512)), Box(240, 250, 260, 270), spacing_mm=(0.8, 0.8)).shape
    (64, 64)
    """
    image = np.asarray(hu)
    if image.ndim != 2:
        raise BoxError(f"A crop is cut from one slice (y, x); this array has {image.ndim} dimensions.")
    spacing_y, spacing_x = _checked_spacing(spacing_mm)
    height, width = image.shape
    box.inside(height, width)
    side = crop_side_mm(box, spacing_mm) if side_mm is None else float(side_mm)
    if not (math.isfinite(side) and side > 0 and size_px > 0):
        raise BoxError(f"A crop of {side:g} mm and {size_px} pixels has no area; give positive numbers.")
    center_x, center_y = box.center
    first_y, rows = _weights(center_y, side / size_px / spacing_y, size_px, height)
    first_x, columns = _weights(center_x, side / size_px / spacing_x, size_px, width)
    window = image[first_y : first_y + rows.shape[1], first_x : first_x + columns.shape[1]]
    # Air is the zero of the sum: weights that fall outside of the image need not be computed with.
    above_air = window.astype(np.float32) - np.float32(AIR_HU)
    result: npt.NDArray[np.float32] = rows @ above_air @ columns.T + np.float32(AIR_HU)
    return result


def searchable_hu(series: Series) -> npt.NDArray[Any]:
    """Return a series' HU (z, y, x); raises `SearchError` where it holds other values, which no lesion is like."""
    if series.unit != "HU":
        words = "can be looked at but not searched with; open a CT series to search"
        raise SearchError(f"This series ({series.modality}) holds no HU: it {words}.")
    return series.hu


def slice_offsets(slices: int, spacing_z_mm: float) -> tuple[int, ...]:
    """Return the offsets, in slices, at which a crop of several slices is cut: `SLICE_STEP_MM` apart, at least one.

    >>> from lesiondash.images.crops import slice_offsets
    >>> slice_offsets(3, 5.0), slice_offsets(3, 1.0), slice_offsets(1, 1.0)
    ((-1, 0, 1), (-5, 0, 5), (0,))
    """
    step = max(1.0, SLICE_STEP_MM / spacing_z_mm) if spacing_z_mm > 0 else 1.0
    return tuple(round(k * step) for k in range(-(slices // 2), slices // 2 + 1))


def crop_slices(
    hu: npt.NDArray[Any], slice_index: int, box: Box, *, spacing_mm: tuple[float, float, float], slices: int
) -> npt.NDArray[np.float32]:
    """Cut the same crop from several slices of a series, `slice_offsets` apart; beyond its ends the last one repeats.

    hu: (z, y, x); spacing_mm: (z, y, x). Returns (slices, 64, 64), or (64, 64) of one slice, as an encoder takes it.
    """
    rows = np.clip(slice_index + np.array(slice_offsets(slices, spacing_mm[0])), 0, len(hu) - 1)
    crops = [crop(hu[row], box, spacing_mm=spacing_mm[1:]) for row in rows]
    return crops[0] if slices == 1 else np.stack(crops)


def crop_lesion(
    collection: DeepLesion, lesion: Lesion, *, size_px: int = CROP_PX, margin: float = 1.0
) -> npt.NDArray[np.float32]:
    """Cut the crop of a collection's lesion from its key slice.

    margin > 1 widens the field of view, as room to shift and rotate. Returns (size_px, size_px) float32 HU.
    Raises `CollectionError` when the slice cannot be read, `BoxError` when the box lies outside of it.
    """
    hu = collection.slice_hu(lesion.series_id, lesion.slice_index)
    spacing_mm = lesion.spacing_mm[1:]
    side_mm = crop_side_mm(lesion.box, spacing_mm) * margin
    return crop(hu, lesion.box, spacing_mm=spacing_mm, size_px=size_px, side_mm=side_mm)


def box_mask(box: Box, spacing_mm: tuple[float, float], *, size_px: int = CROP_PX) -> npt.NDArray[np.bool_]:
    """Return which pixels of a box's crop, (size_px, size_px), have their centre in the box.

    spacing_mm is (y, x); the crop is the one that `crop` cuts by default.
    """
    px_mm = crop_side_mm(box, spacing_mm) / size_px
    away_mm = np.abs(np.arange(size_px) + 0.5 - size_px / 2) * px_mm
    width_px, height_px = box.size
    rows, columns = away_mm <= height_px * spacing_mm[0] / 2, away_mm <= width_px * spacing_mm[1] / 2
    return np.asarray(rows[:, None] & columns[None, :])


def _checked_spacing(spacing_mm: tuple[float, float]) -> tuple[float, float]:
    spacing_y, spacing_x = (float(value) for value in spacing_mm)
    if not all(math.isfinite(value) and value > 0 for value in (spacing_y, spacing_x)):
        raise BoxError(f"The pixel spacing {spacing_y:g} × {spacing_x:g} mm is not positive; give (y, x) in mm.")
    return spacing_y, spacing_x


def _weights(center_px: float, step_px: float, size_px: int, length: int) -> tuple[int, npt.NDArray[np.float32]]:
    """Resampling weights along one axis: (first pixel used, matrix of size_px × pixels used).

    Each row is a triangle round an output pixel's centre, one input pixel far to each side when enlarging and
    one output pixel when shrinking. It sums to 1 over the endless grid; columns off the image are left out.
    """
    centers = center_px + (np.arange(size_px) + 0.5 - size_px / 2) * step_px - 0.5
    reach = max(1.0, step_px)
    first, last = math.floor(centers[0] - reach), math.ceil(centers[-1] + reach)
    distance = np.abs(centers[:, None] - np.arange(first, last + 1)[None, :])
    triangle = np.maximum(0.0, 1.0 - distance / reach)
    triangle /= triangle.sum(axis=1, keepdims=True)
    begin, end = max(first, 0), min(last + 1, length)
    if end <= begin:  # the box touches the image, so this needs a centre beyond its edge and a tiny field of view
        return 0, np.zeros((size_px, 1), np.float32)
    return begin, triangle[:, begin - first : end - first].astype(np.float32)
