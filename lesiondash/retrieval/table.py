"""Which lesion each row of an index is, and which rows a search may look at."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("lesion_id", "patient_id", "type")
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Where:
    """What a search is restricted to; everything that is given has to hold, None allows all.

    patients, studies, types, splits, ids: the lesions allowed, by the columns patient_id, study_id, type, split and
    lesion_id; names that the index does not know match nothing. not_patients, not_ids: lesions left out. size_mm:
    (smallest, largest), both ends included, of the column size_mm.

    >>> Where(types=["lung", "liver"], size_mm=(5, 30)).size_mm
    (5, 30)
    """

    patients: Collection[str] | None = None
    studies: Collection[str] | None = None
    types: Collection[str] | None = None
    splits: Collection[str] | None = None
    ids: Collection[str] | None = None
    not_patients: Collection[str] = ()
    not_ids: Collection[str] = ()
    size_mm: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(getattr(self, field.name), str):
                raise SearchError(f"{field.name} is the text {getattr(self, field.name)!r}; give a list of names.")
        if self.size_mm is not None:
            low, high = self.size_mm
            if not (0 <= low <= high and not math.isnan(high)):
                raise SearchError(f"size_mm is {self.size_mm}; give the smallest size and a larger one, in mm.")


_NAMED = {"patients": "patient_id", "studies": "study_id", "types": "type", "splits": "split"}


@dataclass(frozen=True, eq=False)
class Names:
    """A column of text: row i is values[codes[i]]. codes: (n,) int32."""

    values: tuple[str, ...]
    codes: npt.NDArray[np.int32]

    @classmethod
    def of(cls, texts: Sequence[Any]) -> Names:
        """Number the texts in the order in which they come."""
        known: dict[str, int] = {}
        codes = np.fromiter((known.setdefault(text, len(known)) for text in texts), np.int32, len(texts))
        return cls(tuple(known), codes)

    @cached_property
    def code_of(self) -> dict[str, int]:
        """The number of each text."""
        return {value: code for code, value in enumerate(self.values)}

    def among(self, wanted: Collection[str]) -> npt.NDArray[np.bool_]:
        """Return whether each row is one of some texts, (n,)."""
        if len(wanted) == 1:
            return np.asarray(self.codes == self.code_of.get(next(iter(wanted)), -1))
        allowed = np.zeros(len(self.values), bool)
        allowed[[code for code in map(self.code_of.get, wanted) if code is not None]] = True
        return np.asarray(allowed[self.codes])

    def texts(self) -> list[str]:
        """Return the column as a list."""
        return [self.values[code] for code in self.codes.tolist()]


Column = Names | npt.NDArray[Any]


class LesionTable:
    """Columns of equal length, texts or numbers; lesion_id (unique), patient_id and type have to be there.

    Raises `SearchError` for a table that is not so.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = dict(columns)
        missing = [name for name in REQUIRED if not isinstance(self.columns.get(name), Names)]
        if missing:
            raise SearchError(f"The lesion table lacks the column {missing[0]!r}; it needs {', '.join(REQUIRED)}.")
        if len({len(_numbers(column)) for column in self.columns.values()}) > 1:
            raise SearchError("The columns of the lesion table have different lengths.")
        if len(self.ids.values) < len(self):
            rows = np.bincount(self.ids.codes)
            twice = self.ids.values[int(np.argmax(rows > 1))]
            raise SearchError(f"The lesion_id {twice!r} occurs twice; ids must be unique.")

    @classmethod
    def of(cls, lesions: pd.DataFrame | Mapping[str, Sequence[Any]]) -> LesionTable:
        """Take a table of pandas, or lists by the name of their column."""
        return cls({str(name): _column(str(name), values) for name, values in lesions.items()})

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids.codes)

    @property
    def ids(self) -> Names:
        """The column lesion_id."""
        return self.names("lesion_id")

    @cached_property
    def id_order(self) -> npt.NDArray[np.int64]:
        """The place of each row's lesion_id among all in alphabetical order, (n,)."""
        place = np.empty(len(self), np.int64)
        place[np.argsort(np.array(self.ids.values, dtype=object), kind="stable")] = np.arange(len(self))
        return place[self.ids.codes]

    @cached_property
    def _row_of_code(self) -> Rows:
        rows = np.empty(len(self), np.intp)
        rows[self.ids.codes] = np.arange(len(self))
        return rows

    def names(self, name: str) -> Names:
        """Return a column of text; raises `SearchError` where there is none of that name."""
        column = self.columns.get(name)
        if not isinstance(column, Names):
            raise SearchError(f"This index does not know the column {name!r}; it has {', '.join(self.columns)}.")
        return column

    def row_of(self, lesion_id: str) -> int | None:
        """Return a lesion's row, None for an unknown one."""
        code = self.ids.code_of.get(lesion_id)
        return None if code is None else int(self._row_of_code[code])

    def rows_of(self, ids: Collection[str]) -> Rows:
        """Return the rows of those of the ids that are known, in their order."""
        known = self.ids.code_of
        codes = np.array([code for code in map(known.get, ids) if code is not None], dtype=np.intp)
        return np.asarray(self._row_of_code[codes])

    def select(self, where: Where | None = None) -> npt.NDArray[np.bool_]:
        """Return which rows a restriction allows, (n,); raises `SearchError` for a column that is not there."""
        where = where or Where()
        keep = np.ones(len(self), bool)
        for name, column in _NAMED.items():
            wanted = getattr(where, name)
            if wanted is not None:
                keep &= self.names(column).among(wanted)
        if where.size_mm is not None:
            sizes = self.columns.get("size_mm")
            if not isinstance(sizes, np.ndarray):
                raise SearchError("This index does not know the sizes of its lesions; make it anew with size_mm.")
            keep &= (sizes >= where.size_mm[0]) & (sizes <= where.size_mm[1])
        if where.ids is not None:
            chosen = np.zeros(len(self), bool)
            chosen[self.rows_of(where.ids)] = True
            keep &= chosen
        if where.not_patients:
            keep &= ~self.names("patient_id").among(where.not_patients)
        if where.not_ids:
            keep[self.rows_of(where.not_ids)] = False
        return keep

    def taken(self, rows: Rows) -> LesionTable:
        """Return the table of some rows, in their order."""
        parts: dict[str, Column] = {}
        for name, column in self.columns.items():
            parts[name] = (
                Names.of([column.values[c] for c in column.codes[rows]])
                if isinstance(column, Names)
                else (column[rows])
            )
        return LesionTable(parts)

    def followed_by(self, other: LesionTable) -> LesionTable:
        """Return this table and another one below it; raises `SearchError` for other columns or ids that repeat."""
        if set(self.columns) != set(other.columns):
            raise SearchError(
                f"The new lesions have the columns {', '.join(other.columns)}, the index {', '.join(self.columns)}."
            )
        parts: dict[str, Column] = {}
        for name, column in self.columns.items():
            below = other.columns[name]
            if isinstance(column, Names) and isinstance(below, Names):
                parts[name] = Names.of([*column.texts(), *below.texts()])
            elif isinstance(column, np.ndarray) and isinstance(below, np.ndarray):
                parts[name] = np.concatenate([column, below])
            else:
                raise SearchError(f"The column {name!r} holds texts in one of the tables and numbers in the other.")
        return LesionTable(parts)

    def lists(self) -> dict[str, list[Any]]:
        """Return the columns as plain lists."""
        return {
            name: column.texts() if isinstance(column, Names) else column.tolist()
            for name, column in self.columns.items()
        }


def _numbers(column: Column) -> npt.NDArray[Any]:
    return column.codes if isinstance(column, Names) else column


def _column(name: str, values: Iterable[Any]) -> Column:
    """Tell a column of numbers from one of texts; raises `SearchError` for one of other things."""
    listed = list(values)
    if name not in REQUIRED and listed and all(isinstance(value, int | float | np.number) for value in listed):
        return np.asarray(listed)
    if not all(isinstance(value, str) for value in listed):
        raise SearchError(f"The column {name!r} holds things that are neither texts nor numbers.")
    return Names.of(listed)
