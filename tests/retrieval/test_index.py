"""Exact search: vectors at known angles, and a float64 brute force on random cases."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from lesiondash.errors import SearchError
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.table import Where

DEGREES = [0, 10, 25, 45, 90, 180]


def _circle(degrees: list[float]) -> np.ndarray[Any, Any]:
    angles = np.deg2rad(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _table(patients: list[str]) -> dict[str, list[Any]]:
    count = len(patients)
    return {
        "lesion_id": [f"L{row}" for row in range(count)],
        "patient_id": patients,
        "type": ["lung"] * count,
        "split": ["test"] * count,
    }


@pytest.fixture
def index() -> Index:
    return Index(_circle(DEGREES), _table(["a", "a", "b", "b", "a", "c"]))


def _ids(hits: list[Any]) -> list[str]:
    return [hit.lesion_id for hit in hits]


def test_neighbours_come_by_angle(index: Index) -> None:
    hits = index.search(_circle([1])[0], k=4)
    assert _ids(hits) == ["L0", "L1", "L2", "L3"]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert [hit.similarity for hit in hits] == pytest.approx(np.cos(np.deg2rad([1, 9, 24, 44])), abs=1e-7)
    assert index.similarities(_circle([1])[0]) == pytest.approx(np.cos(np.deg2rad(np.array(DEGREES) - 1)), abs=1e-6)


def test_length_of_a_vector_does_not_matter(index: Index) -> None:
    scaled = Index(_circle(DEGREES) * np.array([[1e-30], [1], [3], [1e30], [7], [0.1]]), index.lesions)
    query = _circle([20])[0]
    assert _ids(scaled.search(query * 1e12)) == _ids(index.search(query))


def test_scopes_keep_own_patient_or_all_others(index: Index) -> None:
    query = _circle([0])[0]
    assert _ids(index.search(query, scope="same", query_id="L0")) == ["L1", "L4"]
    assert _ids(index.search(query, scope="cross", query_id="L0")) == ["L2", "L3", "L5"]
    assert _ids(index.search(query, scope="same", patient_id="b")) == ["L2", "L3"]
    assert _ids(index.search(query, scope="cross", patient_id="new")) == _ids(index.search(query))


def test_unknown_patient_is_nobody_of_the_index(index: Index) -> None:
    query = _circle([0])[0]
    assert len(index.search(query, scope="cross")) == 6
    with pytest.raises(SearchError, match="patient is not known"):
        index.search(query, scope="same")


def test_query_is_never_returned_even_with_a_twin() -> None:
    twins = Index(np.ones((4, 3)), _table(["a"] * 4))
    for scope in ("all", "same"):
        for row in range(4):
            hits = twins.search(np.ones(3), k=4, scope=scope, query_id=f"L{row}")  # type: ignore[arg-type]
            assert f"L{row}" not in _ids(hits)
    assert _ids(twins.search(np.ones(3), query_id="L1")) == ["L0", "L2", "L3"]


def test_excluded_lesions_stay_out_and_fewer_candidates_give_fewer_hits(index: Index) -> None:
    hits = index.search(_circle([0])[0], k=6, query_id="L0", exclude=["L1", "L5", "elsewhere"])
    assert _ids(hits) == ["L2", "L3", "L4"]
    assert index.candidates("all", "L0", exclude=["L1"]).tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(100))
def test_equals_float64_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(10):
        count, size = int(rng.integers(1, 200)), int(rng.integers(1, 40))
        vectors = rng.normal(size=(count, size)).astype(np.float32)
        repeated = rng.integers(0, count, count // 3)
        vectors[rng.integers(0, count, len(repeated))] = vectors[repeated]  # exact ties
        if rng.random() < 0.3:  # near ties, below float32's resolution of a product
            vectors = vectors[:1] + 1e-6 * vectors
        patients = [str(patient) for patient in rng.integers(0, 5, count)]
        index = Index(vectors, _table(patients))
        row, k = int(rng.integers(count)), int(rng.integers(1, min(20, count) + 1))
        scope = ("all", "same", "cross")[int(rng.integers(3))]
        query = vectors[row] if rng.random() < 0.5 else rng.normal(size=size)
        unit = np.asarray(query, np.float64) / np.linalg.norm(np.asarray(query, np.float64))
        allowed = [
            other
            for other in range(count)
            if other != row and (scope == "all" or (patients[other] == patients[row]) == (scope == "same"))
        ]
        cosines = {other: float(np.sum(index.vectors[other].astype(np.float64) * unit)) for other in allowed}
        expected = sorted(allowed, key=lambda other: (-cosines[other], other))[:k]
        if not allowed:
            with pytest.raises(SearchError, match="No lesion is left"):
                index.search(query, k, scope, query_id=f"L{row}")  # type: ignore[arg-type]
            continue
        hits = index.search(query, k, scope, query_id=f"L{row}")  # type: ignore[arg-type]
        got = [hit.similarity for hit in hits]
        assert got == pytest.approx([cosines[other] for other in expected], abs=1e-14)
        # Below 1e-14 the order of the float64 sums decides; bitwise ties must follow the ids.
        assert all(a >= b for a, b in pairwise(got))
        for first, second in pairwise(hits):
            assert first.similarity > second.similarity or first.lesion_id < second.lesion_id
        if len({round(value, 13) for value in cosines.values()}) == len(cosines):
            assert [hit.row for hit in hits] == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vector": [1, 0, 0]}, "shape"),
        ({"vector": [[1, 0]]}, "shape"),
        ({"vector": [np.nan, 0]}, "NaN"),
        ({"vector": [0, 0]}, "zero"),
        ({"vector": ["x", "y"]}, "numbers"),
        ({"vector": [1, 0], "k": 0}, "k is 0"),
        ({"vector": [1, 0], "k": 7}, "holds 6 lesions"),
        ({"vector": [1, 0], "where": Where(types=["liver"])}, "No lesion is left"),
        ({"vector": [1, 0], "where": Where(studies=["s"])}, "'study_id'"),
        ({"vector": [1, 0], "where": Where(size_mm=(1, 2))}, "sizes"),
        ({"vector": [1, 0], "encoder": "other"}, "other.*one that nobody named"),
        ({"vector": [1, 0], "scope": "near"}, "'near'"),
        ({"vector": [1, 0], "query_id": "L9"}, "'L9'"),
        ({"vector": [1, 0], "query_id": "L0", "patient_id": "b"}, "another patient"),
        ({"vector": [1, 0], "exclude": "L0"}, "list"),
        ({"vector": [1, 0], "exclude": None}, "may be empty"),
        ({"vector": [1, 0], "where": {"types": ["lung"]}}, "give a Where"),
        ({"vector": [1, 0], "query_id": ["L0"]}, "not in this index"),
        ({"vector": [1, 0], "k": True}, "k is True"),
        ({"vector": [1, 0], "k": -3}, "k is -3"),
        ({"vector": [1 + 1j, 0]}, "numbers"),
        ({"vector": torch.ones(2, requires_grad=True)}, "numbers"),
    ],
)
def test_refuses_queries_it_cannot_answer(index: Index, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SearchError, match=words):
        index.search(**arguments)


@pytest.mark.parametrize(
    ("vectors", "change", "words"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], {}, "zero"),
        ([[1.0, np.inf], [0.0, 1.0]], {}, "NaN or infinity"),
        ([1.0, 2.0], {}, "shape"),
        ([[1.0, 0.0]], {}, "1 vectors but 2"),
        ([[1.0, 0.0], [0.0, 1.0]], {"lesion_id": ["x", "x"]}, "'x' occurs twice"),
        ([[1.0, 0.0], [0.0, 1.0]], {"type": None}, "lacks the column 'type'"),
    ],
)
def test_refuses_broken_collections(vectors: Any, change: dict[str, Any], words: str) -> None:
    table = {**_table(["a", "b"]), **change}
    with pytest.raises(SearchError, match=words):
        Index(vectors, {name: column for name, column in table.items() if column is not None})


def test_vectors_of_any_type_and_layout_are_taken() -> None:
    plain = _circle(DEGREES)
    expected = _ids(Index(plain, _table(["a"] * 6)).search(plain[2]))
    for vectors in (plain.astype(np.float16), np.asfortranarray(plain), plain[::-1][::-1], torch.from_numpy(plain)):
        index = Index(vectors, _table(["a"] * 6))
        for query in (plain[2].astype(np.float16), np.repeat(plain[2], 2)[::2], torch.from_numpy(plain[2])):
            assert _ids(index.search(query)) == expected


def test_what_does_not_fit_leaves_the_index_as_it_was(index: Index) -> None:
    index.remove(index.lesions["lesion_id"])
    with pytest.raises(SearchError, match="index is empty"):
        index.search([1, 0])
    with pytest.raises(SearchError, match="3 numbers, those of the index 2"):
        index.add(np.ones((1, 3)), _table(["a"]))
    index.add(_circle([0, 5]), _table(["a", "b"]))
    with pytest.raises(SearchError, match="occurs twice"):
        index.update(_circle([1, 2]), ["L0", "L0"])
    with pytest.raises(SearchError, match="beyond 64 bits"):
        Index([[1, 0]], {**_table(["a"]), "number": [2**70]})
    with pytest.raises(SearchError, match="give a table"):
        Index([[1, 0]], [1])  # type: ignore[arg-type]
    with pytest.raises(SearchError, match="rows 0 to 1"):
        index.hits(np.array([2]), [1, 0])
    assert _ids(index.search([1, 0])) == ["L0", "L1"]


def test_other_columns_are_kept(index: Index) -> None:
    assert index.lesions["split"] == ["test"] * 6
