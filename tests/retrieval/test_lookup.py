"""Names looked up by the thousand: a dictionary is the judge, whatever the names are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lesiondash.errors import SearchError
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.lookup import LONGEST_BYTES, Lookup
from lesiondash.retrieval.table import MANY, Names, Where

COUNT = 3 * MANY
KINDS: dict[str, Callable[[int], str]] = {
    "numbers": lambda n: f"{n:08d}",
    "of many lengths": lambda n: "x" * (n % 23) + str(n),
    "the first bytes alike": lambda n: f"1.2.840.113654.2.55.2295{n}",
    "not ASCII": lambda n: f"Lésion–{n}·肺",
    "whole words": lambda n: f"{n:016x}",
    "longer than a table takes": lambda n: str(n) * LONGEST_BYTES,
    "with a zero": lambda n: f"{n}\0{n}",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [list, tuple, frozenset, np.array], ids=lambda form: form.__name__)
def test_same_numbers_as_a_dictionary(kind: str, form: Any) -> None:
    random = np.random.default_rng(0)
    values = [KINDS[kind](n) for n in range(COUNT)]
    known = values[: 2 * MANY]
    if kind == "of many lengths":
        known[7] = ""
    wanted = form([*(values[n] for n in random.permutation(COUNT)), "", "?", "9" * 9, known[3][:-1], known[3] + "x"])
    names = Names.of(known)
    for _ in range(2):  # the second time some are remembered
        expected = [names.code_of[str(text)] for text in wanted if str(text) in names.code_of]
        assert names.codes_of(wanted).tolist() == expected
    assert len(expected) >= 2 * MANY - 1


def test_several_threads_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lesiondash.retrieval.lookup.NAMES_A_THREAD", 100)
    values = [str(n) for n in range(COUNT)]
    lookup = Lookup.of(values)
    assert lookup is not None
    order = np.random.default_rng(1).permutation(COUNT)
    assert lookup.find([values[n] for n in order]).tolist() == order.tolist()  # type: ignore[union-attr]
    assert lookup.find([]).tolist() == []  # type: ignore[union-attr]
    assert lookup.find(["1", 2]) is None  # type: ignore[list-item]
    assert Lookup.of(["a" * (LONGEST_BYTES + 1)]) is None


def test_a_list_that_was_changed_is_looked_up_anew() -> None:
    names = Names.of([str(n) for n in range(COUNT)])
    wanted = [str(n) for n in range(MANY)]
    assert names.codes_of(wanted).tolist() == list(range(MANY))
    wanted[0] = str(COUNT - 1)
    assert names.codes_of(wanted)[0] == int(wanted[0])


def _index(count: int = 6) -> Index:
    ids = [f"L{n}" for n in range(count)]
    return Index(
        np.eye(count), {"lesion_id": ids, "patient_id": ids, "type": ["lung"] * count, "size_mm": range(count)}
    )


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"rows": [4, 1, 1]}, [1, 4]),
        ({"rows": np.array([True, False, False, False, False, True])}, [0, 5]),
        ({"rows": np.array([2], np.uint8), "ids": ["L2", "L3"]}, [2]),
        ({"rows": []}, []),
        ({"ids": np.array(["L1", "L2"]), "not_ids": np.array(["L2", "L3"])}, [1]),
        ({"not_patients": np.array(["L0", "L1", "L9"])}, [2, 3, 4, 5]),
        ({"types": {"lung"}, "size_mm": (np.float32(2), np.inf)}, [2, 3, 4, 5]),
        ({"types": []}, []),
    ],
)
def test_restrictions_of_many_kinds(where: dict[str, Any], rows: list[int]) -> None:
    assert _index().candidates(where=Where(**where)).tolist() == rows


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"ids": [1, 2]}, "ids holds 1"),
        ({"ids": np.arange(3)}, "ids holds"),
        ({"types": "lung"}, "text 'lung'"),
        ({"types": (kind for kind in ["lung"])}, "generator"),
        ({"patients": 5}, "int"),
        ({"size_mm": 5}, "size_mm"),
        ({"size_mm": (None, 5)}, "size_mm"),
        ({"size_mm": (np.nan, 5)}, "size_mm"),
        ({"rows": [6]}, "0 to 5"),
        ({"rows": [-1]}, "0 to 5"),
        ({"rows": [0.5]}, "row numbers"),
        ({"rows": [True, False]}, "6 booleans"),
        ({"rows": [[1], [2, 3]]}, "6 booleans"),
        ({"ids": ["L1", ["L2"]]}, "no text"),
        ({"ids": [*map(str, range(MANY)), ["L2"]]}, "no text"),
        ({"not_patients": ("L1", {"L2": 3})}, "no text"),
    ],
)
def test_what_is_no_restriction_is_told(where: dict[str, Any], words: str) -> None:
    with pytest.raises(SearchError, match=words):
        _index().search(np.ones(6), where=Where(**where))
