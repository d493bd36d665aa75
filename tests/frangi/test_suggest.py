"""Boxes are suggested where something round and bright lies in the body, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lesiondash.errors import FilterError
from lesiondash.frangi.suggest import body, suggest

SIDE = 160
SPACING = (1.5, 1.5)
NODULES = {(60, 60): 4.0, (95, 70): 6.0, (70, 105): 9.0}
"""Radius in mm by place, in pixels."""


def slice_hu(spacing: tuple[float, float] = SPACING) -> np.ndarray:
    """A fatty body with three soft discs, a bone and, outside, a bright table."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    hu = np.where((y - 80) ** 2 + (x - 80) ** 2 < 62**2, -90.0, -1000.0)
    for (row, column), radius_mm in NODULES.items():
        away = np.hypot((y - row) * spacing[0], (x - column) * spacing[1])
        hu[away < radius_mm] = 60
    hu[np.hypot(y - 110, x - 110) < 8] = 700
    hu[152:156] = 300
    return hu


def test_discs_are_found_with_their_size_and_nothing_else() -> None:
    found = suggest(slice_hu(), spacing_mm=SPACING)
    assert len(found) >= 3
    for (row, column), radius_mm in NODULES.items():
        box = min(
            (item.box for item in found[:3]), key=lambda box: np.hypot(box.center[0] - column, box.center[1] - row)
        )
        assert np.hypot(box.center[0] - column, box.center[1] - row) < 2
        assert box.size[0] * SPACING[1] == pytest.approx(2 * radius_mm, rel=0.5)
    inside = body(slice_hu(), SPACING)
    for item in found:
        x, y = item.box.center
        assert inside[int(y), int(x)]
        assert np.hypot(y - 110, x - 110) > 8  # not the bone
        assert 0 < item.response <= 1


def test_strongest_come_first_and_no_two_are_one_place() -> None:
    found = suggest(slice_hu(), spacing_mm=SPACING, count=6)
    weighted = [item.response * np.sqrt(item.sigma_mm) for item in found]
    assert weighted == sorted(weighted, reverse=True)
    assert suggest(slice_hu(), spacing_mm=SPACING, count=2) == found[:2]
    for place, item in enumerate(found):
        for other in found[:place]:
            apart = np.abs(np.subtract(item.box.center, other.box.center))
            assert (apart >= 0.6 * np.array(other.box.size)).any()


def test_sizes_are_in_mm_where_pixels_are_not_square() -> None:
    """The same body in pixels twice as tall gives boxes of the same mm."""
    square = suggest(slice_hu(), spacing_mm=SPACING, count=3)
    flat = suggest(slice_hu()[::2], spacing_mm=(2 * SPACING[0], SPACING[1]), count=3)
    for one in square:
        x, y = one.box.center
        near = min(flat, key=lambda item: np.hypot(item.box.center[0] - x, 2 * item.box.center[1] - y))
        assert np.hypot(near.box.center[0] - x, 2 * near.box.center[1] - y) < 4


@pytest.mark.parametrize("level", [-1000.0, 0.0, 3000.0])
def test_a_flat_slice_has_none(level: float) -> None:
    assert suggest(np.full((64, 64), level), spacing_mm=SPACING) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hu": np.full((64, 64), np.nan)}, "NaN"),
        ({"hu": np.zeros((4, 64, 64))}, "a slice of 16 pixels"),
        ({"hu": np.zeros((3, 3))}, "a slice of 16 pixels"),
        ({"hu": np.zeros((0, 0))}, "a slice of 16 pixels"),
        ({"hu": np.full((64, 64), "x")}, "a slice of 16 pixels"),
        ({"spacing_mm": (0.0, 1.0)}, "spacing"),
        ({"spacing_mm": (1.0,)}, "spacing"),
        ({"count": 0}, "0 boxes"),
    ],
)
def test_what_cannot_be_is_said(change: dict[str, Any], said: str) -> None:
    given = {"hu": slice_hu(), "spacing_mm": SPACING, **change}
    with pytest.raises(FilterError, match=said):
        suggest(given.pop("hu"), **given)
