"""Guards pass on honest vectors and tell of each way to cheat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_protocol import _lesion, _random_split

from lesiondash.records import Lesion
from lesiondash.retrieval import guards as module
from lesiondash.retrieval.guards import Guard, guards
from lesiondash.retrieval.protocol import ScopeScore, evaluate


def checked(vectors: Any, lesions: list[Lesion], others: Sequence[Lesion] = ()) -> list[Guard]:
    return guards(vectors, lesions, evaluate(vectors, lesions, scopes=("all", "cross", "released-code")), others)


def failed(found: list[Guard]) -> list[str]:
    return [guard.name for guard in found if not guard.passed]


def test_honest_vectors_pass() -> None:
    vectors, lesions = _random_split(0)
    found = checked(vectors, lesions, [_lesion(900, patient="elsewhere")])
    assert len(found) == 4
    assert failed(found) == []


def test_vectors_with_one_hub_or_collapsed_are_no_alarm() -> None:
    vectors, lesions = _random_split(1)
    collapsed = np.ones((240, 16)) + 1e-3 * vectors
    assert failed(checked(collapsed, lesions)) == []
    hub = vectors.copy()
    hub[0] = vectors.mean(axis=0) + hub[0] * 1e-3
    assert failed(checked(hub, lesions)) == []


def test_a_shared_patient_is_told() -> None:
    vectors, lesions = _random_split(0)
    shared = replace(_lesion(900), patient_id=lesions[3].patient_id)
    found = checked(vectors, lesions, [shared])
    assert failed(found) == ["no patient in two splits"]
    assert lesions[3].patient_id not in found[0].found


@pytest.mark.parametrize("what", ["itself", "near duplicate"])
def test_what_must_not_be_found_is_told(what: str) -> None:
    vectors, lesions = _random_split(0)
    lesions[1] = replace(lesions[0], lesion_id="again")
    scores = evaluate(vectors, lesions, scopes=("all",))
    nearest = scores["all"].nearest.copy()
    nearest[0, 4] = scores["all"].rows[0] + (what != "itself")
    found = guards(vectors, lesions, {"all": replace(scores["all"], nearest=nearest)})
    assert failed(found) == ["no query finds itself or a near duplicate"]
    assert found[1].found.startswith("1 of ")


def test_a_score_that_is_too_good_for_shuffled_types_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, lesions = _random_split(0)

    def generous(*args: Any, **options: Any) -> dict[Any, ScopeScore]:
        return {key: replace(score, values=score.values + 0.1) for key, score in evaluate(*args, **options).items()}

    scores = evaluate(vectors, lesions)
    monkeypatch.setattr(module, "evaluate", generous)
    assert failed(guards(vectors, lesions, scores)) == ["shuffled types score chance"]


def test_a_score_that_depends_on_the_order_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, lesions = _random_split(0)

    def first_come(table: Any, some: Sequence[Lesion], **options: Any) -> dict[Any, ScopeScore]:
        scores = evaluate(table, some, **options)
        bonus = 0.5 * (some[0].lesion_id != lesions[0].lesion_id)
        return {key: replace(score, values=score.values + bonus) for key, score in scores.items()}

    scores = evaluate(vectors, lesions)
    monkeypatch.setattr(module, "evaluate", first_come)
    assert "the order of the lesions changes nothing" in failed(guards(vectors, lesions, scores))


def test_a_large_split_is_shuffled_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, lesions = _random_split(0)
    monkeypatch.setattr(module, "MOST_SHUFFLED", 50)
    sizes = []

    def counted(table: Any, some: Sequence[Lesion], **options: Any) -> dict[Any, ScopeScore]:
        sizes.append(len(some))
        return evaluate(table, some, **options)

    scores = evaluate(vectors, lesions)
    monkeypatch.setattr(module, "evaluate", counted)
    assert failed(guards(vectors, lesions, scores)) == []
    assert 30 <= min(sizes) <= 50
    assert max(sizes) == len(lesions)  # the order is of all


def test_where_nothing_can_be_shuffled_it_is_said() -> None:
    lesions = [_lesion(0, "lung"), _lesion(1, "liver")]
    found = checked(np.eye(2), lesions)
    assert failed(found) == []
    assert "nothing to shuffle" in found[2].found
