"""The same index in a Milvus database: a file of its own here, a cluster by its address elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.records import SCOPES, Hit, SearchScope
from lesiondash.retrieval.index import NINE, as_ids, check_encoder, check_k, check_rows
from lesiondash.retrieval.table import LesionTable, Names, Where, checked_where
from lesiondash.retrieval.vectors import exact_cosines, float32_slack, unit_query, unit_rows

if TYPE_CHECKING:
    import pandas as pd

    Lesions = pd.DataFrame | Mapping[str, Sequence[Any]]

SPARE = 16
"""How many more than k are asked for; where float32 cannot tell that they are enough, more are."""
MOST = 16_384
"""Milvus returns no more at once."""
ROWS_A_CALL = 1000
LONGEST_TEXT = 1024
SEEN_AT_ONCE: dict[str, Any] = {"consistency_level": "Strong"}
"""A cluster answers from what its nodes know already, unless it is told to wait for what was written before."""
ENCODER = "lesiondash_encoder"
SHOWN = ("lesion_id", "patient_id", "type")


class MilvusIndex:
    """Searches, adds and removes as `Index` does, with the same results; needs the extra `milvus`.

    uri: the path of a file ending in .db, served by milvus-lite in this process, or a cluster's address such as
    http://host:19530, with its token where it wants one. name: of the collection in there, which has to exist; make it
    with `create`. A hit's row is −1: a database has no rows. Raises `SearchError` where it cannot be reached or found.
    """

    def __init__(self, uri: str, name: str = "lesions", *, token: str = "", encoder: str | None = None) -> None:
        self.name, self._client = name, _client(uri, token)
        with _told():
            if not self._client.has_collection(name):
                raise SearchError(f"There is no collection {name!r} in this database; make it with create.")
            about = self._client.describe_collection(name)
        self._texts = {field["name"] for field in about["fields"] if "max_length" in field["params"]}
        self._columns = [field["name"] for field in about["fields"] if field["name"] != "vector"]
        self.dimension = int(next(f["params"]["dim"] for f in about["fields"] if f["name"] == "vector"))
        self.encoder = str(about.get("properties", {}).get(ENCODER, ""))
        check_encoder(self.encoder, encoder)

    @classmethod
    def create(
        cls,
        uri: str,
        vectors: npt.ArrayLike,
        lesions: Lesions,
        name: str = "lesions",
        *,
        token: str = "",
        encoder: str = "",
    ) -> MilvusIndex:
        """Make a collection of lesions; arguments and errors as of `Index`, and where the name is taken.

        What fails on the way leaves no collection.
        """
        unit, table = _checked(vectors, lesions)
        client = _client(uri, token)
        with _told():
            if client.has_collection(name):
                raise SearchError(f"The database has a collection {name!r} already; open it, or take another name.")
            schema, plan = _schema(client, table, unit.shape[1]), client.prepare_index_params()
            plan.add_index("vector", index_type="FLAT", metric_type="IP")  # every vector is compared: exact
        try:
            with _told():
                client.create_collection(
                    name, schema=schema, index_params=plan, properties={ENCODER: encoder}, **SEEN_AT_ONCE
                )
            index = cls(uri, name, token=token)
            index._insert(unit, table)
        except BaseException:
            with suppress(SearchError), _told():  # what went wrong first is what is told
                client.drop_collection(name)
            raise
        return index

    def __len__(self) -> int:
        """Return the number of lesions."""
        return int(self._query("", ["count(*)"])[0]["count(*)"])

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
        """Return the k most similar lesions of a scope, best first; all as of `Index.search`.

        Raises `SearchError` also where Milvus returns too few at once to tell which are the k most similar.
        """
        count = len(self)
        k = check_k(min(NINE, max(1, count)) if k is None else k, count)
        check_encoder(self.encoder, encoder)
        query = unit_query(vector, self.dimension)
        asked = self._expression(scope, query_id, patient_id, exclude, where)
        wanted = k + SPARE
        while True:
            limit = min(wanted, count, MOST)
            with _told():
                found = self._client.search(
                    self.name,
                    [query.astype(np.float32).tolist()],
                    limit=limit,
                    filter=asked,
                    output_fields=[*SHOWN, "vector"],
                    **SEEN_AT_ONCE,
                )[0]
            scores = [entry["distance"] for entry in found]
            clear = len(scores) > k and scores[-1] < scores[k - 1] - 2 * float32_slack(self.dimension)
            if clear or len(found) < limit or limit == count:
                break
            if limit == MOST:
                raise SearchError(
                    f"Milvus returns at most {MOST} lesions at once, too few to tell which {k} are the most similar; "
                    "ask for fewer, or restrict the search."
                )
            wanted *= 4
        if not found:
            raise SearchError("No lesion is left to search among; widen the scope or the filters.")
        return _hits([entry["entity"] for entry in found], query, k)

    def add(self, vectors: npt.ArrayLike, lesions: Lesions, *, encoder: str | None = None) -> None:
        """Put lesions in; arguments and errors as of `Index.add`. Where the database fails, it takes them out again."""
        check_encoder(self.encoder, encoder)
        unit, table = _checked(vectors, lesions)
        if len(unit) and unit.shape[1] != self.dimension:
            raise SearchError(f"The new vectors have {unit.shape[1]} numbers, those of the index {self.dimension}.")
        if set(table.columns) != set(self._columns):
            raise SearchError(
                f"The new lesions have the columns {', '.join(table.columns)}, the index {', '.join(self._columns)}."
            )
        twice = self._known(table.ids.values)
        if twice:
            raise SearchError(f"The lesion_id {twice[0]!r} occurs twice; ids must be unique.")
        self._insert(unit, table)

    def remove(self, ids: Collection[str]) -> None:
        """Take lesions out; raises `SearchError` for an id that is not there, and then takes out none."""
        wanted = list(as_ids(ids))
        self._check_known(wanted)
        self._delete(wanted)

    def update(self, vectors: npt.ArrayLike, ids: Sequence[str], *, encoder: str | None = None) -> None:
        """Give lesions new vectors (m, d), one for each id; raises `SearchError` as `add` and `remove`.

        Where the database fails, they get their old ones back.
        """
        check_encoder(self.encoder, encoder)
        unit, wanted = unit_rows(vectors), list(as_ids(ids))
        self._check_known(wanted)
        if unit.shape != (len(wanted), self.dimension):
            raise SearchError(f"The vectors have shape {unit.shape}; give {len(wanted)} of {self.dimension} numbers.")
        if len(set(wanted)) < len(wanted):
            raise SearchError("A lesion_id occurs twice; give each lesion one new vector.")
        before = self._rows(wanted, [*self._columns, "vector"])
        after = [{**row, "vector": vector.tolist()} for row, vector in zip(before, unit, strict=True)]
        self._written(after, self._client.upsert, lambda: self._in_calls(before, self._client.upsert))

    def close(self) -> None:
        """Let the database go."""
        self._client.close()

    def _insert(self, unit: npt.NDArray[np.float32], table: LesionTable) -> None:
        columns = table.lists()
        rows = [
            {**{name: values[row] for name, values in columns.items()}, "vector": unit[row].tolist()}
            for row in range(len(unit))
        ]
        self._written(rows, self._client.insert, lambda: self._delete(columns["lesion_id"]))

    def _written(self, rows: Sequence[Any], call: Callable[..., Any], undo: Callable[[], None]) -> None:
        """Write rows by several calls: all of them, or none as far as the database still obeys."""
        try:
            self._in_calls(rows, call)
        except BaseException:
            with suppress(SearchError):  # what went wrong first is what is told
                undo()
            raise

    def _in_calls(self, rows: Sequence[Any], call: Callable[..., Any]) -> None:
        for part in _parts(rows):
            with _told():
                call(self.name, part)

    def _delete(self, ids: Sequence[str]) -> None:
        # By a filter of ours: what Milvus makes of ids takes a quotation mark in one for its end.
        self._in_calls(ids, lambda name, part: self._client.delete(name, filter=_among("lesion_id", part)))

    def _query(self, asked: str, fields: Sequence[str]) -> list[dict[str, Any]]:
        with _told():
            return list(self._client.query(self.name, filter=asked, output_fields=list(fields), **SEEN_AT_ONCE))

    def _rows(self, ids: Sequence[str], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Return some fields of those of the ids that are there, in their order."""
        found = {
            row["lesion_id"]: row for part in _parts(ids) for row in self._query(_among("lesion_id", part), fields)
        }
        return [found[each] for each in ids if each in found]

    def _known(self, ids: Sequence[str]) -> list[str]:
        """Return those of the ids that are there."""
        return [row["lesion_id"] for row in self._rows(ids, ["lesion_id"])]

    def _check_known(self, ids: Sequence[str]) -> None:
        known = set(self._known(ids))
        for lesion_id in ids:
            if lesion_id not in known:
                raise SearchError(f"The lesion {lesion_id!r} is not in this index.")

    def _expression(
        self,
        scope: SearchScope,
        query_id: str | None,
        patient_id: str | None,
        exclude: Collection[str],
        where: Where | None,
    ) -> str:
        """Return the filter that Milvus is given."""
        if scope not in SCOPES:
            raise SearchError(f"The scope is {scope!r}; choose one of {', '.join(SCOPES)}.")
        parts = self._restriction(checked_where(where))
        if query_id is not None:
            own = self._rows([query_id], ["lesion_id", "patient_id"])
            if not own:
                raise SearchError(f"The lesion {query_id!r} is not in this index; search by its vector alone.")
            if patient_id is not None and patient_id != own[0]["patient_id"]:
                raise SearchError(f"The lesion {query_id!r} belongs to another patient than the one given.")
            patient_id = own[0]["patient_id"]
        out = [*as_ids(exclude), *([] if query_id is None else [query_id])]
        if out:
            parts.append(_among("lesion_id", out, negated=True))
        if scope == "same":
            if patient_id is None:
                raise SearchError(
                    "The query's patient is not known, so there are no lesions of the same patient; "
                    "search all patients instead."
                )
            parts.append(_among("patient_id", [patient_id]))
        elif scope == "cross" and patient_id is not None:
            parts.append(_among("patient_id", [patient_id], negated=True))
        return " and ".join(parts)

    def _restriction(self, where: Where) -> list[str]:
        if where.rows is not None:
            raise SearchError("A Milvus database has no rows; restrict the search by ids.")
        named = {
            "patient_id": where.patients,
            "study_id": where.studies,
            "type": where.types,
            "split": where.splits,
            "lesion_id": where.ids,
        }
        parts = []
        for column, wanted in named.items():
            if wanted is None:
                continue
            if column not in self._texts:
                raise SearchError(f"This index does not know the column {column!r}; it has {', '.join(self._columns)}.")
            parts.append(_among(column, wanted))
        if where.size_mm is not None:
            if "size_mm" not in self._columns:
                raise SearchError("This index does not know the sizes of its lesions; make it anew with size_mm.")
            low, high = where.size_mm
            parts.append(f"size_mm >= {float(low)!r}")
            if np.isfinite(high):
                parts.append(f"size_mm <= {float(high)!r}")
        for column, out in (("patient_id", where.not_patients), ("lesion_id", where.not_ids)):
            if len(out):
                parts.append(_among(column, out, negated=True))
        return parts


def _hits(found: Sequence[Mapping[str, Any]], query: npt.NDArray[np.float64], k: int) -> list[Hit]:
    """Rank what Milvus found by float64 cosines, equal ones by id."""
    exact = exact_cosines(np.array([entry["vector"] for entry in found], np.float32), query)
    order = sorted(range(len(found)), key=lambda place: (-exact[place], found[place]["lesion_id"]))
    return [
        Hit(
            rank=rank,
            row=-1,
            lesion_id=found[place]["lesion_id"],
            patient_id=found[place]["patient_id"],
            type=found[place]["type"],
            similarity=float(exact[place]),
        )
        for rank, place in enumerate(order[:k], start=1)
    ]


def _among(column: str, wanted: Collection[str], *, negated: bool = False) -> str:
    """Return a filter on a column of text, written so that no name can say more than its name."""
    try:
        names = ", ".join(f'"{name.translate(_ESCAPED)}"' for name in wanted)
    except AttributeError as error:
        raise SearchError("A list of names holds one that is no text; give names as the index has them.") from error
    return f"{column} {'not in' if negated else 'in'} [{names}]"


_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})  # other characters stand as they are


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + ROWS_A_CALL] for start in range(0, len(items), ROWS_A_CALL))


def _checked(vectors: npt.ArrayLike, lesions: Lesions) -> tuple[npt.NDArray[np.float32], LesionTable]:
    unit, table = unit_rows(vectors), LesionTable.of(lesions)
    check_rows(unit, table)
    return unit, table


def _schema(client: Any, table: LesionTable, dimension: int) -> Any:
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    for column, values in table.columns.items():
        if isinstance(values, Names):
            schema.add_field(column, DataType.VARCHAR, max_length=LONGEST_TEXT, is_primary=column == "lesion_id")
        else:
            schema.add_field(column, DataType.DOUBLE)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=int(dimension))
    return schema


def _client(uri: str, token: str) -> Any:
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise SearchError("Milvus needs the extra: pip install 'lesiondash[milvus]'.") from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # what goes wrong is said once, by us
    with _told():
        return MilvusClient(uri, token=token)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what Milvus raises into one sentence."""
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, UnicodeError) as error:  # the latter for half a character, which no database takes
        said = str(getattr(error, "message", error)).splitlines()[0]
        raise SearchError(f"The Milvus database did not answer as asked ({said}).") from error
