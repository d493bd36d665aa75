"""The index in a real Milvus (milvus-lite, in this process) against the exact one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_many_rows import clustered, table

from lesiondash.errors import SearchError
from lesiondash.retrieval import milvus
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.milvus import MilvusIndex
from lesiondash.retrieval.table import Where

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
from pymilvus.exceptions import MilvusException  # after what skips without it

COUNT, SIZE = 400, 24


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray[Any, Any], dict[str, list[Any]]]:
    random = np.random.default_rng(0)
    return clustered(random, COUNT, SIZE), table(random, COUNT)


@pytest.fixture(scope="module")
def both(data: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, MilvusIndex]]:
    vectors, lesions = data
    uri = str(tmp_path_factory.mktemp("milvus") / "lesions.db")
    database = MilvusIndex.create(uri, vectors, lesions, encoder="e1")
    yield Index(vectors, lesions, encoder="e1"), database
    database.close()


@pytest.mark.parametrize(
    "where",
    [
        None,
        Where(types=["T1", "T2"], splits=["test"]),
        Where(size_mm=(10, 40)),
        Where(patients=["P1", 'P"2', "P3"]),
        Where(not_patients=["P1"], not_ids=["L1", "L2"]),
        Where(ids=[f"L{n}" for n in range(30)]),
        Where(studies=["S1", "S2", "S3"]),
    ],
    ids=str,
)
def test_same_hits_as_the_exact_index(both: Any, where: Where | None) -> None:
    exact, database = both
    random = np.random.default_rng(1)
    for turn in range(4):
        query = exact.vectors[random.integers(COUNT)] if turn % 2 else random.normal(size=SIZE)
        expected = exact.search(query, 9, where=where)
        found = database.search(query, 9, where=where)
        assert [hit.lesion_id for hit in found] == [hit.lesion_id for hit in expected]
        assert [hit.similarity for hit in found] == pytest.approx([hit.similarity for hit in expected], abs=1e-6)
        assert [hit.type for hit in found] == [hit.type for hit in expected]


@pytest.mark.parametrize("scope", ["all", "same", "cross"])
def test_scopes_as_the_exact_index(both: Any, scope: Any) -> None:
    exact, database = both
    for row in (3, 77):
        own, query = exact.lesions["lesion_id"][row], exact.vectors[row]
        arguments = {"scope": scope, "query_id": own, "exclude": [exact.lesions["lesion_id"][row + 1]]}
        assert [hit.lesion_id for hit in database.search(query, **arguments)] == [
            hit.lesion_id for hit in exact.search(query, **arguments)
        ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 9999}, "holds 400"),
        ({"scope": "near"}, "'near'"),
        ({"scope": "same"}, "patient is not known"),
        ({"query_id": "nobody"}, "'nobody'"),
        ({"where": Where(types=["unheard of"])}, "No lesion is left"),
        ({"encoder": "e2"}, "e2.*e1"),
        ({"vector": [1.0, 2.0]}, "shape"),
        ({"vector": [np.nan] * SIZE}, "NaN"),
        ({"where": {"types": ["T1"]}}, "where is a dict"),
        ({"where": Where(ids=["L1", ["L2"]])}, "no text"),
    ],
)
def test_refuses_as_the_exact_index(both: Any, arguments: dict[str, Any], words: str) -> None:
    exact, database = both
    for index in (exact, database):
        with pytest.raises(SearchError, match=words):
            index.search(**{"vector": exact.vectors[0], **arguments})


def test_added_removed_and_updated_lesions_are_found_when_it_is_opened_again(data: Any, tmp_path: Path) -> None:
    vectors, lesions = data
    first, rest = ({name: values[part] for name, values in lesions.items()} for part in (slice(300), slice(300, None)))
    uri = str(tmp_path / "more.db")
    database = MilvusIndex.create(uri, vectors[:300], first, encoder="e1")
    with pytest.raises(SearchError, match="already"):
        MilvusIndex.create(uri, vectors[:300], first)
    with pytest.raises(SearchError, match="occurs twice"):
        database.add(vectors[:1], {name: values[:1] for name, values in lesions.items()})
    with pytest.raises(SearchError, match="the columns"):
        database.add(vectors[:1], {"lesion_id": ["new"], "patient_id": ["p"], "type": ["t"]})
    database.add(vectors[300:], rest, encoder="e1")
    assert len(database) == 400
    with pytest.raises(SearchError, match="'nobody'"):
        database.remove([lesions["lesion_id"][0], "nobody"])
    database.remove(lesions["lesion_id"][:50])
    database.update(vectors[:1], [lesions["lesion_id"][399]])
    database.close()
    again, exact = MilvusIndex(uri, encoder="e1"), Index(vectors, lesions)
    exact.remove(lesions["lesion_id"][:50])
    exact.update(vectors[:1], [lesions["lesion_id"][399]])
    assert len(again) == 350
    assert [hit.lesion_id for hit in again.search(vectors[0], 12)] == [
        hit.lesion_id for hit in exact.search(vectors[0], 12)
    ]
    with pytest.raises(SearchError, match=r"e9.*e1"):
        MilvusIndex(uri, encoder="e9")
    with pytest.raises(SearchError, match="no collection"):
        MilvusIndex(uri, "elsewhere")
    again.close()


def test_names_of_any_characters_are_found_and_removed(tmp_path: Path) -> None:
    names = ["a", 'q"x', "apo'x", "tab\tx", "new\nline", "c\x01x", "back\\slash", "b\\n", "é–肺", "uni\u2028x", "{x}"]
    lesions = {"lesion_id": names, "patient_id": names, "type": names}
    vectors = np.random.default_rng(0).normal(size=(len(names), 8))
    exact, database = Index(vectors, lesions), MilvusIndex.create(str(tmp_path / "names.db"), vectors, lesions)
    for name in names:
        for where in (Where(ids=[name]), Where(types=[name, "b\x02"]), Where(not_ids=[name])):
            expected = exact.search(vectors[0], 9, where=where)
            assert [hit.lesion_id for hit in database.search(vectors[0], 9, where=where)] == [
                hit.lesion_id for hit in expected
            ]
    database.remove([])
    for number, name in enumerate(names, start=1):
        database.remove([name])
        assert len(database) == len(names) - number
    database.close()


def test_what_fails_on_the_way_leaves_all_as_it_was(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "ROWS_A_CALL", 10)
    vectors, lesions = data
    uri = str(tmp_path / "undone.db")
    first, rest = ({name: values[part] for name, values in lesions.items()} for part in (slice(50), slice(50, 90)))
    too_long = {**rest, "type": [*rest["type"][:-1], "x" * (milvus.LONGEST_TEXT + 1)]}
    with pytest.raises(SearchError, match="50 lesions"):
        MilvusIndex.create(uri, vectors[:49], first)
    with pytest.raises(SearchError, match="did not answer"):
        MilvusIndex.create(uri, vectors[50:90], too_long)
    database = MilvusIndex.create(uri, vectors[:50], first)
    with pytest.raises(SearchError, match="did not answer"):
        database.add(vectors[50:90], too_long)
    assert len(database) == 50
    database.add(vectors[50:90], rest)
    database.update(vectors[100:190], [*first["lesion_id"], *rest["lesion_id"]])
    ids = [hit.lesion_id for hit in database.search(vectors[100], 90)]
    with pytest.raises(SearchError, match="occurs twice"):
        database.update(vectors[:2], [ids[0]] * 2)
    calls, real = [], database._client.upsert

    def failing(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise MilvusException(message="The disk is full.")
        real(*arguments)

    monkeypatch.setattr(database._client, "upsert", failing)
    with pytest.raises(SearchError, match="The disk is full"):
        database.update(vectors[200:290], ids)
    assert len(calls) == 3 + 9
    assert [hit.lesion_id for hit in database.search(vectors[100], 90)] == ids
    database.close()


def test_more_than_milvus_returns_at_once(both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, database = both
    monkeypatch.setattr(milvus, "MOST", 60)
    query = np.random.default_rng(5).normal(size=SIZE)
    assert [hit.lesion_id for hit in database.search(query, 40)] == [hit.lesion_id for hit in exact.search(query, 40)]
    few = Where(ids=[f"L{n}" for n in range(30)])
    assert len(database.search(query, 70, where=few)) == len(exact.search(query, 70, where=few)) == 30
    for k in (60, 70):
        with pytest.raises(SearchError, match="at most 60 lesions at once"):
            database.search(query, k)


def test_a_cluster_is_told_to_show_new_rows_at_once(both: Any) -> None:
    assert both[1]._client.describe_collection("lesions")["consistency_level"] == 0  # Strong
