"""How two series lie to each other in the patient."""

from __future__ import annotations

import numpy as np

from lesiondash.records import Series

SAME_DIRECTION = 1e-3
"""Of direction cosines: 0.06 degrees, 0.3 mm at the edge of a slice."""


def shift_between(first: Series, second: Series) -> tuple[float, float] | None:
    """Return how far apart, in mm along rows and columns, the middles of two series' images are; None if unknown.

    A place x mm from the middle of the first image is x + shift from the middle of the second. Known where both were
    placed in one frame of reference with one orientation; positions_mm then say of both where they are along the
    normal. Source: DICOM PS3.3 C.7.4.1 and C.7.6.2.
    """
    a, b = first.source, second.source
    if a is None or b is None or not a.frame_of_reference_uid or a.frame_of_reference_uid != b.frame_of_reference_uid:
        return None
    if a.orientation is None or b.orientation is None or a.origins_mm is None or b.origins_mm is None:
        return None
    if not np.allclose(a.orientation, b.orientation, rtol=0, atol=SAME_DIRECTION):
        return None
    directions = np.reshape(a.orientation, (2, 3))
    x, y = directions @ a.origins_mm[0] + _middle_mm(first) - directions @ b.origins_mm[0] - _middle_mm(second)
    return float(x), float(y)


def _middle_mm(series: Series) -> np.ndarray:
    """Return where the middle of an image is, in mm along rows and columns from the middle of its first pixel."""
    height, width = series.hu.shape[1:]
    _, row_mm, column_mm = series.spacing_mm
    return np.array([(width - 1) / 2 * column_mm, (height - 1) / 2 * row_mm])
