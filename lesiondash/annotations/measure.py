"""What annotations measure: lengths, RECIST axes, areas, and the values inside of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesiondash.annotations.place import check_slice
from lesiondash.records import Annotation, Box, Series

Points = Sequence[tuple[float, float]]
PERPENDICULAR_DEG = 5.0
"""RECIST axes are taken as perpendicular up to this deviation."""


@dataclass(frozen=True)
class Recist:
    """The long and short axis in mm, and the angle between them in degrees, 0 to 90."""

    long_mm: float
    short_mm: float
    angle_deg: float

    @property
    def perpendicular(self) -> bool:
        """Whether the axes stand on each other, within `PERPENDICULAR_DEG`."""
        return 90 - self.angle_deg <= PERPENDICULAR_DEG


@dataclass(frozen=True)
class Statistics:
    """Values of the pixels whose centre lies inside; sd of the population (divided by count), nan where count is 0."""

    mean: float
    sd: float
    minimum: float
    maximum: float
    count: int


@dataclass(frozen=True)
class Measures:
    """What one annotation measures; None is what its kind does not have. size_mm: width and height."""

    length_mm: float | None = None
    recist: Recist | None = None
    size_mm: tuple[float, float] | None = None
    area_mm2: float | None = None
    statistics: Statistics | None = None

    @property
    def longest_mm(self) -> float | None:
        """The one length that says how large it is: RECIST's longer axis, the length, or the longer side."""
        if self.recist is not None:
            return max(self.recist.long_mm, self.recist.short_mm)
        return max(self.size_mm) if self.size_mm is not None else self.length_mm


def length_mm(a: tuple[float, float], b: tuple[float, float], spacing_mm: tuple[float, float]) -> float:
    """Return the distance of two points (x, y) in pixels; spacing_mm is (y, x)."""
    return math.hypot((b[0] - a[0]) * spacing_mm[1], (b[1] - a[1]) * spacing_mm[0])


def recist(points_px: Points, spacing_mm: tuple[float, float]) -> Recist:
    """Measure the axes given by two ends of the one and two of the other; spacing_mm is (y, x).

    The longer one is the long axis, in whichever order they were drawn. The angle is that in the patient: pixels that
    are not square bend it. It is 0 where an axis has no length.
    """
    a, b, c, d = points_px
    first, second = length_mm(a, b, spacing_mm), length_mm(c, d, spacing_mm)
    x_mm2 = (b[0] - a[0]) * (d[0] - c[0]) * spacing_mm[1] ** 2
    y_mm2 = (b[1] - a[1]) * (d[1] - c[1]) * spacing_mm[0] ** 2
    cosine = abs(x_mm2 + y_mm2) / (first * second) if first * second > 0 else 1.0
    return Recist(max(first, second), min(first, second), math.degrees(math.acos(min(cosine, 1.0))))


def bounds(annotation: Annotation) -> Box | None:
    """Return the rectangle round an annotation, None where it has no area; an arrow and a text have none."""
    if annotation.kind not in ("box", "ellipse", "recist", "length"):
        return None
    xs, ys = zip(*annotation.points_px, strict=True)
    if max(xs) <= min(xs) or max(ys) <= min(ys):
        return None
    return Box(min(xs), min(ys), max(xs), max(ys))


def region_mask(annotation: Annotation, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return which pixels of a slice (y, x) have their centre in a box or an ellipse; none in any other kind."""
    mask = np.zeros(shape, bool)
    box = bounds(annotation)
    if box is not None and annotation.kind in ("box", "ellipse"):
        rows, columns = _reach(box, shape)
        mask[rows, columns] = _inside(annotation.kind, box, rows, columns)
    return mask


def _reach(box: Box, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of a slice that a box reaches; empty outside of the image."""
    y0, y1 = (min(max(math.floor(box.y0), 0), shape[0]), min(max(math.ceil(box.y1), 0), shape[0]))
    x0, x1 = (min(max(math.floor(box.x0), 0), shape[1]), min(max(math.ceil(box.x1), 0), shape[1]))
    return slice(y0, y1), slice(x0, x1)


def _inside(kind: str, box: Box, rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
    (center_x, center_y), (width, height) = box.center, box.size
    # Seen from a mark as thin as a hair, far pixels lie at infinity: outside, as they are.
    with np.errstate(over="ignore"):
        across = (np.arange(columns.start, columns.stop) + 0.5 - center_x) / (width / 2)
        down = (np.arange(rows.start, rows.stop) + 0.5 - center_y) / (height / 2)
        if kind == "ellipse":
            return np.asarray(down[:, None] ** 2 + across[None, :] ** 2 <= 1)
    return np.asarray((np.abs(down) <= 1)[:, None] & (np.abs(across) <= 1)[None, :])


def statistics(values: npt.ArrayLike) -> Statistics:
    """Return mean, standard deviation, extremes and number of some values, of any shape."""
    flat = np.asarray(values, np.float64).ravel()
    if not flat.size:
        return Statistics(math.nan, math.nan, math.nan, math.nan, 0)
    return Statistics(float(flat.mean()), float(flat.std()), float(flat.min()), float(flat.max()), int(flat.size))


def measures(series: Series, annotation: Annotation) -> Measures:
    """Measure an annotation on its series; raises `AnnotationError` for a slice that is not there."""
    check_slice(series, annotation)
    spacing_mm, points = series.spacing_mm[1:], annotation.points_px
    if annotation.kind == "length":
        return Measures(length_mm=length_mm(points[0], points[1], spacing_mm))
    if annotation.kind == "recist":
        return Measures(recist=recist(points, spacing_mm))
    box = bounds(annotation) if annotation.kind in ("box", "ellipse") else None
    if box is None:
        return Measures()
    width_mm, height_mm = box.size[0] * spacing_mm[1], box.size[1] * spacing_mm[0]
    area_mm2 = width_mm * height_mm * (math.pi / 4 if annotation.kind == "ellipse" else 1)
    rows, columns = _reach(box, series.hu.shape[1:])
    values = series.hu[annotation.slice_index, rows, columns][_inside(annotation.kind, box, rows, columns)]
    return Measures(size_mm=(width_mm, height_mm), area_mm2=area_mm2, statistics=statistics(values))
