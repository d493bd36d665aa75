"""Decoded slices put together into series: grouped, sorted along the normal, with what is unusual said."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import ScanError
from lesiondash.images.dicom_geometry import geometry_notes, in_order, slice_distance
from lesiondash.images.dicom_passes import split_passes
from lesiondash.images.dicom_slices import Slice
from lesiondash.images.dicom_stack import Stack
from lesiondash.images.dicom_watch import Watch
from lesiondash.images.limits import raise_it
from lesiondash.records import HeaderItem, Series, Source

_COSINE_TOLERANCE = 1e-3
_SPACING_TOLERANCE_MM = 1e-3
_NOTHING = np.empty((0, 0), np.int16)
NO_PIXEL_SPACING = "The files give no pixel spacing; 1 mm is assumed, so do not trust measures in mm."
"""The note of a series whose measures in mm mean nothing."""


def series_uid_hash(series_instance_uid: str) -> str:
    """Return the `Series.uid` of a SeriesInstanceUID: 16 hexadecimal digits of its SHA-256.

    A series that had to be split keeps this uid for its largest part.
    """
    return hashlib.sha256(series_instance_uid.encode()).hexdigest()[:16]


class Group:
    """The slices of one series with one orientation, size and pixel spacing, and their values in one stack."""

    def __init__(self, first: Slice) -> None:
        self.shape, self.first = first.values.shape, replace(first, values=_NOTHING)
        self.slices: list[Slice] = []
        self.stack = Stack()
        self.copies = 0
        self._rows: dict[str, list[int]] = {}

    def fits(self, one: Slice) -> bool:
        """Whether a slice belongs to this group."""
        first = self.first
        if self.shape != one.values.shape or (first.position_mm is None) != (one.position_mm is None):
            return False
        if (first.unit, first.facts.modality) != (one.unit, one.facts.modality):
            return False
        return _close(first.orientation, one.orientation, _COSINE_TOLERANCE) and _close(
            first.pixel_spacing_mm, one.pixel_spacing_mm, _SPACING_TOLERANCE_MM
        )

    def add(self, one: Slice) -> bool:
        """Keep a slice unless it was handed over before: the same image by name and by pixels."""
        same = self._rows.setdefault(one.key, [])
        if any(np.array_equal(one.values, self.stack[row]) for row in same):
            self.copies += 1
            return False
        same.append(self.stack.count)
        self.stack.append(one.values)
        self.slices.append(replace(one, values=_NOTHING))
        return True

    def undo(self) -> None:
        """Drop the last slice."""
        self._rows[self.slices.pop().key].pop()
        self.stack.count -= 1


class Sorter:
    """Takes slices as they are decoded and keeps them by series and group; `series` puts them together."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self._count = watch, 0
        self._groups: dict[str, list[Group]] = {}
        self._journal: list[Group] = []

    def add(self, one: Slice) -> None:
        """Take one slice; raises `ScanError` past the limits."""
        groups = self._groups.setdefault(one.series_instance_uid, [])
        group = next((group for group in groups if group.fits(one)), None)
        if group is None:
            self._count += 1
            most = self._watch.limits.max_series
            if self._count > most:
                raise ScanError(f"These files hold more than {most:,} series, {raise_it('max_series')}.")
            group = Group(one)
            groups.append(group)
        if group.add(one):
            self._watch.decoded(one.values.nbytes)
            self._journal.append(group)

    def mark(self) -> int:
        """Return a place to which `forget_since` can go back."""
        return len(self._journal)

    def forget_since(self, mark: int) -> None:
        """Drop what was added since a mark: of a file that turned out to be unreadable further on."""
        while len(self._journal) > mark:
            self._journal.pop().undo()

    def series(self) -> list[Series]:
        """Return the series, most slices first; the sorter is empty afterwards."""
        built = []
        for uid, groups in self._groups.items():
            parts = [part for group in groups if group.slices for part in _parts(group)]
            # an order that does not depend on the order of files, so that a part keeps its uid
            parts.sort(key=lambda part: (-len(part.slices), part.hu.shape, str(part.slices[0].orientation), part.turn))
            built += [_build(uid, part, number, len(parts)) for number, part in enumerate(parts)]
        self._groups, self._journal = {}, []
        return sorted(built, key=lambda one: -len(one))


@dataclass(frozen=True, eq=False)
class _Part:
    """The slices that make one series, in order, with their values."""

    slices: list[Slice]
    hu: npt.NDArray[Any]
    along_mm: npt.NDArray[np.float64] | None
    turn: int
    told_apart_by: str | None
    copies: int


def _parts(group: Group) -> list[_Part]:
    """Put a group's slices in order, one pass after the other if there are several; all in the group's own array."""
    passes, told_apart_by = split_passes(group.slices)
    sorted_passes = []
    for numbers in passes:
        order, along_mm = in_order([group.slices[number] for number in numbers])
        sorted_passes.append(([numbers[k] for k in order], along_mm))
    everything = group.stack.take([number for order, _ in sorted_passes for number in order])
    parts, start = [], 0
    for turn, (order, along_mm) in enumerate(sorted_passes):
        slices = [group.slices[number] for number in order]
        hu = everything[start : start + len(order)]
        parts.append(_Part(slices, hu, along_mm, turn, told_apart_by, group.copies))
        start += len(order)
    return parts


def _close(a: tuple[float, ...] | None, b: tuple[float, ...] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def _build(uid: str, part: _Part, number: int, count: int) -> Series:
    slices, first = part.slices, part.slices[0]
    notes = list(dict.fromkeys(note for one in slices for note in one.notes))
    notes += _split_notes(part, number, count)
    notes += geometry_notes(slices, part.along_mm)
    z_mm = slice_distance(slices, part.along_mm, notes)
    along_mm = [k * z_mm for k in range(len(slices))] if part.along_mm is None else part.along_mm.tolist()
    if len({one.rescale for one in slices}) > 1:
        notes.append("Rescale slope or intercept differ between slices; each slice has its own applied.")
    spacing = first.pixel_spacing_mm
    if spacing is None:
        notes.append(NO_PIXEL_SPACING)
        spacing = (1.0, 1.0)
    y_mm, x_mm = spacing
    rate = first.facts.frame_rate_hz if part.along_mm is None and len(slices) > 1 else None
    if rate is not None:
        notes.append(f"These are moments in time, not slices: {len(slices):,} frames at {rate:.3g} per second.")
    return Series(
        uid=_uid(uid, number, part.hu),
        description=_description(part, (z_mm, y_mm, x_mm), rate),
        modality=first.facts.modality,
        hu=part.hu,
        spacing_mm=(z_mm, y_mm, x_mm),
        positions_mm=tuple(along_mm),
        notes=tuple(notes),
        unit=first.unit,
        source=_source(slices),
        header=_header(slices),
        removed=tuple(dict.fromkeys(name for one in slices for name in one.facts.kept.removed)),
        frame_rate_hz=rate,
    )


def _split_notes(part: _Part, number: int, count: int) -> list[str]:
    notes = []
    if count > 1:
        by = f"{part.told_apart_by}, at the same places" if part.told_apart_by else "orientation, size or spacing"
        notes.append(f"The series was split into {count} by {by}; this is part {number + 1}.")
    if part.copies:
        notes.append(f"Copies of the same slice were left out: {part.copies}.")
    return notes


def _description(part: _Part, spacing_mm: tuple[float, float, float], rate: float | None) -> str:
    z_mm, y_mm, x_mm = spacing_mm
    count = len(part.slices)
    if rate is not None:
        return f"{part.slices[0].facts.modality}, {count:,} frames, {rate:.3g} per second, {y_mm:.2f} × {x_mm:.2f} mm"
    slices = "1 slice" if count == 1 else f"{count:,} slices"
    return f"{part.slices[0].facts.modality}, {slices}, {y_mm:.2f} × {x_mm:.2f} × {round(z_mm, 2):g} mm"


def _uid(series_instance_uid: str, number: int, hu: npt.NDArray[np.generic]) -> str:
    """Hash what names the series; one without a name is told apart by its pixels."""
    if not series_instance_uid:
        return hashlib.sha256(np.ascontiguousarray(hu).data).hexdigest()[:16]
    return series_uid_hash(series_instance_uid if number == 0 else f"{series_instance_uid}#{number}")


def _source(slices: list[Slice]) -> Source:
    facts = slices[0].facts
    origins = [one.position_mm for one in slices]
    return Source(
        study_uid=facts.study_uid,
        series_uid=facts.series_uid,
        frame_of_reference_uid=facts.frame_of_reference_uid,
        sop_class_uid=facts.sop_class_uid,
        sop_instance_uids=tuple(one.facts.sop_instance_uid for one in slices),
        frame_numbers=tuple(one.frame_number for one in slices),
        orientation=slices[0].orientation,
        origins_mm=None if any(origin is None for origin in origins) else tuple(origins),  # type: ignore[arg-type]
    )


def _header(slices: list[Slice]) -> tuple[HeaderItem, ...]:
    """Return the headers of a series as one: a value that differs between files is given from first to last."""
    files = list({id(one.facts): one.facts.kept.items for one in slices}.values())
    alike: dict[tuple[str, str], list[HeaderItem]] = {}
    for items in files:
        for item in items:
            alike.setdefault((item.tag, item.name), []).append(item)
    merged = []
    for _, items_of_tag in sorted(alike.items()):
        values = list(dict.fromkeys(item.value for item in items_of_tag))
        first = items_of_tag[0]
        if len(values) > 1:
            first = replace(first, value=f"{items_of_tag[0].value} … {items_of_tag[-1].value} ({len(values):,} values)")
        merged.append(first)
    return tuple(merged)
