"""The same index in a Milvus database: a file of its own here, a cluster by its address elsewhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.records import SCOPES, Hit, SearchScope
from lesiondash.retrieval.index import NINE, as_ids, check_encoder, check_k
from lesiondash.retrieval.table import LesionTable, Names, Where
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
        """Make a collection of lesions; arguments as of `Index`. Raises `SearchError` where the name is taken."""
        from pymilvus import DataType

        unit, table, client = unit_rows(vectors), LesionTable.of(lesions), _client(uri, token)
        with _told():
            if client.has_collection(name):
                raise SearchError(f"The database has a collection {name!r} already; open it, or take another name.")
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            for column, values in table.columns.items():
                if isinstance(values, Names):
                    schema.add_field(
                        column, DataType.VARCHAR, max_length=LONGEST_TEXT, is_primary=column == "lesion_id"
                    )
                else:
                    schema.add_field(column, DataType.DOUBLE)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=int(unit.shape[1]))
            plan = client.prepare_index_params()
            plan.add_index("vector", index_type="FLAT", metric_type="IP")  # every vector is compared: exact
            client.create_collection(name, schema=schema, index_params=plan, properties={ENCODER: encoder})
        index = cls(uri, name, token=token)
        index.add(unit, lesions)
        return index

    def __len__(self) -> int:
        """Return the number of lesions."""
        with _told():
            found = self._client.query(self.name, filter="", output_fields=["count(*)"])
        return int(found[0]["count(*)"])

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
        """Return the k most similar lesions of a scope, best first; all as of `Index.search`."""
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
                )[0]
            scores = [entry["distance"] for entry in found]
            clear = len(scores) > k and scores[-1] < scores[k - 1] - 2 * float32_slack(self.dimension)
            if clear or len(found) < limit or limit in (count, MOST):
                break
            wanted *= 4
        if not found:
            raise SearchError("No lesion is left to search among; widen the scope or the filters.")
        return _hits([entry["entity"] for entry in found], query, k)

    def add(self, vectors: npt.ArrayLike, lesions: Lesions, *, encoder: str | None = None) -> None:
        """Put lesions in; arguments and errors as of `Index.add`."""
        check_encoder(self.encoder, encoder)
        unit, table = unit_rows(vectors), LesionTable.of(lesions)
        if len(unit) != len(table):
            raise SearchError(f"There are {len(unit)} vectors but {len(table)} lesions; give one vector per lesion.")
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
        with _told():
            self._client.delete(self.name, ids=wanted)

    def update(self, vectors: npt.ArrayLike, ids: Sequence[str], *, encoder: str | None = None) -> None:
        """Give lesions new vectors (m, d), one for each id; raises `SearchError` as `add` and `remove`."""
        check_encoder(self.encoder, encoder)
        unit, wanted = unit_rows(vectors), list(as_ids(ids))
        self._check_known(wanted)
        if unit.shape != (len(wanted), self.dimension):
            raise SearchError(f"The vectors have shape {unit.shape}; give {len(wanted)} of {self.dimension} numbers.")
        with _told():
            rows = self._client.query(self.name, filter=_among("lesion_id", wanted), output_fields=self._columns)
            by_id = {row["lesion_id"]: row for row in rows}
            self._client.upsert(
                self.name,
                [{**by_id[each], "vector": vector.tolist()} for each, vector in zip(wanted, unit, strict=True)],
            )

    def close(self) -> None:
        """Let the database go."""
        self._client.close()

    def _insert(self, unit: npt.NDArray[np.float32], table: LesionTable) -> None:
        columns = table.lists()
        for start in range(0, len(unit), ROWS_A_CALL):
            rows = range(start, min(start + ROWS_A_CALL, len(unit)))
            part = [
                {**{name: values[row] for name, values in columns.items()}, "vector": unit[row].tolist()}
                for row in rows
            ]
            with _told():
                self._client.insert(self.name, part)

    def _known(self, ids: Sequence[str]) -> list[str]:
        """Return those of the ids that are there."""
        found: list[str] = []
        for start in range(0, len(ids), ROWS_A_CALL):
            asked = _among("lesion_id", ids[start : start + ROWS_A_CALL])
            with _told():
                rows = self._client.query(self.name, filter=asked, output_fields=["lesion_id"])
            found += [row["lesion_id"] for row in rows]
        return found

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
        parts = self._restriction(where or Where())
        if query_id is not None:
            with _told():
                own = self._client.query(
                    self.name, filter=_among("lesion_id", [query_id]), output_fields=["patient_id"]
                )
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
    """Return a filter on a column of text; names are written as JSON does, so that none can say more than its name."""
    names = ", ".join(json.dumps(name, ensure_ascii=False) for name in wanted)
    return f"{column} {'not in' if negated else 'in'} [{names}]"


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
    except MilvusException as error:
        said = str(error.message).splitlines()[0]
        raise SearchError(f"The Milvus database did not answer as asked ({said}).") from error
