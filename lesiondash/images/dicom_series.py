"""Decoded slices put together into series: grouped, sorted along the normal, with what is unusual said."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lesiondash.images.dicom_slices import Slice
from lesiondash.records import Series

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_SAME_PLACE_MM = 0.01
_UNEVEN = 0.1
_TILT_DEG = 0.5
_COSINE_TOLERANCE = 1e-3


def series_uid_hash(series_instance_uid: str) -> str:
    """Return the `Series.uid` of a SeriesInstanceUID: 16 hexadecimal digits of its SHA-256.

    A series that had to be split keeps this uid for its largest part.
    """
    return hashlib.sha256(series_instance_uid.encode()).hexdigest()[:16]


def build_series(slices: Iterable[Slice]) -> list[Series]:
    """Group slices by series, orientation, size and pixel spacing; returns the series, most slices first."""
    by_uid: dict[str, list[list[Slice]]] = {}
    for one in slices:
        groups = by_uid.setdefault(one.series_instance_uid, [])
        fitting = next((group for group in groups if _fits(group[0], one)), None)
        if fitting is None:
            groups.append([one])
        else:
            fitting.append(one)
    series = []
    for uid, groups in by_uid.items():
        # an order that does not depend on the order of files, so that a part keeps its uid
        groups.sort(key=lambda group: (-len(group), group[0].hu.shape, str(group[0].orientation)))
        for part, group in enumerate(groups):
            series.append(_build(uid, group, part, len(groups)))
    return sorted(series, key=lambda one: -len(one))


def _fits(a: Slice, b: Slice) -> bool:
    if a.hu.shape != b.hu.shape or (a.position_mm is None) != (b.position_mm is None):
        return False
    return _close(a.orientation, b.orientation, _COSINE_TOLERANCE) and _close(
        a.pixel_spacing_mm, b.pixel_spacing_mm, 1e-3
    )


def _close(a: tuple[float, ...] | None, b: tuple[float, ...] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return bool(np.allclose(a, b, rtol=0, atol=tolerance))


def _build(uid: str, slices: list[Slice], part: int, parts: int) -> Series:
    notes = list(dict.fromkeys(note for one in slices for note in one.notes))
    if parts > 1:
        notes.append(f"The series was split into {parts} by orientation, size or spacing; this is part {part + 1}.")
    slices = _without_copies(slices, notes)
    slices, placed_mm = _sorted(slices, notes)
    z_mm = _slice_distance(slices, placed_mm, notes)
    along_mm = [index * z_mm for index in range(len(slices))] if placed_mm is None else placed_mm.tolist()
    spacing = slices[0].pixel_spacing_mm
    if spacing is None:
        notes.append("The files give no pixel spacing; 1 mm is assumed, so do not trust measures in mm.")
        spacing = (1.0, 1.0)
    y_mm, x_mm = spacing
    hu = np.stack([one.hu for one in slices])  # int16, or float32 where any slice is
    count = "1 slice" if len(slices) == 1 else f"{len(slices):,} slices"
    return Series(
        uid=_uid(uid, part, hu),
        description=f"CT, {count}, {y_mm:.2f} × {x_mm:.2f} × {round(z_mm, 2):g} mm",
        modality="CT",
        hu=hu,
        spacing_mm=(z_mm, y_mm, x_mm),
        positions_mm=tuple(along_mm),
        notes=tuple(notes),
    )


def _uid(series_instance_uid: str, part: int, hu: npt.NDArray[np.generic]) -> str:
    """Hash what names the series; one without a name is told apart by its pixels."""
    if not series_instance_uid:
        return hashlib.sha256(hu.tobytes()).hexdigest()[:16]
    return series_uid_hash(series_instance_uid if part == 0 else f"{series_instance_uid}#{part}")


def _without_copies(slices: list[Slice], notes: list[str]) -> list[Slice]:
    """Drop files that were handed over twice: the same image by name and by pixels."""
    kept: dict[str, list[Slice]] = {}
    for one in slices:
        same = kept.setdefault(one.sop_instance_uid, [])
        if not any(np.array_equal(one.hu, other.hu) for other in same):
            same.append(one)
    left = [one for same in kept.values() for one in same]
    if len(left) < len(slices):
        notes.append(f"Copies of the same slice were left out: {len(slices) - len(left)}.")
    return left


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key in which `slice10` follows `slice9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.lower())]


def _sorted(slices: list[Slice], notes: list[str]) -> tuple[list[Slice], npt.NDArray[np.float64] | None]:
    """Sort by position along the normal, ties and unplaced slices by instance number and name."""
    slices = sorted(slices, key=lambda one: (one.instance_number, _natural(one.name)))
    if any(one.position_mm is None for one in slices):
        if len(slices) > 1:
            notes.append("The files give no positions; slices are in the order of their instance numbers.")
        return slices, None
    orientation = slices[0].orientation
    normal = _normal(orientation)
    if orientation is None or normal is None:
        notes.append("The files give no orientation; slices are taken as axial.")
        normal = _normal(_AXIAL)
    assert normal is not None
    if int(np.argmax(np.abs(normal))) != 2:
        plane = ("sagittal", "coronal")[int(np.argmax(np.abs(normal)))]
        notes.append(f"The slices are {plane}, not axial.")
    origins = np.array([one.position_mm for one in slices], dtype=np.float64)
    along_mm = origins @ normal
    order = np.argsort(along_mm, kind="stable")
    _note_tilt(origins[order[-1]] - origins[order[0]], normal, slices[0].tilt_deg, notes)
    return [slices[index] for index in order], along_mm[order]


def _normal(orientation: tuple[float, ...] | None) -> npt.NDArray[np.float64] | None:
    """Return the unit normal row × column, or None where the two directions span no plane."""
    if orientation is None:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0.5 else None


def _note_tilt(
    travel: npt.NDArray[np.float64], normal: npt.NDArray[np.float64], tilt_deg: float, notes: list[str]
) -> None:
    """Say when slices are not stacked along their normal, or were taken with a tilted gantry."""
    length = float(np.linalg.norm(travel))
    if length < _SAME_PLACE_MM:
        return
    shear_deg = float(np.degrees(np.arccos(min(1.0, abs(float(travel @ normal)) / length))))
    if shear_deg > _TILT_DEG:
        notes.append(
            f"The gantry was tilted by {shear_deg:.1f}°: slices are sheared against each other, "
            "so measures across slices are off."
        )
    elif abs(tilt_deg) > _TILT_DEG:
        notes.append(f"The gantry was tilted by {abs(tilt_deg):.1f}°; the slices are oblique.")


def _slice_distance(slices: list[Slice], along_mm: npt.NDArray[np.float64] | None, notes: list[str]) -> float:
    """Return the median distance of slices; falls back on what the files say, then on 1 mm."""
    if along_mm is not None and len(along_mm) > 1:
        steps = np.diff(along_mm)
        same = int(np.sum(steps < _SAME_PLACE_MM))
        if same:
            notes.append(f"Slices that share their position with another one: {same}; all are kept.")
        steps = steps[steps >= _SAME_PLACE_MM]
        if len(steps):
            median = float(np.median(steps))
            _note_gaps(steps, median, notes)
            return median
    stated_mm = [slices[0].spacing_between_mm, slices[0].thickness_mm]
    # of a single slice the distance to a neighbour says less than how thick it is
    for stated in stated_mm if len(slices) > 1 else reversed(stated_mm):
        if stated:
            return stated
    notes.append("The files give no slice distance; 1 mm is assumed.")
    return 1.0


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
