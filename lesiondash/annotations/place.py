"""Where annotations lie: pixels in mm of the patient, slices named so that they are found again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesiondash.errors import AnnotationError
from lesiondash.records import Annotation, Series

SAME_PLACE_MM = 0.01
POINTS = {"box": 2, "length": 2, "recist": 4, "ellipse": 2, "arrow": 2, "text": 1}
"""How many points an annotation of each kind has."""


@dataclass(frozen=True)
class SliceName:
    """What a slice is called whatever its number: re-mapped SOP UID and frame (from 1), or its position in mm."""

    sop_instance_uid: str | None
    frame_number: int | None
    position_mm: float


def slice_names(series: Series) -> tuple[SliceName, ...]:
    """Return the names of a series' slices, in their order."""
    source = series.source
    if source is None:
        return tuple(SliceName(None, None, position) for position in series.positions_mm)
    return tuple(
        SliceName(uid or None, frame, position)
        for uid, frame, position in zip(
            source.sop_instance_uids, source.frame_numbers, series.positions_mm, strict=True
        )
    )


def find_slice(series: Series, name: SliceName) -> int | None:
    """Return the index of the slice of that name, None where there is none.

    By UID and frame where the series holds the UID, else by position. A UID that the series does not hold is no
    obstacle: programs re-map UIDs in their own ways, and the position is the same.
    """
    names = slice_names(series)
    for index, other in enumerate(names):
        same = name.sop_instance_uid is not None and name.sop_instance_uid == other.sop_instance_uid
        if same and name.frame_number in (None, other.frame_number):
            return index
    distances = np.abs(np.array([other.position_mm for other in names]) - name.position_mm)
    nearest = int(np.argmin(distances)) if len(distances) else -1
    return nearest if nearest >= 0 and distances[nearest] <= SAME_PLACE_MM else None


def known_in_patient(series: Series) -> bool:
    """Whether the files say where the slices lie in the patient."""
    source = series.source
    return source is not None and source.orientation is not None and source.origins_mm is not None


def points_mm(series: Series, annotation: Annotation) -> npt.NDArray[np.float64]:
    """Return an annotation's points (n, 3), as (x, y, z) in mm.

    Patient coordinates (DICOM PS3.3 C.7.6.2.1.1) where they are known; else from the centre of the first slice's first
    pixel: x along the row, y down the column, z along the normal. Raises `AnnotationError` for a slice outside.
    """
    check_slice(series, annotation)
    _, y_mm, x_mm = series.spacing_mm
    # Points count from the corner of the first pixel, positions in DICOM from its centre.
    across = (np.asarray(annotation.points_px, np.float64) - 0.5) * (x_mm, y_mm)
    index, source = annotation.slice_index, series.source
    if source is None or source.orientation is None or source.origins_mm is None:
        z_mm = series.positions_mm[index] - series.positions_mm[0]
        return np.column_stack([across, np.full(len(across), z_mm)])
    axes = np.asarray(source.orientation, np.float64).reshape(2, 3)
    return np.asarray(source.origins_mm[index], np.float64) + across @ axes


def check_slice(series: Series, annotation: Annotation) -> None:
    """Raise `AnnotationError` for an annotation on a slice that the series does not have."""
    if not 0 <= annotation.slice_index < len(series):
        raise AnnotationError(
            f"An annotation lies on slice {annotation.slice_index + 1}, but the series has {len(series)}; "
            "load all of its slices."
        )
