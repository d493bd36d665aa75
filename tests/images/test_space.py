"""Where two series lie to each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lesiondash.images.space import shift_between
from lesiondash.records import Series, Source

ROW, COLUMN = np.array([0.8, 0.6, 0.0]), np.array([-0.6, 0.8, 0.0])


def placed(origin: tuple[float, float, float], size: tuple[int, int], spacing: tuple[float, float]) -> Series:
    source = Source("study", "series", "frame", "class", ("a",), (1,), (*ROW, *COLUMN), (origin,))
    return Series("uid", "", "CT", np.zeros((1, *size), np.int16), (1.0, *spacing), (0.0,), source=source)


def test_the_same_point_of_the_patient_is_found_in_both() -> None:
    first, second = placed((10, -20, 5), (40, 60), (0.7, 0.9)), placed((-31, 8, 5), (100, 80), (1.1, 0.5))
    shift = shift_between(first, second)
    assert shift is not None
    point = np.array([3.0, 4.0, 5.0])

    def from_middle(series: Series) -> np.ndarray:
        assert series.source is not None
        assert series.source.origins_mm is not None
        away = point - series.source.origins_mm[0]
        height, width = series.hu.shape[1:]
        _, dy, dx = series.spacing_mm
        return np.array([away @ ROW - (width - 1) / 2 * dx, away @ COLUMN - (height - 1) / 2 * dy])

    assert from_middle(first) + shift == pytest.approx(from_middle(second))


@pytest.mark.parametrize(
    "change",
    [
        {"frame_of_reference_uid": "other"},
        {"frame_of_reference_uid": ""},
        {"orientation": (1, 0, 0, 0, 0, -1)},
        {"orientation": None},
        {"origins_mm": None},
    ],
)
def test_series_that_are_not_known_to_lie_together_have_no_shift(change: dict[str, object]) -> None:
    first = placed((0, 0, 0), (4, 4), (1, 1))
    assert first.source is not None
    other = replace(first, source=replace(first.source, **change))
    assert shift_between(first, other) is None
    assert shift_between(other, first) is None
    assert shift_between(first, replace(first, source=None)) is None
