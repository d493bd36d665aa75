"""The DeepLesion collection on disk: `DL_info.csv` and 16-bit PNG slices (Yan et al. 2018)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lesiondash.errors import CollectionError
from lesiondash.images.deeplesion_table import Problem as Problem
from lesiondash.images.deeplesion_table import TableRow, read_table
from lesiondash.records import Lesion, Series

if TYPE_CHECKING:
    import pandas as pd

HU_OFFSET = 32768
"""DeepLesion's PNG files hold HU + 32768 in 16 bits."""
_SERIES_ID = re.compile(r"\d+_\d+_\d+")
_SLICE_FILE = re.compile(r"(\d+)\.png", re.IGNORECASE)
_PROBLEMS_SHOWN = 3


class DeepLesion:
    """A folder with `DL_info.csv` and `Images_png/<series>/<slice>.png`, or flat `<series>_<slice>.png`.

    Strict by default: a row that is malformed or whose image is missing raises `CollectionError`, which
    counts what is usable. With partial=True the usable rows load, and `problems` lists every row left out. A
    folder without the table or the images, or without any usable row, raises `CollectionError` in both cases.

    >>> collection = DeepLesion("DeepLesion", partial=True)          # doctest: +SKIP
    >>> collection.slice_hu("000001_01_01", 109).shape               # doctest: +SKIP
    (512, 512)
    """

    root: Path
    lesions: tuple[Lesion, ...]
    problems: tuple[Problem, ...]

    def __init__(self, root: str | Path, *, partial: bool = False) -> None:
        """Read the table and look for its images; see the class."""
        self.root = Path(root)
        table_path = _find_table(self.root)
        self._images = self.root / "Images_png"
        if not self._images.is_dir():
            raise CollectionError(
                f"The folder “{self.root.name}” holds {table_path.name} but no folder Images_png; put "
                "DeepLesion's slices there, as Images_png/<series>/<slice>.png."
            )
        self._folders, self._flat = _list_images(self._images)
        self._indices: dict[str, tuple[int, ...]] = {}
        rows, malformed = read_table(table_path)
        usable, missing = self._with_images(rows)
        self.problems = tuple(sorted(malformed + missing, key=lambda problem: problem.row))
        self.lesions = tuple(row.lesion(self._image_path(row.series_id, row.image_name)) for row in usable)
        if self.problems and not (partial and self.lesions):
            raise CollectionError(_complaint(table_path.name, self.problems, len(self.lesions)))
        if not self.lesions:
            raise CollectionError(f"{table_path.name} holds no rows; fetch the table again.")

    @property
    def table(self) -> pd.DataFrame:
        """The lesions as a new data frame, in the order of `lesions`; diameters in mm, boxes in pixels."""
        import pandas as pd

        return pd.DataFrame(
            {
                "lesion_id": [lesion.lesion_id for lesion in self.lesions],
                "patient_id": [lesion.patient_id for lesion in self.lesions],
                "study_id": [lesion.study_id for lesion in self.lesions],
                "series_id": [lesion.series_id for lesion in self.lesions],
                "slice_index": [lesion.slice_index for lesion in self.lesions],
                "type": [lesion.type for lesion in self.lesions],
                "split": [lesion.split for lesion in self.lesions],
                "long_mm": [lesion.diameters_mm[0] for lesion in self.lesions],
                "short_mm": [lesion.diameters_mm[1] for lesion in self.lesions],
                "x0": [lesion.box.x0 for lesion in self.lesions],
                "y0": [lesion.box.y0 for lesion in self.lesions],
                "x1": [lesion.box.x1 for lesion in self.lesions],
                "y1": [lesion.box.y1 for lesion in self.lesions],
            }
        )

    def slice_hu(self, series_id: str, slice_index: int) -> npt.NDArray[np.int16]:
        """Read one slice: (y, x) int16 HU, which is the PNG's value − 32768.

        Raises `CollectionError`, naming the file, when it is missing, damaged, or not 16-bit grey.
        """
        if not _SERIES_ID.fullmatch(series_id):
            raise CollectionError(f"“{series_id}” is no DeepLesion series; it looks like 000001_01_01.")
        return _read_png(self._image_path(series_id, f"{slice_index:03d}.png"), self._images)

    def slice_indices(self, series_id: str) -> tuple[int, ...]:
        """Return the slice indices of a series that are on disk, ascending; empty where there are none."""
        if series_id not in self._indices:
            found = (_SLICE_FILE.fullmatch(name) for name in self._names(series_id))
            self._indices[series_id] = tuple(sorted(int(match[1]) for match in found if match))
        return self._indices[series_id]

    def series(self, series_id: str, around: Lesion | None = None) -> Series:
        """Stack the contiguous slices on disk that hold the lesion's key slice (default: the first run).

        Returns a `Series` whose uid is the public series id, hu (z, y, x) int16; positions_mm are slice
        indices × slice interval. Raises `CollectionError` where there are no slices.
        """
        start = around.slice_index if around else None
        run = _run(self.slice_indices(series_id), start)
        if not run:
            what = f"slice {start} of series" if around else "series"
            raise CollectionError(f"Images_png holds no {what} {series_id}; fetch its images.")
        hu = [self.slice_hu(series_id, index) for index in run]
        if len({image.shape for image in hu}) > 1:
            raise CollectionError(f"The slices of {series_id} differ in size; fetch its images again.")
        known = around or next((lesion for lesion in self.lesions if lesion.series_id == series_id), None)
        z, y, x = known.spacing_mm if known else (1.0, 1.0, 1.0)
        notes = () if known else ("The table does not give this series' spacing; 1 mm is assumed.",)
        return Series(
            uid=series_id,
            description=f"CT, {len(run)} slices, {y:.2f} × {x:.2f} × {z:g} mm",
            modality="CT",
            hu=np.stack(hu),
            spacing_mm=(z, y, x),
            positions_mm=tuple(index * z for index in run),
            notes=notes,
        )

    def _with_images(self, rows: Iterable[TableRow]) -> tuple[list[TableRow], list[Problem]]:
        """Part the rows by whether their key slice is on disk, listing each folder once."""
        listed: dict[str, frozenset[str]] = {}
        usable, missing = [], []
        for row in rows:
            if row.series_id not in listed:
                listed[row.series_id] = frozenset(self._names(row.series_id))
            if row.image_name in listed[row.series_id]:
                usable.append(row)
            else:
                reason = f"its image Images_png/{row.series_id}/{row.image_name} is missing"
                missing.append(Problem(row.line, row.file_name, reason))
        return usable, missing

    def _names(self, series_id: str) -> list[str]:
        """File names `<slice>.png` of a series, in either layout."""
        if series_id in self._folders:
            return os.listdir(self._images / series_id)
        return self._flat.get(series_id, [])

    def _image_path(self, series_id: str, name: str) -> Path:
        nested = series_id in self._folders
        return self._images / (f"{series_id}/{name}" if nested else f"{series_id}_{name}")


def _find_table(root: Path) -> Path:
    if not root.is_dir():
        raise CollectionError(f"There is no folder “{root.name}”; give the folder that holds DL_info.csv.")
    if (root / "DL_info.csv").is_file():
        return root / "DL_info.csv"
    tables = sorted(root.glob("DL_info*.csv"))
    if len(tables) == 1:
        return tables[0]
    found = f"{len(tables)} tables DL_info*.csv" if tables else "no DL_info.csv"
    raise CollectionError(
        f"The folder “{root.name}” holds {found}; give the folder of DeepLesion with one DL_info.csv "
        "and the folder Images_png beside it."
    )


def _list_images(images: Path) -> tuple[frozenset[str], dict[str, list[str]]]:
    """Return the series folders, and `<slice>.png` by series for slices that lie flat in Images_png."""
    folders: set[str] = set()
    flat: dict[str, list[str]] = {}
    with os.scandir(images) as entries:
        for entry in entries:
            if entry.is_dir():
                folders.add(entry.name)
            elif entry.name.count("_") == 3:
                series_id, _, name = entry.name.rpartition("_")
                flat.setdefault(series_id, []).append(name)
    return frozenset(folders), flat


def _read_png(path: Path, images: Path) -> npt.NDArray[np.int16]:
    from PIL import Image

    name = path.relative_to(images.parent).as_posix()
    try:
        with Image.open(path) as image:
            mode = image.mode
            pixels = np.asarray(image) if mode.startswith("I") else None
    except FileNotFoundError:
        raise CollectionError(f"{name} is missing; fetch DeepLesion's images of this series.") from None
    except Exception:  # Pillow raises half a dozen kinds for a damaged file
        raise CollectionError(f"{name} is damaged or is no PNG image; fetch it again.") from None
    if pixels is None or pixels.ndim != 2:
        raise CollectionError(
            f"{name} is not a 16-bit grey PNG (its mode is {mode}), so its HU are lost; "
            "fetch DeepLesion's original 16-bit images."
        )
    return (pixels.astype(np.int32) - HU_OFFSET).astype(np.int16)


def _run(indices: tuple[int, ...], start: int | None) -> tuple[int, ...]:
    """Return the run of consecutive indices that holds start (default: the first one)."""
    present = set(indices)
    start = min(present, default=0) if start is None else start
    if start not in present:
        return ()
    low = high = start
    while low - 1 in present:
        low -= 1
    while high + 1 in present:
        high += 1
    return tuple(range(low, high + 1))


def _complaint(table_name: str, problems: tuple[Problem, ...], usable: int) -> str:
    shown = "; ".join(f"line {p.row} ({p.file}): {p.reason}" for p in problems[:_PROBLEMS_SHOWN])
    more = len(problems) - _PROBLEMS_SHOWN
    shown += f"; and {more:,} more" if more > 0 else ""
    total = f"{len(problems) + usable:,}"
    advice = (
        "Fetch what is missing, or pass partial=True to go on with the usable rows."
        if usable
        else "Check that this is DeepLesion's folder and fetch its images."
    )
    return f"{usable:,} of the {total} rows of {table_name} can be used. {shown[0].upper()}{shown[1:]}. {advice}"
