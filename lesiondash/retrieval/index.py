"""Exact search by cosine similarity among the lesions of a collection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.records import SCOPES, Hit, SearchScope
from lesiondash.retrieval.compiled import kernels
from lesiondash.retrieval.table import LesionTable, Rows, Where, check_names, checked_rows
from lesiondash.retrieval.vectors import exact_cosines, float32_slack, unit_queries, unit_query, unit_rows

if TYPE_CHECKING:
    import pandas as pd

    from lesiondash.retrieval.codes import Codes

    Lesions = pd.DataFrame | Mapping[str, Sequence[Any]]

NINE = 9
CODES_FROM = 8192
"""From so many rows the 8-bit codes are worth their memory; in a smaller index vectors are compared as they are."""
FEW = 256
"""So few candidates are compared as they are also where there are codes."""


@dataclass(frozen=True, eq=False)
class IndexRows:
    """What an index holds at one moment; never changed, so that a search sees one state of it.

    vectors: (n, d) float32 of unit norm; encoder: the fingerprint of what embedded them, "" where nobody said.
    """

    vectors: npt.NDArray[np.float32]
    table: LesionTable
    encoder: str
    stored_codes: Codes | None = None

    @cached_property
    def codes(self) -> Codes:
        """The vectors in 8 bits."""
        from lesiondash.retrieval.codes import Codes

        return Codes.of(self.vectors) if self.stored_codes is None else self.stored_codes


class Index:
    """Vectors and the lesions they belong to, row by row.

    vectors: (n, d), finite and non-zero; kept as float32 of unit norm. lesions: a table of n rows with the columns
    lesion_id (unique), patient_id and type; study_id, split and size_mm can be searched by, others are kept. encoder:
    the fingerprint of the encoder that made the vectors; those of another one are refused from then on. Searches may
    run while another thread adds or removes. Raises `SearchError` for anything else.

    >>> table = {"lesion_id": ["a", "b"], "patient_id": ["1", "2"], "type": ["lung", "liver"]}
    >>> [hit.lesion_id for hit in Index([[1, 0], [0, 1]], table).search([0.1, 1], k=1)]
    ['b']
    """

    def __init__(self, vectors: npt.ArrayLike, lesions: Lesions, *, encoder: str = "") -> None:
        self._state = _checked(unit_rows(vectors), LesionTable.of(lesions), encoder)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._state.vectors)

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """The vectors, (n, d) float32 of unit norm."""
        return self._state.vectors

    @property
    def lesions(self) -> dict[str, list[Any]]:
        """The table, as lists by column."""
        return self._state.table.lists()

    @property
    def encoder(self) -> str:
        """The fingerprint of the encoder of the vectors; "" where it was not said."""
        return self._state.encoder

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return int(self._state.vectors.shape[1])

    def search(
        self,
        vector: npt.ArrayLike,
        k: int | None = None,
        scope: SearchScope = "all",
        query_id: str | None = None,
        patient_id: str | None = None,
        exclude: Collection[str] = (),
        where: Where | None = None,
        encoder: str | None = None,
    ) -> list[Hit]:
        """Return the k most similar lesions of a scope, best first; fewer where the scope holds fewer.

        vector: (d,). k: at most the index's length; None for nine, or what there is. scope "same" or "cross" keeps the
        query's own patient or all others, known from patient_id or from query_id, a lesion of the index, which is
        itself never returned. exclude: further lesion ids to leave out; where: any restriction. encoder: the
        fingerprint of what made the vector, compared where it is given.
        Similarity is the cosine with the float32 vectors, in float64; equal ones are ordered by lesion_id. Raises
        `SearchError` for a vector, k, scope or query_id that does not fit, and where no lesion is left to search.
        """
        state = self._state
        k = check_k(min(NINE, max(1, len(state.vectors))) if k is None else k, len(state.vectors))
        check_encoder(state.encoder, encoder)
        query = unit_query(vector, state.vectors.shape[1])
        rows = _candidates(state, scope, query_id, patient_id, exclude, where)
        if not len(rows):
            raise SearchError("No lesion is left to search among; widen the scope or the filters.")
        return _hits(state.table, *nearest(state, query, rows, k))

    def hits(self, rows: Rows, vector: npt.ArrayLike) -> list[Hit]:
        """Return rows, in their order, as what a search for a vector (d,) would say of them."""
        state = self._state
        query, rows = unit_query(vector, state.vectors.shape[1]), checked_rows(rows, len(state.vectors))
        return _hits(state.table, rows, exact_cosines(state.vectors[rows], query))

    def search_many(
        self, vectors: npt.ArrayLike, k: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Answer many queries at once: rows and similarities (q, k), best first; row −1 where fewer are allowed.

        vectors: (q, d); allowed: (q, n), which rows each query may find, default all. Results are those of `search`.
        Raises `SearchError` for vectors, k or allowed that do not fit.
        """
        from lesiondash.retrieval.many import search_many

        state = self._state
        k = check_k(k, len(state.vectors))
        queries = unit_queries(vectors, state.vectors.shape[1])
        allowed = None if allowed is None else np.asarray(allowed)
        if allowed is not None and (allowed.shape != (len(queries), len(state.vectors)) or allowed.dtype != bool):
            raise SearchError(f"allowed has shape {allowed.shape}; give booleans, one for each query and row.")
        return search_many(state.vectors, state.table.id_order, queries, k, allowed)

    def candidates(
        self,
        scope: SearchScope = "all",
        query_id: str | None = None,
        patient_id: str | None = None,
        exclude: Collection[str] = (),
        where: Where | None = None,
    ) -> Rows:
        """Return the rows, ascending, among which a query is answered; arguments and errors as for `search`."""
        return _candidates(self._state, scope, query_id, patient_id, exclude, where)

    def similarities(self, vector: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the cosine of every row with a vector (d,), as float32 (n,)."""
        vectors = self._state.vectors
        scores: npt.NDArray[np.float32] = vectors @ unit_query(vector, vectors.shape[1]).astype(np.float32)
        return scores

    def add(self, vectors: npt.ArrayLike, lesions: Lesions, *, encoder: str | None = None) -> None:
        """Put lesions below the others; arguments, and errors, as of the index itself. All of them, or none."""
        state, new = self._state, unit_rows(vectors)
        check_encoder(state.encoder, encoder)
        if new.shape[1] != state.vectors.shape[1]:
            raise SearchError(f"The new vectors have {new.shape[1]} numbers, those of the index {self.dimension}.")
        added = _checked(new, LesionTable.of(lesions), state.encoder)
        codes = state.codes.followed_by(new) if "codes" in state.__dict__ else None
        self._state = IndexRows(
            _sealed(np.concatenate([state.vectors, new])), state.table.followed_by(added.table), state.encoder, codes
        )

    def remove(self, ids: Collection[str]) -> None:
        """Take lesions out; raises `SearchError` for an id that is not there, and then takes out none."""
        state = self._state
        keep = np.ones(len(state.vectors), bool)
        keep[[_known_row(state, lesion_id) for lesion_id in as_ids(ids)]] = False
        rows = np.flatnonzero(keep)
        codes = state.codes.taken(rows) if "codes" in state.__dict__ else None
        self._state = IndexRows(_sealed(state.vectors[rows]), state.table.taken(rows), state.encoder, codes)

    def update(self, vectors: npt.ArrayLike, ids: Sequence[str], *, encoder: str | None = None) -> None:
        """Give lesions new vectors (m, d), one for each id; raises `SearchError` as `add` and `remove`."""
        state, new = self._state, unit_rows(vectors)
        check_encoder(state.encoder, encoder)
        rows = [_known_row(state, lesion_id) for lesion_id in as_ids(ids)]
        if new.shape != (len(rows), state.vectors.shape[1]):
            raise SearchError(
                f"There are {len(rows)} lesions of {self.dimension} numbers; the vectors are {new.shape}."
            )
        if len(set(rows)) < len(rows):
            raise SearchError("A lesion_id occurs twice; give each lesion one new vector.")
        changed = state.vectors.copy()
        changed[rows] = new
        self._state = IndexRows(_sealed(changed), state.table, state.encoder)

    def save(self, folder: str | Path) -> None:
        """Keep the index in a folder, whole or not at all; those who read an older state of it are not disturbed."""
        from lesiondash.retrieval.storage import save

        save(self._state, Path(folder), with_codes=len(self) >= CODES_FROM)

    @classmethod
    def load(cls, folder: str | Path, *, encoder: str | None = None, verify: bool = True) -> Index:
        """Open an index that was saved; its vectors stay on disk until they are read.

        encoder: the fingerprint that its vectors must be of. verify: compare every file with its checksum, which reads
        all of it. Raises `SearchError` for a folder without an index, a damaged one, or one of another encoder.
        """
        from lesiondash.retrieval.storage import load

        state = load(Path(folder), verify=verify)
        check_encoder(state.encoder, encoder)
        index = cls.__new__(cls)
        index._state = state
        return index


def nearest(
    state: IndexRows, query: npt.NDArray[np.float64], rows: Rows, k: int
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return the k rows most similar to a unit query, best first, and their cosines; equal ones by lesion_id.

    A quick pass leaves out only rows that cannot be among them: from many by 8-bit codes, where kernels can be loaded,
    from few by float32.
    """
    if len(state.vectors) >= CODES_FROM and len(rows) > FEW and kernels() is not None:
        rows = state.codes.possible(query, rows, k)
    if len(rows) > k:
        vectors = state.vectors if len(rows) == len(state.vectors) else state.vectors[rows]
        scores = vectors @ query.astype(np.float32)
        threshold = np.partition(scores, -k)[-k] - 2 * float32_slack(len(query))
        rows = rows[scores >= threshold]
    exact = exact_cosines(state.vectors[rows], query)
    order = np.argsort(-exact, kind="stable")
    best = order[:k]
    if len(order) > 1 and (np.diff(exact[order[: k + 1]]) == 0).any():
        ids = state.table.ids
        order = np.lexsort((np.array([ids.values[code] for code in ids.codes[rows]], dtype=object), -exact))
        best = order[:k]
    return rows[best], exact[best]


def _hits(table: LesionTable, rows: Rows, scores: npt.NDArray[np.float64]) -> list[Hit]:
    ids, patients, types = (table.names(name) for name in ("lesion_id", "patient_id", "type"))
    return [
        Hit(
            rank=rank,
            row=int(row),
            lesion_id=ids.values[ids.codes[row]],
            patient_id=patients.values[patients.codes[row]],
            type=types.values[types.codes[row]],
            similarity=float(score),
        )
        for rank, (row, score) in enumerate(zip(rows, scores, strict=True), start=1)
    ]


def _candidates(
    state: IndexRows,
    scope: SearchScope,
    query_id: str | None,
    patient_id: str | None,
    exclude: Collection[str],
    where: Where | None,
) -> Rows:
    if scope not in SCOPES:
        raise SearchError(f"The scope is {scope!r}; choose one of {', '.join(SCOPES)}.")
    table, keep = state.table, state.table.select(where)
    patients = table.names("patient_id")
    if query_id is not None:
        row = table.row_of(query_id)
        if row is None:
            raise SearchError(f"The lesion {query_id!r} is not in this index; search by its vector alone.")
        own = patients.values[patients.codes[row]]
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
        keep &= patients.among([patient_id])
    elif scope == "cross" and patient_id is not None:
        keep &= ~patients.among([patient_id])
    keep[table.rows_of(as_ids(exclude))] = False
    return np.flatnonzero(keep)


def _checked(vectors: npt.NDArray[np.float32], table: LesionTable, encoder: str) -> IndexRows:
    check_rows(vectors, table)
    return IndexRows(vectors, table, encoder)


def check_rows(vectors: npt.NDArray[np.float32], table: LesionTable) -> None:
    """Raise `SearchError` unless each lesion has one vector."""
    if len(vectors) != len(table):
        raise SearchError(f"There are {len(vectors)} vectors but {len(table)} lesions; give one vector per lesion.")


def check_k(k: int, rows: int) -> int:
    """Return k; raises `SearchError` for one that an index of so many rows cannot answer."""
    if not rows:
        raise SearchError("The index is empty; add lesions to it first.")
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise SearchError(f"k is {k!r}; ask for at least 1 lesion.")
    if k > rows:
        raise SearchError(f"k is {k}, but the index holds {rows} lesions; ask for fewer.")
    return int(k)


def check_encoder(known: str, other: str | None) -> None:
    """Raise `SearchError` where vectors are said to be of another encoder than the index's; None says nothing."""
    if other is not None and other != known:
        raise SearchError(
            f"These vectors are of the encoder {other or 'that nobody named'}, those of the index of "
            f"{known or 'one that nobody named'}; they cannot be compared. Embed the lesions again."
        )


def _known_row(state: IndexRows, lesion_id: str) -> int:
    row = state.table.row_of(lesion_id)
    if row is None:
        raise SearchError(f"The lesion {lesion_id!r} is not in this index.")
    return row


def as_ids(ids: Collection[str]) -> Collection[str]:
    """Return the ids; raises `SearchError` for what is no collection of texts, such as one text alone."""
    if ids is None:
        raise SearchError("The ids are None; give a list of lesion ids, which may be empty.")
    check_names("ids", ids)
    return ids


def _sealed(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    vectors.flags.writeable = False
    return vectors
