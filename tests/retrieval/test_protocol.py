"""The evaluation: known angles, chance, invariance and hand-made near duplicates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesiondash.errors import SearchError
from lesiondash.records import UNLABELLED, Box, Lesion
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.protocol import evaluate
from lesiondash.retrieval.scopes import Galleries, check_apart, near_duplicates


def _lesion(
    row: int,
    kind: str = "lung",
    patient: str | None = None,
    series: str | None = None,
    *,
    slice_index: int = 0,
    center: tuple[float, float] = (100, 100),
    side: float = 10,
    spacing_mm: tuple[float, float, float] = (1, 1, 1),
) -> Lesion:
    x, y = center
    return Lesion(
        lesion_id=f"L{row}",
        patient_id=patient or f"p{row}",
        study_id="1",
        series_id=series or f"s{row}",
        slice_index=slice_index,
        box=Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2),
        type=kind,
        split="test",
        diameters_mm=(10, 8),
        spacing_mm=spacing_mm,
        normalized_location=(0.5, 0.5, 0.5),
        slice_range=(0, 1),
        image_path=Path("none.png"),
    )


def _random_split(seed: int, count: int = 240) -> tuple[np.ndarray[Any, Any], list[Lesion]]:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["lung", "liver", "bone"], count, p=[0.5, 0.3, 0.2])
    lesions = [_lesion(row, str(kind), patient=f"p{row % 30}") for row, kind in enumerate(kinds)]
    return rng.normal(size=(count, 16)).astype(np.float32), lesions


def _near(first: Lesion, second: Lesion) -> bool:
    pairs = near_duplicates([first, second])
    assert pairs[0, 0]
    assert pairs[1, 1]
    assert pairs[0, 1] == pairs[1, 0]
    return bool(pairs[0, 1])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"series": "t"}, False),  # another series, whatever the place
        ({"slice_index": 10, "center": (112, 116)}, True),  # 10 mm along z, 20 mm in-plane: both bounds
        ({"slice_index": 11, "center": (100, 100)}, False),
        ({"slice_index": 10, "center": (112, 117)}, False),
        ({"slice_index": 5, "center": (149, 149)}, True),  # 50 mm crops that overlap
        ({"slice_index": 6, "center": (149, 149)}, False),
        ({"slice_index": 5, "center": (150, 100)}, False),  # crops that only touch
        ({"slice_index": 5, "center": (160, 100), "side": 60}, True),  # its crop is 90 mm: reach 70
        ({"slice_index": 5, "center": (170, 100), "side": 60}, False),
    ],
)
def test_near_duplicates_on_hand_made_lesions(other: dict[str, Any], expected: bool) -> None:
    assert _near(_lesion(0, series="s"), _lesion(1, **{"series": "s", **other})) is expected


def test_distances_are_in_mm_whatever_the_sign_of_the_spacing() -> None:
    fine = {"series": "s", "spacing_mm": (-0.5, 0.5, 0.5)}
    first = _lesion(0, **fine)  # type: ignore[arg-type]
    assert _near(first, _lesion(1, slice_index=20, center=(124, 132), **fine))  # type: ignore[arg-type]
    assert not _near(first, _lesion(1, slice_index=21, center=(124, 132), **fine))  # type: ignore[arg-type]


def test_known_angles_give_the_scores_counted_by_hand() -> None:
    degrees = np.deg2rad([0, 1, 3, 90])
    vectors = np.column_stack([np.cos(degrees), np.sin(degrees)])
    lesions = [_lesion(0, "lung"), _lesion(1, "lung"), _lesion(2, "liver"), _lesion(3, "liver")]
    score = evaluate(vectors, lesions, scopes=["all"], ks=(1,))["all"]
    # L0 finds L1 first, L1 finds L0, L2 finds L1, L0 and only then L3, L3 finds L2.
    assert score.scores["P@1"] == 3 / 4
    assert score.scores["AP_min@10"] == pytest.approx((1 + 1 + 1 / 3 + 1) / 4)
    assert score.chance["P@1"] == pytest.approx(1 / 3)
    assert score.chance["AP_min@10"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert score.ceiling["P@1"] == score.ceiling["AP_min@10"] == 1
    assert (score.queries, score.skipped) == (4, 0)
    assert score.per_type["liver"].scores["P@1"] == 0.5
    assert score.macro["P@1"] == pytest.approx(0.75)
    assert score.macro_chance["P@1"] == pytest.approx(1 / 3)
    assert score.macro_ceiling["P@1"] == 1


def test_near_duplicate_of_the_query_is_not_in_its_gallery() -> None:
    vectors = np.array([[1.0, 0], [1, 0.01], [0, 1]])
    apart = [_lesion(0, patient="p"), _lesion(1, patient="p"), _lesion(2, "liver")]
    same_place = [replace(lesion, series_id="s") for lesion in apart[:2]] + apart[2:]
    assert evaluate(vectors, apart)["same"].queries == 2
    assert evaluate(vectors, same_place)["same"].queries == 0
    assert evaluate(vectors, same_place)["all"].skipped == 3
    assert np.isnan(evaluate(vectors, same_place)["all"].scores["P@1"])


def test_scopes_divide_by_patient() -> None:
    vectors = np.array([[1.0, 0], [1, 0.1], [1, 0.01], [0, 1]])
    lesions = [
        _lesion(0, "lung", "a"),
        _lesion(1, "lung", "a"),
        _lesion(2, "liver", "b"),
        _lesion(3, "lung", "b"),
    ]
    scores = evaluate(vectors, lesions, ks=(1,))
    assert scores["same"].queries == 2
    assert scores["same"].scores["P@1"] == 1
    assert scores["cross"].queries == 3  # L0 and L1 meet the liver first, L3 finds lung among a's
    assert scores["cross"].scores["P@1"] == pytest.approx(1 / 3)


def test_unlabelled_lesions_are_candidates_but_no_queries() -> None:
    vectors = np.array([[1.0, 0], [1, 0.1], [0, 1]])
    lesions = [_lesion(0), _lesion(1, UNLABELLED), _lesion(2)]
    score = evaluate(vectors, lesions, scopes=["all"], ks=(1,))["all"]
    assert score.queries == 2
    assert score.scores["P@1"] == 0


def test_shuffled_labels_give_chance() -> None:
    differences = []
    for seed in range(12):
        vectors, lesions = _random_split(seed)
        score = evaluate(vectors, lesions, scopes=["all"])["all"]
        differences.append([score.scores[name] - score.chance[name] for name in ("P@1", "P@10", "AP_min@10")])
    mean, error = np.mean(differences, axis=0), np.std(differences, axis=0, ddof=1) / np.sqrt(12)
    assert (np.abs(mean) < 4 * error).all()
    assert (error < 0.02).all()


def test_clustered_vectors_reach_the_ceiling() -> None:
    vectors, lesions = _random_split(1)
    axes = {"lung": 0, "liver": 1, "bone": 2}
    vectors *= 0.01
    for row, lesion in enumerate(lesions):
        vectors[row, axes[lesion.type]] += 1
    for score in evaluate(vectors, lesions).values():
        assert score.scores == pytest.approx(score.ceiling)


def test_permuting_the_gallery_changes_nothing() -> None:
    vectors, lesions = _random_split(2)
    order = np.random.default_rng(0).permutation(len(lesions))
    once, again = evaluate(vectors, lesions), evaluate(vectors[order], [lesions[row] for row in order])
    for scope, score in once.items():
        assert again[scope].scores == pytest.approx(score.scores)
        assert again[scope].chance == pytest.approx(score.chance)


def test_scores_equal_a_slow_evaluation() -> None:
    vectors, lesions = _random_split(3, count=60)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    hits = []
    for row, query in enumerate(lesions):
        others = [o for o in range(60) if o != row and lesions[o].patient_id != query.patient_id]
        ranked = sorted(others, key=lambda other: -unit[other] @ unit[row])
        hits.append(np.mean([lesions[other].type == query.type for other in ranked[:10]]))
    assert evaluate(vectors, lesions)["cross"].scores["P@10"] == pytest.approx(np.mean(hits))


def test_strict_scope_and_track_part_follow_ups_from_the_rest() -> None:
    """Two annotations of one lesion in two studies, and another lesion of the same patient and type."""
    base = _lesion(0, patient="a", series="s0")
    again = replace(_lesion(1, patient="a", series="s1"), study_id="2")
    elsewhere = replace(_lesion(2, patient="a", series="s1", center=(300, 300)), study_id="2")
    other = _lesion(3, "liver", patient="b")
    lesions = [base, again, elsewhere, other]
    galleries = Galleries(lesions)
    assert galleries.follow_ups.tolist()[0] == [False, True, False, False]
    assert np.flatnonzero(galleries.allowed("same")[0]).tolist() == [1, 2]
    assert np.flatnonzero(galleries.allowed("same-strict")[0]).tolist() == [2]
    assert np.flatnonzero(galleries.allowed("track")[0]).tolist() == [1, 2]
    assert np.flatnonzero(galleries.allowed("track")[1]).tolist() == [0]
    assert np.flatnonzero(galleries.allowed("released-code")[0]).tolist() == [0, 1, 2, 3]
    vectors = np.array([[1.0, 0], [0.9, 0.1], [1, 0.01], [0, 1]])
    scores = evaluate(vectors, lesions, scopes=["track", "released-code"], ks=(1,))
    assert scores["track"].queries == 2  # only a lesion that has a follow-up can be tracked
    assert scores["track"].scores["P@1"] == 0.5  # L0 meets L2 first, L1 has but L0 to find
    assert scores["released-code"].scores["P@1"] == 1  # each finds itself


def test_splits_that_share_a_patient_are_told_without_naming_him() -> None:
    check_apart([_lesion(0)], [_lesion(1)])
    with pytest.raises(SearchError, match="1 patients are in two splits") as told:
        check_apart([_lesion(0), _lesion(1, patient="secret")], [_lesion(2, patient="secret")])
    assert "secret" not in str(told.value)


def test_what_each_query_scored_is_kept() -> None:
    vectors, lesions = _random_split(4, count=80)
    score = evaluate(vectors, lesions, scopes=["cross"])["cross"]
    assert score.queries + score.skipped == 80
    assert score.coverage == score.queries / 80
    place = 7
    own = lesions[score.rows[place]]
    types = [lesions[row].type for row in score.nearest[place]]
    assert score.values[place, score.measures.index("P@10")] == types.count(own.type) / 10
    assert own.patient_id not in [lesions[row].patient_id for row in score.nearest[place]]
    assert score.candidates[place] == sum(lesion.patient_id != own.patient_id for lesion in lesions)


def test_refuses_repeated_ids_and_odd_numbers_of_vectors() -> None:
    with pytest.raises(SearchError, match="'L0' occurs twice"):
        evaluate(np.eye(2), [_lesion(0), _lesion(0)])
    with pytest.raises(SearchError, match="3 vectors but 2"):
        evaluate(np.eye(3), [_lesion(0), _lesion(1)])
    with pytest.raises(SearchError, match="scope"):
        evaluate(np.eye(2), [_lesion(0), _lesion(1)], scopes=["near"])  # type: ignore[list-item]


def test_vectors_that_have_nearly_collapsed_are_ranked_as_the_search_ranks_them() -> None:
    random = np.random.default_rng(0)
    vectors = np.ones(64) + 1e-4 * random.normal(size=(60, 64))  # cosines apart by 1e-8, less than float32 tells
    lesions = [_lesion(row, patient=f"p{row}") for row in range(60)]
    index = Index(
        vectors, {name: [getattr(item, name) for item in lesions] for name in ("lesion_id", "patient_id", "type")}
    )
    found = evaluate(vectors, lesions, scopes=["all"])["all"].nearest
    for row, nearest in enumerate(found):
        hits = index.search(index.vectors[row], k=10, exclude=[lesions[row].lesion_id])
        assert [f"L{each}" for each in nearest] == [hit.lesion_id for hit in hits]
