"""Guards pass on honest vectors and tell of each way to cheat."""

from __future__ import annotations

from dataclasses import replace

from test_protocol import _lesion, _random_split

from lesiondash.retrieval.guards import guards


def test_honest_vectors_pass() -> None:
    vectors, lesions = _random_split(0)
    found = guards(vectors, lesions, [_lesion(900, patient="elsewhere")])
    assert len(found) == 4
    assert all(guard.passed for guard in found), found


def test_a_shared_patient_is_told() -> None:
    vectors, lesions = _random_split(0)
    shared = replace(_lesion(900), patient_id=lesions[3].patient_id)
    failed = [guard for guard in guards(vectors, lesions, [shared]) if not guard.passed]
    assert [guard.name for guard in failed] == ["no patient in two splits"]
    assert lesions[3].patient_id not in failed[0].found
