"""Where in the phantom's anatomy a lesion of each type belongs: it is placed there, and cut off where that ends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from lesiondash.images.phantom_body import Person
from lesiondash.images.phantom_canvas import LATTICE_MM, Array, Canvas
from lesiondash.images.phantom_organs import Organs
from lesiondash.images.phantom_painting import Regions, paint_slice

WARP_SCALE_MM = 5.0
MARGIN_MM = 5.0
"""How far a lesion may grow beyond the bone, lung or mediastinum that it began in."""
SURVEY_PX = 144


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A slice painted without its lesions: the canvas, and the regions on it."""

    canvas: Canvas
    regions: Regions

    @cached_property
    def _air(self) -> Array:
        """How much like air or lung each pixel is, in [0, 1]."""
        return np.asarray(np.clip((-300 - self.canvas.hu) / 200, 0, 1), np.float32)

    def host(self, code: int) -> Array:
        """Where a lesion of a coarse type (1 to 8) may lie, (px, px) in [0, 1]."""
        return np.asarray(self._host(code), np.float32)

    def _host(self, code: int) -> Array:
        regions, solid = self.regions, 1 - self.regions.bone
        if code == 1:
            return self._about(regions.bone)
        if code == 2:
            return regions.abdomen * solid * (1 - regions.liver)
        if code == 3:
            return regions.lung * self._about(1 - self._air) * solid
        if code == 4:
            return regions.liver
        if code == 5:
            return regions.lung * self._about(self._air) * solid
        if code == 7:
            wall: Array = np.maximum(1 - regions.lung - regions.abdomen, 0)
            return wall * solid * (1 - self._air)
        return solid * (1 - self._air)

    def _about(self, mask: Array) -> Array:
        """The mask, and a soft margin round it."""
        size = 2 * round(MARGIN_MM / (self.canvas.edge_mm / 1.6) / 2) + 1
        return np.asarray(np.clip(3 * ndimage.uniform_filter(mask, size), 0, 1), np.float32)


def canvas_at(person: Person, x_mm: Array, y_mm: Array, z: float) -> Canvas:
    """An empty canvas over these reference millimetres, warped as this person is."""
    warp = tuple(WARP_SCALE_MM * part.slice_at(x_mm, y_mm, z) for part in person.warp)
    return Canvas(
        x_mm, y_mm, (warp[0], warp[1]), person.wobble.slice_at(x_mm, y_mm, z), person.texture.slice_at(x_mm, y_mm, z)
    )


def paint_anatomy(canvas: Canvas, person: Person, organs: Organs, z: float, phase: str) -> Anatomy:
    """Paint height z onto an empty canvas."""
    return Anatomy(canvas, paint_slice(canvas, person, organs, z, phase, 118 + person.fat_mm))


def survey(person: Person, organs: Organs, z: float, phase: str) -> Anatomy:
    """A coarse slice, to find a place for a lesion on."""
    axis = (((np.arange(SURVEY_PX) + 0.5) / SURVEY_PX - 0.5) * LATTICE_MM).astype(np.float32)
    return paint_anatomy(canvas_at(person, axis, axis, z), person, organs, z, phase)
