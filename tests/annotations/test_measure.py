"""Measures against closed forms, and against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marked_series import marked_series, marks

from lesiondash.annotations.measure import bounds, length_mm, measures, recist, region_mask, statistics
from lesiondash.errors import AnnotationError
from lesiondash.records import Annotation, AnnotationKind

coordinate = st.floats(-500, 500)
point = st.tuples(coordinate, coordinate)


def test_a_length_is_in_the_pixels_own_mm() -> None:
    assert length_mm((0, 0), (3, 4), (1.0, 1.0)) == 5
    assert length_mm((0, 0), (6, 2), (2.0, 0.5)) == 5  # 3 mm across, 4 mm down


@given(point, point, st.floats(0.1, 5), st.floats(0.1, 5))
def test_length_is_symmetric_and_at_most_the_sum_of_its_parts(
    a: tuple[float, float], b: tuple[float, float], y_mm: float, x_mm: float
) -> None:
    found = length_mm(a, b, (y_mm, x_mm))
    assert found == pytest.approx(length_mm(b, a, (y_mm, x_mm)))
    middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    assert found == pytest.approx(2 * length_mm(a, middle, (y_mm, x_mm)), abs=1e-6)


@given(st.floats(0, 180), st.floats(1, 90), st.floats(5, 50), st.floats(1, 4))
def test_recist_finds_the_angle_between_the_axes(turn: float, angle: float, long: float, short: float) -> None:
    def ends(length: float, degrees: float) -> tuple[tuple[float, float], tuple[float, float]]:
        x, y = math.cos(math.radians(degrees)) * length / 2, math.sin(math.radians(degrees)) * length / 2
        return ((30 - x / 0.5, 30 - y / 2), (30 + x / 0.5, 30 + y / 2))  # mm to pixels of 2 × 0.5 mm

    found = recist((*ends(long, turn), *ends(short, turn + angle)), (2.0, 0.5))
    assert (found.long_mm, found.short_mm) == (pytest.approx(long), pytest.approx(short))
    assert found.angle_deg == pytest.approx(angle, abs=1e-3)
    if abs(90 - angle - 5) > 1e-3:
        assert found.perpendicular == (90 - angle <= 5)


def test_recist_is_the_same_in_whichever_order_the_axes_were_drawn() -> None:
    axes = ((10, 20), (34, 20), (20, 18), (20, 22))
    assert recist(axes, (2.0, 0.5)) == recist((*axes[2:], *axes[:2]), (2.0, 0.5))
    # Square in pixels, 20 mm down and 5 across: the long axis is the one that is long in the patient.
    assert recist(((0, 5), (10, 5), (5, 0), (5, 10)), (2.0, 0.5)).long_mm == 20
    assert not recist(((0, 0), (10, 0), (5, 5), (5, 5)), (1.0, 1.0)).perpendicular


def test_right_angles_in_pixels_are_none_in_pixels_that_are_not_square() -> None:
    assert recist(((0, 0), (10, 10), (0, 10), (10, 0)), (1.0, 1.0)).perpendicular
    assert not recist(((0, 0), (10, 10), (0, 10), (10, 0)), (2.0, 0.5)).perpendicular


def test_areas_and_statistics_of_a_ramp() -> None:
    series = marked_series()
    box, ellipse = measures(series, marks(series)[0]), measures(series, marks(series)[3])
    assert box.size_mm == (10, 20)
    assert box.area_mm2 == 200
    assert ellipse.area_mm2 == pytest.approx(math.pi * 5 * 20)  # half axes of 5 and 20 mm
    # hu = 100 + x − y over x = 10 … 29 and y = 5 … 14: the mean is that of the centre, the variances add.
    assert box.statistics is not None
    assert box.statistics.count == 200
    assert box.statistics.mean == pytest.approx(100 + 19.5 - 9.5)
    assert box.statistics.sd == pytest.approx(math.sqrt((20**2 - 1) / 12 + (10**2 - 1) / 12))
    assert (box.statistics.minimum, box.statistics.maximum) == (100 + 10 - 14, 100 + 29 - 5)
    assert ellipse.statistics is not None
    assert ellipse.statistics.mean == pytest.approx(100 + 29.5 - 19.5)  # symmetric round its centre


@pytest.mark.parametrize("corners", [((10, 5), (30, 15)), ((30, 15), (10, 5)), ((10, 15), (30, 5))])
def test_a_box_is_the_same_from_every_corner(corners: tuple[tuple[float, float], tuple[float, float]]) -> None:
    series = marked_series()
    assert measures(series, Annotation("x", "box", series.uid, 1, corners)) == measures(series, marks(series)[0])


@given(st.floats(2, 17), st.floats(2, 17))
def test_an_ellipse_has_about_as_many_pixels_as_its_area(width: float, height: float) -> None:
    one = Annotation("x", "ellipse", "u", 0, ((20.3 - width, 20.6 - height), (20.3 + width, 20.6 + height)))
    mask = region_mask(one, (41, 41))
    assert mask.sum() == pytest.approx(math.pi * width * height, abs=2.2 * (width + height))
    box = region_mask(Annotation("x", "box", "u", 0, one.points_px), (41, 41))
    assert not (mask & ~box).any()


@given(point, point, st.sampled_from(["box", "ellipse"]))
def test_statistics_are_of_the_pixels_of_the_mask(a: tuple[float, float], b: tuple[float, float], kind: str) -> None:
    series = marked_series()
    one = Annotation("x", kind, series.uid, 1, ((a[0] / 10, a[1] / 10), (b[0] / 10, b[1] / 10)))
    found = measures(series, one).statistics
    mask = region_mask(one, series.hu.shape[1:])
    if found is not None:
        assert found.count == mask.sum()
        assert not found.count or found.mean == pytest.approx(series.hu[1][mask].mean())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["box", "ellipse"])
@pytest.mark.parametrize("width", [1e-160, 1e-300])
def test_mark_as_thin_as_a_hair_has_no_pixels(kind: AnnotationKind, width: float) -> None:
    series = marked_series()
    mask = region_mask(Annotation("x", kind, series.uid, 0, ((0.0, 3.0), (width, 9.0))), (40, 60))
    assert not mask.any()


def test_what_has_no_area_has_no_pixels() -> None:
    series = marked_series()
    for one in marks(series):
        assert region_mask(one, (40, 60)).any() == (one.kind in ("box", "ellipse"))
    nowhere = Annotation("x", "box", series.uid, 0, ((500, 500), (510, 510)))
    found = measures(series, nowhere)
    assert found.statistics is not None
    assert found.statistics.count == 0
    assert np.isnan(found.statistics.mean)
    assert bounds(Annotation("x", "box", "u", 0, ((3, 3), (3, 9)))) is None


def test_statistics_of_one_value() -> None:
    assert statistics([7]) == statistics(np.full((3, 3), 7)).__class__(7, 0, 7, 7, 1)


def test_a_slice_that_is_not_there_is_said() -> None:
    series = marked_series()
    with pytest.raises(AnnotationError, match="slice 6"):
        measures(series, Annotation("x", "box", series.uid, 5, ((1, 1), (2, 2))))
    with pytest.raises(AnnotationError, match="slice 0"):
        measures(series, Annotation("x", "box", series.uid, -1, ((1, 1), (2, 2))))
