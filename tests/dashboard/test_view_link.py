"""A link says what is shown and comes back the same; a broken one is named."""

from __future__ import annotations

import doctest
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesiondash.dashboard import view_link
from lesiondash.dashboard.view_link import ViewLink, from_query, to_query
from lesiondash.errors import LinkError
from lesiondash.frangi.presets import PRESETS
from lesiondash.records import SCOPES, Box, FrangiParams, Window
from lesiondash.retrieval.table import Where

numbers = st.integers(-4000, 4000).map(lambda n: n / 4)
boxes = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h), numbers, numbers, *[st.integers(1, 999).map(lambda n: n / 8)] * 2
)
names = st.none() | st.lists(st.sampled_from(["liver", "soft tissue", "test"]), min_size=1, unique=True)
sizes = st.tuples(st.integers(0, 50), st.sampled_from([50.5, math.inf]))
restrictions = st.builds(
    lambda types, splits, size_mm: Where(types=types, splits=splits, size_mm=size_mm), names, names, sizes
)
views = st.builds(
    ViewLink,
    st.none() | st.text(min_size=1, max_size=30),
    st.none() | st.integers(1, 3000),
    st.none() | boxes,
    st.none() | st.builds(Window, numbers, st.integers(4, 16_000).map(lambda n: n / 4)),
    st.none() | st.sampled_from(SCOPES),
    st.none() | restrictions,
)


@given(views, st.sampled_from(list(PRESETS.values())))
def test_a_link_comes_back_the_same(view: ViewLink, params: FrangiParams) -> None:
    for mark in ("", "?"):
        assert asdict(from_query(mark + to_query(view, params))) == asdict(view)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("box=1,2,3", "box"),
        ("box=1,2,3,x", "box"),
        ("box=9,9,1,1", "no area"),
        ("box=nan,1,2,3", "box"),
        ("window=40,0", "window"),
        ("window=inf,400", "window"),
        ("slice=0", "slice"),
        ("slice=1.5", "slice"),
        ("slice=1e300", "slice"),
        ("scope=everyone", "scope"),
        ("size_mm=30,5", "size_mm"),
        ("size_mm=x", "size_mm"),
    ],
)
def test_a_broken_link_is_named(query: str, word: str) -> None:
    with pytest.raises(LinkError, match=word):
        from_query(query)


def test_names_of_others_are_left_alone() -> None:
    assert from_query("voila-theme=dark&rho=7") == ViewLink()


def test_examples() -> None:
    assert doctest.testmod(view_link).failed == 0
