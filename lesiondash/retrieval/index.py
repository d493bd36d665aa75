"""Exact search by cosine similarity among the lesions of a collection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.records import SCOPES, Hit, SearchScope

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("lesion_id", "patient_id", "type")
ROUNDING = 4
"""Slack of the float32 pass, in units of float32's eps times √d: more than twice its largest error seen."""


class Index:
    """Vectors and the lesions they belong to, row by row.

    vectors: (n, d), finite and non-zero; kept as float32 of unit norm. lesions: a table of n rows with the columns
    lesion_id (unique), patient_id and type; others are kept. Raises `SearchError` for anything else.

    >>> table = {"lesion_id": ["a", "b"], "patient_id": ["1", "2"], "type": ["lung", "liver"]}
    >>> [hit.lesion_id for hit in Index([[1, 0], [0, 1]], table).search([0.1, 1], k=1)]
    ['b']
    """

    def __init__(self, vectors: npt.ArrayLike, lesions: pd.DataFrame | Mapping[str, Sequence[Any]]) -> None:
        self.vectors = _unit_rows(vectors)
        self.lesions = _checked_table(lesions, len(self.vectors))
        self._ids, self._patients, self._types = (np.array(self.lesions[name], dtype=object) for name in COLUMNS)
        self._row_of: dict[Any, int] = {lesion_id: row for row, lesion_id in enumerate(self._ids)}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return int(self.vectors.shape[1])

    def search(
        self,
        vector: npt.ArrayLike,
        k: int = 9,
        scope: SearchScope = "all",
        query_id: str | None = None,
        patient_id: str | None = None,
        exclude: Collection[str] = (),
    ) -> list[Hit]:
        """Return the k most similar lesions of a scope, best first; fewer where the scope holds fewer.

        vector: (d,). scope "same" or "cross" keeps the query's own patient or all others, known from patient_id or
        from query_id, a lesion of the index, which is itself never returned. exclude: further lesion ids to leave
        out. Similarity is the cosine of the float32 vectors, in float64; equal ones keep the order of the rows.
        Raises `SearchError` for a vector, k, scope or query_id that does not fit.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise SearchError(f"k is {k!r}; ask for at least 1 lesion.")
        query = self._unit_query(vector)
        rows = self.candidates(scope, query_id, patient_id, exclude)
        rows = self._first_pass(query, rows, int(k))
        scores = exact_cosines(self.vectors[rows], query)
        order = np.argsort(-scores, kind="stable")[:k]
        return [
            Hit(
                rank=rank,
                row=int(rows[place]),
                lesion_id=self._ids[rows[place]],
                patient_id=self._patients[rows[place]],
                type=self._types[rows[place]],
                similarity=float(scores[place]),
            )
            for rank, place in enumerate(order, start=1)
        ]

    def candidates(
        self,
        scope: SearchScope = "all",
        query_id: str | None = None,
        patient_id: str | None = None,
        exclude: Collection[str] = (),
    ) -> npt.NDArray[np.intp]:
        """Return the rows, ascending, among which a query is answered; arguments and errors as for `search`."""
        if scope not in SCOPES:
            raise SearchError(f"The scope is {scope!r}; choose one of {', '.join(SCOPES)}.")
        keep = np.ones(len(self), dtype=bool)
        if query_id is not None:
            row = self._row_of.get(query_id)
            if row is None:
                raise SearchError(f"The lesion {query_id!r} is not in this index; search by its vector alone.")
            own = self._patients[row]
            if patient_id is not None and patient_id != own:
                raise SearchError(f"The lesion {query_id!r} belongs to another patient than the one given.")
            patient_id = own
            keep[row] = False
        if scope == "same":
            if patient_id is None:
                raise SearchError(
                    "The query's patient is not known, so there are no lesions of the same patient; "
                    "search all patients instead."
                )
            keep &= self._patients == patient_id
        elif scope == "cross" and patient_id is not None:
            keep &= self._patients != patient_id
        left_out = [row for row in map(self._row_of.get, _as_ids(exclude)) if row is not None]
        keep[left_out] = False
        return np.flatnonzero(keep)

    def similarities(self, vector: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the cosine of every row with a vector (d,), as float32 (n,)."""
        scores: npt.NDArray[np.float32] = self.vectors @ self._unit_query(vector).astype(np.float32)
        return scores

    def _first_pass(self, query: npt.NDArray[np.float64], rows: npt.NDArray[np.intp], k: int) -> npt.NDArray[np.intp]:
        """Keep the rows that can be among the best k once float32's rounding is allowed for, in row order."""
        if len(rows) <= k:
            return rows
        scores = (self.vectors @ query.astype(np.float32))[rows]
        slack = ROUNDING * np.finfo(np.float32).eps * max(1.0, np.sqrt(self.dimension))
        threshold = np.partition(scores, -k)[-k] - 2 * slack
        return np.asarray(rows[scores >= threshold])

    def _unit_query(self, vector: npt.ArrayLike) -> npt.NDArray[np.float64]:
        try:
            query = np.asarray(vector, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise SearchError("The query is not a vector of numbers.") from error
        if query.shape != (self.dimension,):
            raise SearchError(
                f"The query has shape {query.shape}, but the index holds vectors of {self.dimension} numbers; "
                "embed it with the encoder of the index."
            )
        return np.asarray(_unit(query[None], "The query")[0])


def exact_cosines(vectors: npt.NDArray[np.float32], query: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return float64 products, (n,), that depend on each row alone: equal rows get equal bits."""
    # A matrix product may sum rows differently by their place in a block; summing each row alone cannot.
    products = vectors.astype(np.float64) * query
    return np.asarray(np.sum(products, axis=1))


def _unit_rows(vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
    try:
        rows = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SearchError("The vectors are not a table of numbers (n, d).") from error
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise SearchError(f"The vectors have shape {rows.shape}; give a table (n, d).")
    unit = _unit(rows, "A vector of the index").astype(np.float32)
    unit.flags.writeable = False
    return unit


def _unit(rows: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    """Return rows (n, d) divided by their norms; safe for any finite size of numbers."""
    if not np.isfinite(rows).all():
        raise SearchError(f"{name} holds NaN or infinity; embed it again.")
    largest = np.abs(rows).max(axis=1, initial=0, keepdims=True)
    if (largest == 0).any():
        raise SearchError(f"{name} is zero, so it has no direction to compare; embed it again.")
    scaled = rows / largest
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True))


def _checked_table(lesions: pd.DataFrame | Mapping[str, Sequence[Any]], count: int) -> dict[str, list[Any]]:
    """Return the table as plain columns: a page that is open should not pay for pandas."""
    table = {str(name): list(column) for name, column in lesions.items()}
    if len({len(column) for column in table.values()}) > 1:
        raise SearchError("The columns of the lesion table have different lengths.")
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise SearchError(f"The lesion table lacks the column {missing[0]!r}; it needs {', '.join(COLUMNS)}.")
    ids = table["lesion_id"]
    if len(ids) != count:
        raise SearchError(f"There are {count} vectors but {len(ids)} lesions; give one vector per lesion.")
    seen = set()
    for lesion_id in ids:
        if lesion_id in seen:
            raise SearchError(f"The lesion_id {lesion_id!r} occurs twice; ids must be unique.")
        seen.add(lesion_id)
    return table


def _as_ids(exclude: Collection[str]) -> Collection[str]:
    if isinstance(exclude, str):
        raise SearchError(f"exclude is the text {exclude!r}; give a list of lesion ids.")
    return exclude
