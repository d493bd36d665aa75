from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesiondash.images.followups import lesion_numbers, likely_follow_up
from lesiondash.records import Box, Lesion

FIRST = Lesion(
    lesion_id="a",
    patient_id="1",
    study_id="1_1",
    series_id="1_1_1",
    slice_index=10,
    box=Box(100, 100, 120, 120),
    type="liver",
    split="train",
    diameters_mm=(10, 8),
    spacing_mm=(5.0, 0.8, 0.8),
    normalized_location=(0.5, 0.5, 0.5),
    slice_range=(8, 12),
    image_path=Path("none"),
)
LATER = replace(FIRST, lesion_id="b", study_id="1_2")


def moved(lesion: Lesion, x_px: float, z: float) -> Lesion:
    box = Box(lesion.box.x0 + x_px, lesion.box.y0, lesion.box.x1 + x_px, lesion.box.y1)
    return replace(lesion, box=box, normalized_location=(0.5, 0.5, 0.5 + z))


@pytest.mark.parametrize(
    ("other", "is_one"),
    [
        (LATER, True),
        (moved(LATER, 49, 0), True),  # 39.2 mm
        (moved(LATER, 51, 0), False),  # 40.8 mm
        (moved(LATER, 0, 0.029), True),
        (moved(LATER, 0, 0.031), False),
        (replace(LATER, study_id="1_1"), False),
        (replace(LATER, patient_id="2"), False),
    ],
)
def test_place_study_and_patient_decide(other: Lesion, is_one: bool) -> None:
    assert likely_follow_up(FIRST, other) is is_one
    assert likely_follow_up(other, FIRST) is is_one


def test_numbers_follow_chains() -> None:
    third = replace(moved(LATER, 60, 0), lesion_id="c", study_id="1_3")  # near the second, far from the first
    second = moved(LATER, 30, 0)
    stranger = replace(FIRST, patient_id="2")
    np.testing.assert_array_equal(lesion_numbers([FIRST, stranger, second, third]), [0, 1, 0, 0])
    assert len(lesion_numbers([])) == 0
