"""Where slices lie: sorted along their normal, their distance, and what is unusual about it, said in words."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from lesiondash.images.dicom_slices import Slice

SAME_PLACE_MM = 0.01
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_UNEVEN = 0.1
_TILT_DEG = 0.5


def in_order(slices: list[Slice]) -> tuple[list[int], npt.NDArray[np.float64] | None]:
    """Return the numbers of the slices sorted by position along the normal, and these positions in mm.

    Slice locations stand in for positions where any slice has none. Slices at one place, and those without either,
    follow their instance numbers and names; None is said for the positions of the latter.
    """
    order = sorted(range(len(slices)), key=lambda k: (slices[k].instance_number, _natural(slices[k].name)))
    if all(one.position_mm is not None for one in slices):
        along_mm = np.array([slices[k].position_mm for k in order], dtype=np.float64) @ normal_of(slices[0])
    elif all(one.location_mm is not None for one in slices):
        along_mm = np.array([slices[k].location_mm for k in order], dtype=np.float64)
    else:
        return order, None
    sorted_too = np.argsort(along_mm, kind="stable")
    return [order[k] for k in sorted_too], along_mm[sorted_too]


def normal_of(one: Slice) -> npt.NDArray[np.float64]:
    """Return the unit normal row × column of a slice; of one without orientation, that of an axial slice."""
    normal = _normal(one.orientation)
    return normal if normal is not None else np.array([0.0, 0.0, 1.0])


def geometry_notes(slices: list[Slice], along_mm: npt.NDArray[np.float64] | None) -> list[str]:
    """Say what is unusual about where sorted slices lie."""
    if along_mm is None:
        if len(slices) == 1 or slices[0].facts.frame_rate_hz is not None:
            return []
        return ["The files give no positions; slices are in the order of their instance numbers."]
    if any(one.position_mm is None for one in slices):
        return ["The files give no positions; slices are in the order of their slice locations."]
    notes = []
    if _normal(slices[0].orientation) is None:
        notes.append("The files give no orientation; slices are taken as axial.")
    normal = normal_of(slices[0])
    axis = int(np.argmax(np.abs(normal)))
    if axis != 2:
        notes.append(f"The slices are {('sagittal', 'coronal')[axis]}, not axial.")
    origins = np.array([slices[0].position_mm, slices[-1].position_mm], dtype=np.float64)
    return notes + _tilt_notes(origins[1] - origins[0], normal, slices[0].tilt_deg)


def slice_distance(slices: list[Slice], along_mm: npt.NDArray[np.float64] | None, notes: list[str]) -> float:
    """Return the median distance of slices in mm; falls back on what the files say, then on 1 mm."""
    if along_mm is not None and len(along_mm) > 1:
        steps = np.diff(along_mm)
        same = int(np.sum(steps < SAME_PLACE_MM))
        if same:
            notes.append(f"Slices that share their position with another one: {same}; all are kept.")
        steps = steps[steps >= SAME_PLACE_MM]
        if len(steps):
            median = float(np.median(steps))
            _note_gaps(steps, median, notes)
            return median
    stated_mm = [slices[0].spacing_between_mm, slices[0].thickness_mm]
    # of a single slice the distance to a neighbour says less than how thick it is
    for stated in stated_mm if len(slices) > 1 else reversed(stated_mm):
        if stated:
            return stated
    projection = len(slices) == 1 and slices[0].unit != "HU"
    if slices[0].facts.frame_rate_hz is None and not projection:
        notes.append("The files give no slice distance; 1 mm is assumed.")
    return 1.0


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key in which `slice10` follows `slice9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.lower())]


def _normal(orientation: tuple[float, ...] | None) -> npt.NDArray[np.float64] | None:
    """Return the unit normal row × column, or None where the two directions span no plane."""
    if orientation is None:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0.5 else None


def _tilt_notes(travel: npt.NDArray[np.float64], normal: npt.NDArray[np.float64], tilt_deg: float) -> list[str]:
    """Say when slices are not stacked along their normal, or were taken with a tilted gantry."""
    length = float(np.linalg.norm(travel))
    if length < SAME_PLACE_MM:
        return []
    shear_deg = float(np.degrees(np.arccos(min(1.0, abs(float(travel @ normal)) / length))))
    if shear_deg > _TILT_DEG:
        return [
            f"The gantry was tilted by {shear_deg:.1f}°: slices are sheared against each other, "
            "so measures across slices are off."
        ]
    if abs(tilt_deg) > _TILT_DEG:
        return [f"The gantry was tilted by {abs(tilt_deg):.1f}°; the slices are oblique."]
    return []


def _note_gaps(steps: npt.NDArray[np.float64], median: float, notes: list[str]) -> None:
    uneven = np.abs(steps - median) > _UNEVEN * median
    if not uneven.any():
        return
    gaps = int(np.sum(steps > 1.5 * median))
    rare = 0 < gaps <= max(1, len(steps) // 10)  # many wide steps are a second way of scanning, not gaps
    missing = f" Slices may be missing at {gaps} of {len(steps)} steps." if rare else ""
    notes.append(
        f"Slice distances are uneven, {steps.min():.2f} to {steps.max():.2f} mm; "
        f"the median, {median:.2f} mm, is used.{missing}"
    )
