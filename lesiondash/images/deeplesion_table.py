"""The rows of DeepLesion's `DL_info.csv`, each read into numbers or named as a problem."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lesiondash.errors import BoxError, CollectionError
from lesiondash.records import LESION_TYPES, SPLITS, UNLABELLED, Box, Lesion

_COLUMNS = (
    "File_name",
    "Bounding_boxes",
    "Lesion_diameters_Pixel_",
    "Normalized_lesion_location",
    "Coarse_lesion_type",
    "Slice_range",
    "Spacing_mm_px_",
    "Train_Val_Test",
)
_FILE_NAME = re.compile(r"(\d+)_(\d+)_(\d+)_(\d+)\.png")


@dataclass(frozen=True)
class Problem:
    """A row that was left out: its line in the file (the header is 1), the image it names, and why."""

    row: int
    file: str
    reason: str


@dataclass(frozen=True)
class TableRow:
    """One well-formed row; spacing_mm is (z, y, x)."""

    line: int
    file_name: str
    lesion_id: str
    patient_id: str
    study_id: str
    series_id: str
    slice_index: int
    box: Box
    type: str
    split: str
    diameters_mm: tuple[float, float]
    spacing_mm: tuple[float, float, float]
    normalized_location: tuple[float, float, float]
    slice_range: tuple[int, int]

    @property
    def image_name(self) -> str:
        """The file name of the key slice within its series."""
        return f"{self.slice_index:03d}.png"

    def lesion(self, image_path: Path) -> Lesion:
        """Return the row as a `Lesion`."""
        return Lesion(
            lesion_id=self.lesion_id,
            patient_id=self.patient_id,
            study_id=self.study_id,
            series_id=self.series_id,
            slice_index=self.slice_index,
            box=self.box,
            type=self.type,
            split=self.split,
            diameters_mm=self.diameters_mm,
            spacing_mm=self.spacing_mm,
            normalized_location=self.normalized_location,
            slice_range=self.slice_range,
            image_path=image_path,
        )


class _BadRow(Exception):
    """Why a row cannot be used."""


def read_table(path: Path) -> tuple[list[TableRow], list[Problem]]:
    """Read a table in the format of `DL_info.csv`; columns are found by name, further ones are ignored.

    lesion_id is the image's stem and the count of earlier rows of the same image, as in `000001_01_01_109#0`.
    Raises `CollectionError` when the file is no such table or lacks a column.
    """
    rows: list[TableRow] = []
    problems: list[Problem] = []
    seen: Counter[str] = Counter()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            columns = _columns(next(reader, []), path.name)
            for cells in reader:
                if not cells:
                    continue
                name = cells[columns["File_name"]].strip() if columns["File_name"] < len(cells) else ""
                number = seen[name]
                seen[name] += 1
                try:
                    rows.append(_parse(cells, columns, reader.line_num, name, number))
                except _BadRow as error:
                    problems.append(Problem(reader.line_num, name[:60] or "no file name", str(error)))
    except (UnicodeDecodeError, csv.Error):
        raise CollectionError(f"{path.name} is not a text table in UTF-8; fetch DL_info.csv again.") from None
    except OSError:
        raise CollectionError(f"{path.name} cannot be opened; check that you may read it.") from None
    return rows, problems


def _columns(header: list[str], table_name: str) -> dict[str, int]:
    places = {name.strip(): place for place, name in enumerate(header)}
    missing = [name for name in _COLUMNS if name not in places]
    if missing:
        hint = " It looks saved with semicolons; use commas." if len(header) == 1 and ";" in header[0] else ""
        raise CollectionError(
            f"{table_name} lacks the column {', '.join(missing)}; it must have the columns of DeepLesion's "
            f"DL_info.csv.{hint}"
        )
    return {name: places[name] for name in _COLUMNS}


def _parse(cells: list[str], columns: dict[str, int], line: int, name: str, number: int) -> TableRow:
    if len(cells) <= max(columns.values()):
        raise _BadRow(f"the row has only {len(cells)} columns")
    match = _FILE_NAME.fullmatch(name)
    if not match:
        raise _BadRow("the file name is not like 000001_01_01_109.png")
    cell = {column: cells[place] for column, place in columns.items()}
    patient, study, series = (int(part) for part in match.groups()[:3])
    study_id = f"{patient:06d}_{study:02d}"
    spacing_x, spacing_y, spacing_z = _numbers(cell, "Spacing_mm_px_", 3)
    long_px, short_px = _numbers(cell, "Lesion_diameters_Pixel_", 2)
    if min(spacing_x, spacing_y, spacing_z) <= 0 or min(long_px, short_px) < 0:
        raise _BadRow("Spacing_mm_px_ or Lesion_diameters_Pixel_ is not positive")
    location_x, location_y, location_z = _numbers(cell, "Normalized_lesion_location", 3)
    first, last = _numbers(cell, "Slice_range", 2)
    return TableRow(
        line=line,
        file_name=name,
        lesion_id=f"{name.removesuffix('.png')}#{number}",
        patient_id=f"{patient:06d}",
        study_id=study_id,
        series_id=f"{study_id}_{series:02d}",
        slice_index=int(match[4]),
        box=_box(cell),
        type=_type(cell),
        split=SPLITS[_code(cell, "Train_Val_Test", range(1, len(SPLITS) + 1)) - 1],
        diameters_mm=(long_px * spacing_x, short_px * spacing_x),
        spacing_mm=(spacing_z, spacing_y, spacing_x),
        normalized_location=(location_x, location_y, location_z),
        slice_range=(int(first), int(last)),
    )


def _numbers(cell: dict[str, str], column: str, count: int) -> list[float]:
    parts = cell[column].split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != count or not math.isfinite(sum(values)):
        raise _BadRow(f"{column} is “{cell[column][:60]}”, not {count} numbers")
    return values


def _box(cell: dict[str, str]) -> Box:
    x0, y0, x1, y1 = _numbers(cell, "Bounding_boxes", 4)
    try:
        return Box(x0, y0, x1, y1)
    except BoxError:
        raise _BadRow(f"the box {x0:g},{y0:g},{x1:g},{y1:g} has no area") from None


def _code(cell: dict[str, str], column: str, allowed: range) -> int:
    try:
        value = float(cell[column])
    except ValueError:
        value = math.nan
    if value not in allowed:
        raise _BadRow(f"{column} is “{cell[column][:20]}”, not {allowed[0]} to {allowed[-1]}")
    return int(value)


def _type(cell: dict[str, str]) -> str:
    if cell["Coarse_lesion_type"].strip() in ("-1", "-1.0"):
        return UNLABELLED
    return LESION_TYPES[_code(cell, "Coarse_lesion_type", range(1, len(LESION_TYPES) + 1)) - 1]
