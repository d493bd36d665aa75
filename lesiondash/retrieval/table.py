"""Which lesion each row of an index is, and which rows a search may look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError

if TYPE_CHECKING:
    import pandas as pd

    from lesiondash.retrieval.lookup import Lookup

REQUIRED = ("lesion_id", "patient_id", "type")
MANY = 2000
"""So many names of a column are looked up all at once; fewer, one by one in a dictionary."""
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Where:
    """What a search is restricted to; everything that is given has to hold, None allows all.

    patients, studies, types, splits, ids: the lesions allowed, by the columns patient_id, study_id, type, split and
    lesion_id; names that the index does not know match nothing. not_patients, not_ids: lesions left out. size_mm:
    (smallest, largest), both ends included, of the column size_mm. rows: lesions allowed by their row, whole numbers,
    or a boolean for each row of the index. A large list of ids is quickest as an array of texts, and costs nothing the
    second time where it is the same tuple or frozenset. Raises `SearchError` for anything else.

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
    rows: npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name not in ("size_mm", "rows"):
                check_names(field.name, getattr(self, field.name))
        if self.size_mm is not None:
            try:
                low, high = (float(limit) for limit in self.size_mm)
                valid = 0 <= low <= high
            except (TypeError, ValueError):
                valid = False
            if not valid:
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

    @cached_property
    def _lookup(self) -> Lookup | None:
        from lesiondash.retrieval.lookup import Lookup

        return Lookup.of(self.values)

    def codes_of(self, wanted: Collection[str]) -> npt.NDArray[np.int64]:
        """Return the numbers of those of some texts that are known, in their order.

        Raises `SearchError` where one is of a kind that cannot even be looked up, such as a list.
        """
        try:
            return self._codes_of(wanted)
        except TypeError as error:
            raise SearchError("A list of names holds one that is no text; give names as the index has them.") from error

    def _codes_of(self, wanted: Collection[str]) -> npt.NDArray[np.int64]:
        if len(wanted) < MANY or len(self.values) < MANY:
            return np.array([code for code in map(self.code_of.get, wanted) if code is not None], np.int64)
        before = self.__dict__.get("_asked_last")
        if before is not None and before[0] is wanted:
            return np.asarray(before[1])
        codes = self._lookup.find(wanted) if self._lookup is not None else None
        if codes is None:
            codes = np.array([self.code_of.get(text, -1) for text in wanted], np.int64)
        codes = codes[codes >= 0]
        if isinstance(wanted, tuple | frozenset):  # nobody can change these, so the same one has the same answer
            self.__dict__["_asked_last"] = (wanted, codes)
        return codes

    def among(self, wanted: Collection[str]) -> npt.NDArray[np.bool_]:
        """Return whether each row is one of some texts, (n,)."""
        if len(wanted) == 1:
            return np.asarray(self.codes == self.code_of.get(next(iter(wanted)), -1))
        allowed = np.zeros(len(self.values), bool)
        allowed[self.codes_of(wanted)] = True
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
        if not hasattr(lesions, "items"):
            raise SearchError(f"The lesions are a {type(lesions).__name__}; give a table, or lists by their column.")
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
        code = self.ids.code_of.get(lesion_id) if isinstance(lesion_id, str) else None
        return None if code is None else int(self._row_of_code[code])

    def rows_of(self, ids: Collection[str]) -> Rows:
        """Return the rows of those of the ids that are known, in their order."""
        return np.asarray(self._row_of_code[self.ids.codes_of(ids)])

    def select(self, where: Where | None = None) -> npt.NDArray[np.bool_]:
        """Return which rows a restriction allows, (n,); raises `SearchError` for a column that is not there."""
        where = checked_where(where)
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
        for chosen in (
            None if where.ids is None else self.rows_of(where.ids),
            None if where.rows is None else checked_rows(where.rows, len(self)),
        ):
            if chosen is not None:
                allowed = np.zeros(len(self), bool)
                allowed[chosen] = True
                keep &= allowed
        if len(where.not_patients):
            keep &= ~self.names("patient_id").among(where.not_patients)
        if len(where.not_ids):
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
            if not len(self) or not len(other):
                parts[name] = below if len(other) else column  # a column of nothing is of either kind
            elif isinstance(column, Names) and isinstance(below, Names):
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


def checked_where(where: Where | None) -> Where:
    """Return the restriction, none for None; raises `SearchError` for what is no `Where`."""
    where = Where() if where is None else where
    if not isinstance(where, Where):
        raise SearchError(f"where is a {type(where).__name__}; give a Where, such as Where(types=['lung']).")
    return where


def check_names(field: str, names: Any) -> None:
    """Raise `SearchError` for what is no collection of texts; of a long one the first is looked at."""
    if names is None:
        return
    if isinstance(names, str | bytes):
        raise SearchError(f"{field} is the text {names!r}; give a list of names.")
    if not isinstance(names, Collection) or (isinstance(names, np.ndarray) and names.ndim != 1):
        raise SearchError(f"{field} is {type(names).__name__}, no list of names; give a list, tuple, set or array.")
    first = next(iter(names), "")
    if not isinstance(first, str):
        raise SearchError(f"{field} holds {first!r}, which is no text; give names as the index has them.")


def checked_rows(rows: npt.ArrayLike, count: int) -> Rows:
    """Return row numbers, also of booleans; raises `SearchError` for those that an index so long has not."""
    try:
        chosen = np.asarray(rows)
    except (TypeError, ValueError, RuntimeError) as error:  # what numpy, or a tensor that still learns, raises
        raise SearchError(f"rows are no list; give row numbers, or {count} booleans.") from error
    if not chosen.size and chosen.ndim == 1:
        return np.empty(0, np.intp)
    if chosen.dtype == bool and chosen.shape == (count,):
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer):
        raise SearchError(f"rows are {chosen.dtype} {chosen.shape}; give row numbers, or {count} booleans.")
    if chosen.min() < 0 or chosen.max() >= count:
        raise SearchError(f"rows reach from {chosen.min()} to {chosen.max()}; the index has rows 0 to {count - 1}.")
    return chosen.astype(np.intp, copy=False)


def _numbers(column: Column) -> npt.NDArray[Any]:
    return column.codes if isinstance(column, Names) else column


def _column(name: str, values: Iterable[Any]) -> Column:
    """Tell a column of numbers from one of texts; raises `SearchError` for one of other things."""
    listed = list(values)
    if name not in REQUIRED and listed and all(isinstance(value, int | float | np.number) for value in listed):
        numbers = np.asarray(listed)
        if numbers.dtype == object:
            raise SearchError(f"The column {name!r} holds numbers beyond 64 bits; keep them as texts.")
        return numbers
    if not all(isinstance(value, str) for value in listed):
        raise SearchError(f"The column {name!r} holds things that are neither texts nor numbers.")
    return Names.of(listed)
