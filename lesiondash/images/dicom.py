"""CT series from DICOM: one file, many, a folder or a zip, sorted along the slice normal, in HU."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lesiondash.errors import ScanError
from lesiondash.images.dicom_files import Rejected as Rejected
from lesiondash.images.dicom_files import ZipRefused, candidates
from lesiondash.images.dicom_series import build_series
from lesiondash.images.dicom_series import series_uid_hash as series_uid_hash
from lesiondash.images.dicom_slices import NotCT, Slice, quiet, read_slices
from lesiondash.records import Series

_REASONS_SHOWN = 3


class UnreadableFileWarning(UserWarning):
    """Some of the files that were handed over are not part of the result."""


@dataclass(frozen=True, eq=False)
class DicomReading:
    """What was read: the series, largest first, and the files that are not part of them, with reasons."""

    series: tuple[Series, ...]
    rejected: tuple[Rejected, ...]


def load_dicom(paths: str | Path | Iterable[str | Path]) -> DicomReading:
    """Read every CT series in one file, many files, folders (with all they hold) or zips.

    Files are grouped by series and, within it, by orientation, size and pixel spacing; slices are sorted by
    their position along the normal. Each `Series` holds hu (z, y, x), int16 where the values are whole and
    fit, else float32, after the file's rescale, with padding set to −1024; spacing_mm (z, y, x). What is
    unusual (gaps, gantry tilt, assumed values) is said in its notes. No identifier of a person is kept.

    A file that cannot be read is listed in `rejected`. Raises `ScanError` when nothing at all could be read.
    """
    if isinstance(paths, (str, Path)):
        paths = [paths]
    given = [Path(path) for path in paths]
    slices: list[Slice] = []
    rejected: list[Rejected] = []
    with quiet():
        for path in given:
            found, left_out = _read_path(path)
            slices += found
            rejected += left_out
        series = build_series(slices)
    if not series:
        raise ScanError(_complaint(given, rejected))
    return DicomReading(tuple(series), tuple(rejected))


def read_dicom(paths: str | Path | Iterable[str | Path]) -> list[Series]:
    """Read every CT series in one file, many files, folders or zips; see `load_dicom`.

    Warns once, with `UnreadableFileWarning`, of files left out. Raises `ScanError` when nothing was read.

    >>> series = read_dicom("scan.zip")[0]              # doctest: +SKIP
    >>> series.hu.shape, series.spacing_mm              # doctest: +SKIP
    ((61, 512, 512), (5.0, 0.7, 0.7))
    """
    reading = load_dicom(paths)
    if reading.rejected:
        count = len(reading.rejected)
        files = "1 file was" if count == 1 else f"{count:,} files were"
        warnings.warn(f"{files} not read: {_reasons(reading.rejected)}.", UnreadableFileWarning, stacklevel=2)
    return list(reading.series)


def _read_path(path: Path) -> tuple[list[Slice], list[Rejected]]:
    slices: list[Slice] = []
    rejected: list[Rejected] = []
    try:
        for candidate in candidates(path):
            if isinstance(candidate, Rejected):
                rejected.append(candidate)
                continue
            try:
                slices += read_slices(candidate)
            except NotCT as reason:
                rejected.append(Rejected(candidate.name, str(reason)))
    except ZipRefused as reason:
        return [], [Rejected(path.name, str(reason))]  # nothing half-loaded stays
    except (OSError, ValueError):  # a name that no disk can hold, a folder that may not be entered
        return [], [Rejected(path.name[:60], "cannot be opened; check the name and that you may read it")]
    return slices, rejected


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


def _complaint(given: list[Path], rejected: list[Rejected]) -> str:
    if not given:
        return "No file was given; choose DICOM files, a folder or a zip."
    if not rejected:
        return "The folder or zip holds no CT series: it is empty; choose the one with the DICOM files."
    if len(given) == 1 and not os.path.isdir(given[0]) and len(rejected) == 1:
        return f"{_reasons(rejected)}."
    place = "The folder holds" if len(given) == 1 and os.path.isdir(given[0]) else "These files hold"
    return f"{place} no CT series: {_reasons(rejected)}."
