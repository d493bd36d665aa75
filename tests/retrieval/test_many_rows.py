"""Indexes so large that 8-bit codes scan them, and many queries at once: float64 over all rows is the judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lesiondash.errors import SearchError
from lesiondash.retrieval import index as index_module
from lesiondash.retrieval.codes import Codes, best_scores, kth_largest
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.table import Where
from lesiondash.retrieval.vectors import exact_cosines, float32_slack

COUNT, SIZE = 12_000, 64


def clustered(random: np.random.Generator, count: int = COUNT, size: int = SIZE) -> np.ndarray[Any, Any]:
    """Like embeddings: all in one direction, in clumps, some rows repeated and some nearly so."""
    clumps = random.normal(size=(40, size))
    vectors = 3 + clumps[random.integers(0, 40, count)] + 0.3 * random.normal(size=(count, size))
    twins = random.integers(0, count, count // 20)
    vectors[random.integers(0, count, len(twins))] = vectors[twins]
    close = random.integers(0, count, count // 20)
    vectors[close] = vectors[close[0]] + 1e-7 * random.normal(size=(len(close), size))
    return vectors.astype(np.float32)


def table(random: np.random.Generator, count: int = COUNT) -> dict[str, list[Any]]:
    return {
        "lesion_id": [f"L{row}" for row in random.permutation(count)],
        "patient_id": [f"P{number}" for number in random.integers(0, count // 8, count)],
        "study_id": [f"S{number}" for number in random.integers(0, count // 4, count)],
        "type": [f"T{number}" for number in random.integers(0, 8, count)],
        "split": [("train", "test")[number] for number in random.integers(0, 2, count)],
        "size_mm": random.uniform(2, 80, count).tolist(),
    }


@pytest.fixture(scope="module")
def large() -> Index:
    random = np.random.default_rng(0)
    return Index(clustered(random), table(random))


def ranked(index: Index, query: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], k: int) -> list[str]:
    """The first k of some rows by float64 cosines of all of them, equal ones by id."""
    unit = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
    ids = index.lesions["lesion_id"]
    scores = exact_cosines(index.vectors[rows], unit)
    return [ids[rows[place]] for place in sorted(range(len(rows)), key=lambda p: (-scores[p], ids[rows[p]]))[:k]]


RESTRICTIONS = [
    None,
    Where(patients=["P7"]),
    Where(patients=[f"P{n}" for n in range(500)]),
    Where(studies=["S1", "S2", "unheard of"]),
    Where(types=["T3", "T4"], splits=["test"]),
    Where(size_mm=(10, 20)),
    Where(not_patients=["P1", "P2"], types=["T1", "T2", "T5", "T6", "T7", "T0"]),
    Where(ids=[f"L{n}" for n in range(0, COUNT, 1000)]),
    Where(ids=[f"L{n}" for n in range(11_000)], not_ids=["L5", "L6"]),
]


@pytest.mark.parametrize("where", RESTRICTIONS, ids=[str(n) for n in range(len(RESTRICTIONS))])
def test_same_ranking_as_float64_under_any_filter(large: Index, where: Where | None) -> None:
    random = np.random.default_rng(1)
    rows = large.candidates(where=where)
    for turn in range(12):
        k = (1, 9, 40)[turn % 3]
        query = large.vectors[random.integers(COUNT)] if turn % 2 else random.normal(size=SIZE)
        expected = ranked(large, query, rows, k)
        assert [hit.lesion_id for hit in large.search(query, k, where=where)] == expected


def test_filters_keep_what_they_say(large: Index) -> None:
    columns = {name: np.array(values) for name, values in large.lesions.items()}
    rows = large.candidates(where=Where(types=["T3"], splits=["test"], size_mm=(10, 20), not_patients=["P3"]))
    keep = (columns["type"] == "T3") & (columns["split"] == "test") & (columns["patient_id"] != "P3")
    keep &= (columns["size_mm"] >= 10) & (columns["size_mm"] <= 20)
    assert rows.tolist() == np.flatnonzero(keep).tolist()
    with pytest.raises(SearchError, match="types is the text 'lung'"):
        Where(types="lung")
    with pytest.raises(SearchError, match="smallest"):
        Where(size_mm=(20, 10))


@pytest.mark.parametrize("size", [1, 3, 64, 700])
def test_codes_lose_no_neighbour_of_hostile_vectors(size: int) -> None:
    """One component far larger than the others, all vectors nearly the same, or spread at random."""
    random = np.random.default_rng(size)
    for spread in (1e-5, 0.1, 3.0):
        vectors = 1 + spread * random.normal(size=(900, size))
        vectors[:, 0] *= 20
        unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        codes, rows = Codes.of(unit), np.arange(len(unit))
        for query in (unit[5].astype(np.float64), random.normal(size=size), -unit[7].astype(np.float64)):
            query = query / np.linalg.norm(query)
            exact = exact_cosines(unit, query)
            for k in (1, 9, 300):
                possible = codes.possible(query, rows, k)
                assert set(np.argsort(-exact, kind="stable")[:k]) <= {*possible, *np.flatnonzero(exact == exact.max())}
                assert np.sort(exact[possible])[-k:] == pytest.approx(np.sort(exact)[-k:], abs=0)


def test_codes_leave_out_most(large: Index) -> None:
    codes, rows = Codes.of(large.vectors), np.arange(COUNT)
    assert len(codes.possible(large.vectors[3].astype(np.float64), rows, 9)) < 0.1 * COUNT


@pytest.mark.parametrize("size", [1, 512, 4096])
def test_no_order_of_summation_leaves_the_slack(size: int) -> None:
    """Summed from the left, every small term is just less than half a unit of the sum, and is lost."""
    small = np.full(size - 1, np.sqrt(2.0**-25 * 0.97))
    vector = np.concatenate([[np.sqrt(1 - np.sum(small**2))], small]).astype(np.float32)
    products = vector * vector
    lost = abs(float(np.cumsum(products)[-1]) - float(exact_cosines(vector[None], vector.astype(np.float64))[0]))
    assert lost <= float32_slack(size)
    assert size < 100 or lost > 0.4 * float32_slack(size)  # the bound is not far from what can happen
    assert float32_slack(2**30) == 2.0


@pytest.mark.parametrize("compiled", [False, True])
def test_best_of_many(compiled: bool) -> None:
    scores = np.random.default_rng(0).integers(0, 50, (5, 400)).astype(np.float32)
    for k in (1, 7, 256, 300, 400):
        values, places = best_scores(scores, k, compiled=compiled)
        for line in range(5):
            assert values[line].tolist() == sorted(scores[line].tolist(), reverse=True)[:k]
            assert scores[line][places[line]].tolist() == values[line].tolist()
            assert len(set(places[line].tolist())) == k
        assert kth_largest(scores[0], k) == values[0, -1]


def test_many_queries_are_answered_as_one_by_one(large: Index) -> None:
    random = np.random.default_rng(2)
    queries = np.concatenate([large.vectors[random.integers(0, COUNT, 150)], random.normal(size=(40, SIZE))])
    rows, cosines = large.search_many(queries, 11)
    for query, found, values in zip(queries, rows, cosines, strict=True):
        hits = large.search(query, 11)
        assert [hit.row for hit in hits] == found.tolist()
        assert [hit.similarity for hit in hits] == values.tolist()


def test_many_queries_with_their_own_candidates() -> None:
    random = np.random.default_rng(3)
    index = Index(clustered(random, 300, 12), table(random, 300))
    allowed = random.random((50, 300)) < 0.02
    allowed[7] = False
    rows, cosines = index.search_many(index.vectors[:50], 9, allowed)
    for place in range(50):
        own = np.flatnonzero(allowed[place])
        expected = ranked(index, index.vectors[place], own, 9)
        got = [index.lesions["lesion_id"][row] for row in rows[place] if row >= 0]
        assert got == expected
        assert np.isnan(cosines[place]).sum() == 9 - len(expected)
    with pytest.raises(SearchError, match="allowed has shape"):
        index.search_many(index.vectors[:5], 9, allowed)


@pytest.mark.parametrize("codes_from", [10, 10_000])
def test_added_removed_and_updated_rows_are_found_at_once(codes_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "CODES_FROM", codes_from)
    random = np.random.default_rng(4)
    vectors, lesions = clustered(random, 400, 16), table(random, 400)
    index = Index(vectors[:300], {name: values[:300] for name, values in lesions.items()}, encoder="e")
    index.search(vectors[0])
    before = [hit.lesion_id for hit in index.search(vectors[0], 5)]
    with pytest.raises(SearchError, match=r"f, those of the index of e"):
        index.add(vectors[300:], {name: values[300:] for name, values in lesions.items()}, encoder="f")
    with pytest.raises(SearchError, match="occurs twice"):
        index.add(vectors[300:], {name: values[:100] for name, values in lesions.items()})
    with pytest.raises(SearchError, match="'nobody'"):
        index.remove([lesions["lesion_id"][0], "nobody"])
    assert len(index) == 300  # what was refused changed nothing
    index.add(vectors[300:], {name: values[300:] for name, values in lesions.items()}, encoder="e")
    whole = Index(vectors, lesions)
    for query in vectors[::37]:
        assert index.search(query, 12) == whole.search(query, 12)
    index.update(vectors[[0]], [lesions["lesion_id"][399]])
    assert lesions["lesion_id"][399] in [hit.lesion_id for hit in index.search(vectors[0], 30)]
    index.remove(lesions["lesion_id"][300:])
    assert [hit.lesion_id for hit in index.search(vectors[0], 5)] == before
    assert index.lesions == {name: values[:300] for name, values in lesions.items()}


def test_an_empty_index_says_so() -> None:
    empty = Index(np.empty((0, 4)), {"lesion_id": [], "patient_id": [], "type": []})
    with pytest.raises(SearchError, match="index is empty"):
        empty.search([1, 0, 0, 0])
    empty.add(np.eye(4)[:2], {"lesion_id": ["a", "b"], "patient_id": ["1", "2"], "type": ["x", "y"]})
    assert empty.search([1, 0, 0, 0], 1)[0].lesion_id == "a"


def test_a_column_of_nothing_becomes_what_is_put_below_it() -> None:
    nothing: dict[str, list[Any]] = {"lesion_id": [], "patient_id": [], "type": [], "split": [], "size_mm": []}
    one = {"lesion_id": ["a"], "patient_id": ["1"], "type": ["x"], "split": ["test"], "size_mm": [4.0]}
    index = Index(np.empty((0, 2)), nothing)
    for lesions, vectors in ((one, [[1, 0]]), (nothing, np.empty((0, 2))), ({**one, "lesion_id": ["b"]}, [[0, 1]])):
        index.add(vectors, lesions)
    where = Where(size_mm=(3, 5), splits=["test"])
    assert [hit.lesion_id for hit in index.search([0, 1], 2, where=where)] == ["b", "a"]
    index.remove(["a", "b"])
    index.add([[1, 0]], one)
    assert index.lesions == one


def test_hits_of_rows_and_of_booleans() -> None:
    index = Index(np.eye(4), {"lesion_id": list("abcd"), "patient_id": list("1234"), "type": list("xxyy")})
    query = [0, 1, 0, 1]
    assert index.hits(np.array([False, True, False, True]), query) == index.hits(np.array([1, 3]), query)
    for rows in ([[1], [2, 3]], [0.5], [4], [True]):
        with pytest.raises(SearchError, match="rows"):
            index.hits(rows, query)  # type: ignore[arg-type]
