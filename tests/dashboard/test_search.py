"""The search panel's actions, called as plain methods: narrowing, steering, explaining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def page(demonstration: Path) -> Any:
    from lesiondash.dashboard import Dashboard

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONDASH_DATA", str(demonstration))
        yield Dashboard()


@pytest.fixture
def search(page: Any) -> Any:
    page.search.narrow(None, [None, None])
    page.search.choose_k(9)
    page.search.choose_ranking("cosine")
    page.search.choose_scope("cross")
    page.load.open_case(page.store.cases[0].name)
    page.search.wait()
    return page.search


def shown(search: Any) -> list[str]:
    return [tile["lesion_id"] for tile in search.widget.hits]


def test_narrowed_to_a_type_and_sizes(search: Any) -> None:
    search.narrow(["liver"], [10.0, 30.0])
    assert len(search.widget.hits) == 9
    assert {tile["type"] for tile in search.widget.hits} == {"liver"}
    assert all(9.95 <= tile["size_mm"] <= 30.05 for tile in search.widget.hits)
    candidates = int(search.widget.status.split()[0].replace(",", ""))
    liver = [i for i in search.store.gallery.lesions if i.type == "liver" and 10 <= max(i.diameters_mm) <= 30]
    assert candidates == len([i for i in liver if i.patient_id != search.store.cases[0].patient_id])
    search.narrow(["liver"], [900.0, None])
    assert search.widget.hits == []
    assert "No lesion is left" in search.widget.status
    search.narrow(["liver"], [30.0, 10.0])
    assert "smallest size" in search.state.notice.text


def test_narrowed_to_a_split(search: Any) -> None:
    search.narrow(None, [None, None], ["validation"])
    by_id = search.store.by_id
    assert {by_id[lesion_id].split for lesion_id in shown(search)} == {"validation"}
    assert search.widget.hits[0]["study"] == str(int(by_id[shown(search)[0]].study_id.split("_")[-1]))


def test_ranked_in_another_way_says_how_far_it_differs(search: Any) -> None:
    nine = shown(search)
    for way in search.widget.rankings[1:]:
        search.choose_ranking(way)
        new = len(set(shown(search)) - set(nine))
        assert f"by {way} {new} of 9 are new" in search.widget.status
    search.choose_ranking("magic")
    assert "no ranking 'magic'" in search.state.notice.text
    search.choose_ranking("cosine")
    assert shown(search) == nine
    assert "rank" not in search.widget.status


def test_more_tiles(search: Any) -> None:
    nine = shown(search)
    search.choose_k(25)
    assert len(shown(search)) == 25
    assert shown(search)[:9] == nine
    search.choose_k(8)
    assert "no 8 tiles" in search.state.notice.text
    assert len(shown(search)) == 25


def test_likes_and_dislikes_move_the_list_and_are_taken_back(search: Any) -> None:
    nine = shown(search)
    search.less(nine[0])
    assert nine[0] not in shown(search)
    assert len(shown(search)) == 9
    search.more(nine[4])
    assert search.widget.feedback["liked"] == (nine[4],)
    assert search.widget.feedback["disliked"] == (nine[0],)
    assert search.widget.feedback["said"].startswith("1 wanted, 1 not: ")
    assert shown(search).index(nine[4]) < 4
    search.undo()
    search.undo()
    assert shown(search) == nine
    assert search.widget.feedback["said"] == ""
    search.more(nine[8])
    search.reset()
    assert shown(search) == nine


def test_a_new_box_forgets_the_likes(search: Any, page: Any) -> None:
    search.more(shown(search)[3])
    page.load.open_case(page.store.cases[1].name)
    assert search.widget.feedback == {}


def test_shares_sum_to_the_similarity(search: Any) -> None:
    tile = search.widget.hits[2]
    search.explain(tile["lesion_id"])
    why = search.widget.why
    assert why["lesion_id"] == tile["lesion_id"]
    for side in ("first", "second"):
        assert sum(map(sum, why[side])) == pytest.approx(why["similarity"])
    assert why["similarity"] == pytest.approx(tile["similarity"], abs=2e-3)
    search.explain(tile["lesion_id"])
    assert search.widget.why == {}


def test_vote_says_what_it_was_worth(search: Any) -> None:
    types = [tile["type"] for tile in search.widget.hits]
    most = max(types.count(kind) for kind in types)
    assert search.widget.vote.startswith(f"{most} of 9 are ")
    record = search._records[9]
    assert record.cases.sum() > 100
    share = record.right[most] / record.cases[most]
    assert f"{100 * share:.0f} % of known cases" in search.widget.vote
    plain = search.widget.vote
    search.choose_k(25)
    assert " of 25 are " in search.widget.vote
    assert "known cases" in search.widget.vote
    search.choose_k(9)
    assert search.widget.vote == plain


def test_a_vote_of_other_searches_has_no_share(search: Any) -> None:
    """The record counts the nearest of other patients by cosine: it says nothing of lesions found in another way."""
    plain, nine = search.widget.vote, shown(search)
    assert "known cases" in plain
    ways = (
        (lambda: search.narrow(None, [5.0, 30.0]), lambda: search.narrow(None, [None, None])),
        (lambda: search.narrow(None, [None, None], ["train"]), lambda: search.narrow(None, [None, None])),
        (lambda: search.choose_scope("all"), lambda: search.choose_scope("cross")),
        (lambda: search.choose_scope("same"), lambda: search.choose_scope("cross")),
        (lambda: search.choose_ranking("k-reciprocal"), lambda: search.choose_ranking("cosine")),
        (lambda: search.more(nine[2]), search.undo),
    )
    for there, back in ways:
        there()
        assert f" of {len(shown(search))} are " in search.widget.vote
        assert "known cases" not in search.widget.vote
        back()
        assert search.widget.vote == plain
    search.narrow(["liver"], [None, None])  # all nine are liver, because that was asked for
    assert search.widget.vote == ""


def test_a_lasso_has_no_vote_and_the_nine_have_theirs_again(search: Any, page: Any) -> None:
    plain = search.widget.vote
    page.map.select([lesion.lesion_id for lesion in page.store.gallery.lesions[:12]])
    assert len(shown(search)) == 12
    assert search.widget.vote == ""
    search.act({"type": "back"})
    assert search.widget.vote == plain
    page.map.select([])


def test_a_lesion_seen_again_has_a_timeline(search: Any, page: Any) -> None:
    store = page.store
    lesion = next(i for i in store.gallery.lesions if len(store.follow_ups(i.lesion_id)) > 1)
    again = store.follow_ups(lesion.lesion_id)
    assert {each.patient_id for each in again} == {lesion.patient_id}
    assert len({each.study_id for each in again}) > 1
    scan, index = store.open_lesion(lesion.lesion_id)
    page.state.show(scan.uid, index, lesion.box)
    assert [entry["lesion_id"] for entry in search.widget.timeline] == [each.lesion_id for each in again]
    assert [entry["now"] for entry in search.widget.timeline].count(True) == 1
    search.choose_scope("same")
    tiles = {tile["lesion_id"]: tile for tile in search.widget.hits}
    assert {each.lesion_id for each in again} - {lesion.lesion_id} <= set(tiles)


def test_a_timeline_names_studies_as_the_tiles_do(search: Any, page: Any) -> None:
    """A study may hold two likely annotations of one lesion: these are not two studies."""
    store = page.store
    groups = (store.follow_ups(lesion.lesion_id) for lesion in store.gallery.lesions)
    again = next(group for group in groups if len(group) > len({each.study_id for each in group}) > 1)
    scan, index = store.open_lesion(again[0].lesion_id)
    page.state.show(scan.uid, index, again[0].box)
    search.choose_scope("same")
    tiles = {tile["lesion_id"]: tile["study"] for tile in search.widget.hits}
    named = {entry["lesion_id"]: entry["text"].partition(":")[0] for entry in search.widget.timeline}
    assert len(named) == len(again)
    for lesion in again[1:]:
        assert named[lesion.lesion_id] == f"study {tiles[lesion.lesion_id]}"
