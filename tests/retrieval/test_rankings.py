"""Ways to rank a search, each against the matrix form that is measured, and on what they are for."""

from __future__ import annotations

import numpy as np
import pytest

from lesiondash import Index, Where
from lesiondash.errors import SearchError
from lesiondash.retrieval.rankings import SHRINKAGE, Rankings
from lesiondash.retrieval.rerank import Whitening, hubness_corrected, k_reciprocal, query_expansion

COUNT = 80
WAYS = ["query expansion", "k-reciprocal", "whitened", "hubness corrected"]


@pytest.fixture
def index() -> Index:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(COUNT, 12)) + random.normal(size=(5, 12))[random.integers(0, 5, COUNT)]
    table = {
        "lesion_id": [f"{row:03d}" for row in range(COUNT)],
        "patient_id": [f"p{row // 4}" for row in range(COUNT)],
        "type": ["lung" if row % 2 else "liver" for row in range(COUNT)],
        "split": ["train" if row < 50 else "test" for row in range(COUNT)],
    }
    return Index(vectors, table)


def wanted(way: str, query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The scores of the whole gallery, in the form that `benchmarks/rerank.py` measures."""
    if way == "query expansion":
        return query_expansion(query[None], vectors, np.ones((1, COUNT), bool))[0]
    if way == "k-reciprocal":
        return k_reciprocal(np.vstack([query, vectors]))[0, 1:]
    if way == "whitened":
        white = Whitening.fit(vectors[:50], SHRINKAGE)
        return white.apply(vectors) @ white.apply(query[None])[0]
    return hubness_corrected(query[None], vectors)[0]


@pytest.mark.parametrize("way", WAYS)
def test_equals_the_form_that_is_measured(index: Index, way: str) -> None:
    query = np.random.default_rng(4).normal(size=12)
    query /= np.linalg.norm(query)
    vectors = index.vectors.astype(np.float64)
    hits = Rankings(index).search(way, query, 12)
    best = np.argsort(-wanted(way, query, vectors), kind="stable")[:12]
    assert [hit.row for hit in hits] == best.tolist()
    assert [hit.similarity for hit in hits] == pytest.approx((vectors[best] @ query).tolist(), abs=1e-9)
    assert [hit.rank for hit in hits] == list(range(1, 13))


def test_cosine_is_the_search_itself(index: Index) -> None:
    found = Rankings(index).search("cosine", index.vectors[7], 5, "cross", query_id="007")
    assert found == index.search(index.vectors[7], 5, "cross", query_id="007")


@pytest.mark.parametrize(
    "way", Rankings(Index([[1.0, 0]], {"lesion_id": ["a"], "patient_id": ["1"], "type": ["x"]})).ways
)
def test_keeps_scope_and_filters(index: Index, way: str) -> None:
    where = Where(types=["lung"])
    hits = Rankings(index).search(way, index.vectors[9], 20, "cross", query_id="009", where=where)
    assert len(hits) == 20
    assert {hit.type for hit in hits} == {"lung"}
    assert "p2" not in {hit.patient_id for hit in hits}
    with pytest.raises(SearchError, match="No lesion is left"):
        Rankings(index).search(way, index.vectors[9], 3, where=Where(types=["moon"]))


def test_hubs_come_later_when_corrected() -> None:
    """A lesion near to everything loses to one that is near to the query alone."""
    random = np.random.default_rng(0)
    crowd = random.normal(size=(60, 6)) * 0.6 + np.eye(6)[0] * 2
    query = np.array([0.75, 0.66, 0, 0, 0, 0.0])
    lonely = np.array([[0.3, 1.0, 0.0, 0, 0, 0]])
    vectors = np.vstack([crowd, np.eye(6)[:1] * 2, lonely])
    names = [str(row) for row in range(62)]
    rankings = Rankings(Index(vectors, {"lesion_id": names, "patient_id": names, "type": ["x"] * 62}))

    def place(way: str, lesion: str) -> int:
        return next(hit.rank for hit in rankings.search(way, query, 62) if hit.lesion_id == lesion)

    assert place("hubness corrected", "61") < place("cosine", "61")
    assert place("hubness corrected", "60") > place("cosine", "60")


def test_made_anew_after_a_lesion_is_added(index: Index) -> None:
    rankings = Rankings(index)
    query = index.vectors[0]
    rankings.search("hubness corrected", query, 5)
    index.add([query], {"lesion_id": ["new"], "patient_id": ["p99"], "type": ["lung"], "split": ["test"]})
    assert "new" in [hit.lesion_id for hit in rankings.search("hubness corrected", query, COUNT + 1)]


def test_refuses_what_it_cannot_do(index: Index) -> None:
    with pytest.raises(SearchError, match="no ranking 'magic'"):
        Rankings(index).search("magic", index.vectors[0], 3)
    bare = Index(index.vectors, {name: index.lesions[name] for name in ("lesion_id", "patient_id", "type")})
    with pytest.raises(SearchError, match="training split"):
        Rankings(bare).search("whitened", index.vectors[0], 3)
