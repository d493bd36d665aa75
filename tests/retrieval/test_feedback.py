"""Rocchio's query by angles, and a feedback that can be taken back."""

from __future__ import annotations

import numpy as np
import pytest

from lesiondash.errors import SearchError
from lesiondash.retrieval.feedback import Feedback, moved, refine


def test_moves_towards_the_liked_and_away_from_the_disliked() -> None:
    query, liked, disliked = np.array([1.0, 0, 0]), np.array([[0.0, 1, 0]]), np.array([[0.0, 0, 1]])
    found = refine(query, liked, disliked)
    assert found == pytest.approx(np.array([1, 0.75, -0.25]) / np.linalg.norm([1, 0.75, -0.25]))
    assert refine(query, np.empty((0, 3)), np.empty((0, 3))) == pytest.approx(query)
    assert refine(query, query[None], np.empty((0, 3))) == pytest.approx(query)


def test_nothing_left_gives_the_query_back() -> None:
    query = np.array([0.0, 1.0])
    assert refine(query, [[0.0, -4 / 3]], np.empty((0, 2))) == pytest.approx(query)
    with pytest.raises(SearchError, match="do not go with"):
        refine(query, np.eye(3), np.empty((0, 2)))


def test_every_change_can_be_taken_back() -> None:
    start = Feedback()
    first = start.more("a")
    second = first.less("b").less("a")
    assert (first.liked, first.disliked) == (("a",), ())
    assert (second.liked, second.disliked) == ((), ("b", "a"))  # no lesion is both
    assert second.less("a").disliked == ("b",)  # the same again takes it back
    assert second.undo().undo() == first
    assert second.undo().undo().undo().undo() == start
    assert not start
    assert first


def test_how_a_list_moved() -> None:
    assert moved(["a", "b", "c"], ["a", "c", "d"]) == (1, 1)
    assert moved(["a"], ["a"]) == (0, 0)
