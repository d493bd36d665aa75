"""Boxes on scans, listed in a file: what is searched for in one go."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesiondash.errors import BoxError, LesionDashError, SearchError
from lesiondash.records import Box

LONGEST_ROWS = 1_000_000
CORNERS = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class ListedBox:
    """A box on a slice of a scan.

    scan: a path, relative to where the scans are, "" for the only one; slice_number counts from 1 along the normal;
    label: the annotator's own words, carried along.
    """

    scan: str
    slice_number: int
    box: Box
    label: str = ""


def read_box_list(path: Path) -> list[ListedBox]:
    """Read a CSV table or a JSON list of annotations.

    Columns, or keys, are slice, x0, y0, x1, y1 (or box, a list of these four in JSON), and where wanted scan and label;
    others are passed over. Raises `SearchError` naming the file, the row and what is wrong with it; a file is taken
    whole or not at all.
    """
    try:
        return parse_box_list(path.name, path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SearchError(f"There is no file {path.name!r}; give a CSV or JSON file of annotations.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SearchError(f"{path.name} is no CSV table and no JSON list ({type(error).__name__}).") from error


def parse_box_list(name: str, text: str) -> list[ListedBox]:
    """Read the text of a file of annotations, CSV where its name ends so, as `read_box_list` does."""
    rows = _rows(name, text)
    if not rows:
        raise SearchError(f"{name} lists no annotation; give a row for each box.")
    if len(rows) > LONGEST_ROWS:
        raise SearchError(f"{name} lists {len(rows):,} boxes; give {LONGEST_ROWS:,} at most at once.")
    return [_annotation(row, f"{name}, row {number}") for number, row in enumerate(rows, start=1)]


def _rows(name: str, text: str) -> list[Any]:
    try:
        if name.lower().endswith(".csv"):
            return list(csv.DictReader(text.splitlines()))
        found = json.loads(text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise SearchError(f"{name} is no CSV table and no JSON list ({type(error).__name__}).") from error
    if isinstance(found, dict):
        found = found.get("annotations")
    if not isinstance(found, list):
        raise SearchError(f"{name} holds no list of annotations; give [{{…}}, …] or {{“annotations”: […]}}.")
    return found


def _annotation(row: Any, where: str) -> ListedBox:
    if not isinstance(row, Mapping):
        raise SearchError(f"{where}: this is no annotation but {type(row).__name__}.")
    corners = row["box"] if isinstance(row.get("box"), list) else [row.get(name) for name in CORNERS]
    try:
        number, (x0, y0, x1, y1) = float(row["slice"]), map(float, corners)
        box = Box(x0, y0, x1, y1)
    except KeyError:
        raise SearchError(f"{where}: there is no slice; give slice, x0, y0, x1 and y1.") from None
    except BoxError as error:
        raise SearchError(f"{where}: {error}") from error
    except (TypeError, ValueError, OverflowError):
        raise SearchError(f"{where}: slice, x0, y0, x1 and y1 have to be numbers.") from None
    if not number.is_integer() or number < 1:
        raise SearchError(f"{where}: slice {number:g} is none; slices are counted from 1.")
    return ListedBox(str(row.get("scan") or ""), int(number), box, str(row.get("label") or ""))


def path_of_scan(folder: Path, scan: str) -> Path:
    """Return where an annotation's scan lies; raises `LesionDashError` for one outside of the folder, or not there."""
    path = folder / scan if scan else folder
    try:
        within, there = path.resolve().is_relative_to(folder.resolve()), path.exists()
    except (OSError, ValueError, RuntimeError):  # no disk has a name so long, with a zero byte, or of links in a circle
        within, there = True, False
    if not within:
        raise LesionDashError(f"The scan {scan!r} lies outside of {folder.name}; name it by its path in there.")
    if not there:
        raise LesionDashError(f"There is no scan {scan[:200]!r} in {folder.name}.")
    return path
