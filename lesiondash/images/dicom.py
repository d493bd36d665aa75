"""Series from DICOM: files, folders, zips or bytes, sorted along the slice normal, in HU where they are CT."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesiondash.errors import LesionDashError, ScanError
from lesiondash.images.dicom_files import (
    Candidate,
    Found,
    Given,
    Refused,
    find_files,
    is_clutter,
    look_into,
    shown_name,
)
from lesiondash.images.dicom_files import Rejected as Rejected
from lesiondash.images.dicom_series import Sorter
from lesiondash.images.dicom_series import series_uid_hash as series_uid_hash
from lesiondash.images.dicom_slices import quiet, read_slices
from lesiondash.images.dicom_watch import Progress, Unreadable, Watch
from lesiondash.images.dicom_zip import Unpacked, members
from lesiondash.images.limits import Limits
from lesiondash.records import Series

_REASONS_SHOWN = 3
_NOT_OPENED = "cannot be opened; check the name and that you may read it"


class UnreadableFileWarning(UserWarning):
    """Some of the files that were handed over are not part of the result."""


@dataclass(frozen=True, eq=False)
class DicomReading:
    """What was read: the series, largest first, and the files that are not part of them, with reasons."""

    series: tuple[Series, ...]
    rejected: tuple[Rejected, ...]


def load_dicom(
    given: Given | Iterable[Given],
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> DicomReading:
    """Read every series in one or many files, folders (with all they hold), zips (and zips in them), bytes, open files.

    Files are grouped by series and, within it, by orientation, size, pixel spacing and acquisition; slices are sorted
    by their position along the normal. Each `Series` holds hu (z, y, x), int16 where the values are whole and fit,
    else float32: HU after the file's rescale with padding set to −1024, or, of other images than CT, grey values
    (`unit` says which); spacing_mm (z, y, x). What is unusual (gaps, gantry tilt, assumed values) is said in its
    notes. No identifier of a person is kept: see `lesiondash.images.deidentify`.

    One file at a time is open and decoded, straight into the array of its series. progress is told bytes read and
    bytes in all; stop is asked often, and ends the reading with `ScanStopped`. limits default to the environment's.

    A file that cannot be read is listed in `rejected`. Raises `ScanError` when nothing at all could be read.
    """
    many = isinstance(given, Iterable) and not isinstance(given, str | os.PathLike | bytes | bytearray | memoryview)
    handed: list[Given] = list(given) if many and not hasattr(given, "read") else [given]  # type: ignore
    watch = Watch(limits or Limits.of_environment(), progress, stop)
    sorter = Sorter(watch)
    rejected: list[Rejected] = []
    with quiet():
        for place in _find(handed, watch, rejected):
            _read_place(place, watch, sorter, rejected)
        watch.check()
        series = sorter.series()
    if not series:
        raise ScanError(_complaint(handed, rejected))
    return DicomReading(tuple(series), tuple(rejected))


def read_dicom(
    given: Given | Iterable[Given],
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[Series]:
    """Read every series in one or many files, folders, zips, bytes or open files; see `load_dicom`.

    Warns once, with `UnreadableFileWarning`, of files left out. Raises `ScanError` when nothing was read.

    >>> series = read_dicom("scan.zip")[0]              # doctest: +SKIP
    >>> series.hu.shape, series.spacing_mm              # doctest: +SKIP
    ((61, 512, 512), (5.0, 0.7, 0.7))
    """
    reading = load_dicom(given, limits=limits, progress=progress, stop=stop)
    if reading.rejected:
        count = len(reading.rejected)
        files = "1 file was" if count == 1 else f"{count:,} files were"
        warnings.warn(f"{files} not read: {_reasons(reading.rejected)}.", UnreadableFileWarning, stacklevel=2)
    return list(reading.series)


def _find(handed: list[Given], watch: Watch, rejected: list[Rejected]) -> list[list[Found]]:
    """Return the files of each thing that was handed over, so that it is known how much there is to read."""
    places = []
    for number, one in enumerate(handed, start=1):
        found: list[Found] = []
        left_out: list[Rejected] = []
        try:
            for item in find_files(one, number, watch.limits):
                if len(handed) > 1 and not isinstance(one, bytes) and is_clutter(item.name):
                    continue  # a folder that a browser hands over file by file
                (found if isinstance(item, Found) else left_out).append(item)  # type: ignore[arg-type]
        except Refused as reason:
            found, left_out = [], [Rejected(_name_of(one), str(reason))]
        except (OSError, ValueError):  # a name that no disk can hold, a folder that may not be entered
            found, left_out = [], [Rejected(_name_of(one)[:60], _NOT_OPENED)]
        watch.expect(sum(item.size for item in found))
        places.append(found)
        rejected += left_out
    return places


def _name_of(one: Any) -> str:
    return shown_name(Path(one).name) if isinstance(one, str | os.PathLike) else "file"


def _read_place(place: list[Found], watch: Watch, sorter: Sorter, rejected: list[Rejected]) -> None:
    for found in place:
        looked = look_into(found, watch)
        if isinstance(looked, Rejected):
            rejected.append(looked)
            watch.advance(found.size)
        elif isinstance(looked, Candidate):
            _read_candidate(looked, watch, sorter, rejected)
        else:
            with looked:
                _read_zip(found, looked, watch, sorter, rejected)


def _read_zip(found: Found, file: Any, watch: Watch, sorter: Sorter, rejected: list[Rejected]) -> None:
    """Read a zip, whole or not at all."""
    mark, before = sorter.mark(), len(rejected)
    watch.advance(found.size)
    try:
        for member in members(file, watch, Unpacked()):
            if isinstance(member, Rejected):
                rejected.append(member)
            else:
                _read_candidate(member, watch, sorter, rejected)
    except Refused as reason:
        sorter.forget_since(mark)
        del rejected[before:]
        rejected.append(Rejected(found.name, str(reason)))


def _read_candidate(candidate: Candidate, watch: Watch, sorter: Sorter, rejected: list[Rejected]) -> None:
    """Read a file, whole or not at all."""
    mark, watch.current = sorter.mark(), candidate.size
    try:
        with candidate.open() as file:
            for one in read_slices(candidate.name, file, watch):
                sorter.add(one)
    except Unreadable as reason:
        sorter.forget_since(mark)
        rejected.append(Rejected(reason.shown_name or candidate.name, str(reason)))
    except LesionDashError:
        raise
    except OSError:
        sorter.forget_since(mark)
        rejected.append(Rejected(candidate.name, _NOT_OPENED))
    watch.advance(candidate.size)


def _reasons(rejected: Iterable[Rejected]) -> str:
    """Return the first few reasons and a count; equal reasons are said once."""
    names: dict[str, list[str]] = {}
    for item in rejected:
        names.setdefault(item.reason, []).append(item.name)
    parts = [
        f"{files[0]} {reason}" if len(files) == 1 else f"{files[0]} and {len(files) - 1:,} more: each {reason}"
        for reason, files in names.items()
    ]
    shown = ". ".join(parts[:_REASONS_SHOWN])
    left = sum(len(files) for files in list(names.values())[_REASONS_SHOWN:])
    return f"{shown}. And {left:,} more" if left else shown


def _complaint(handed: list[Given], rejected: list[Rejected]) -> str:
    if not handed:
        return "No file was given; choose DICOM files, a folder or a zip."
    if not rejected:
        return "The folder or zip holds no series: it is empty; choose the one with the DICOM files."
    is_folder = len(handed) == 1 and isinstance(handed[0], str | os.PathLike) and os.path.isdir(handed[0])
    if len(handed) == 1 and not is_folder and len(rejected) == 1:
        return f"{_reasons(rejected)}."
    return f"{'The folder holds' if is_folder else 'These files hold'} no series: {_reasons(rejected)}."
