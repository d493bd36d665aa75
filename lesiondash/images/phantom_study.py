"""One CT study of a fictitious patient: its geometry, its slices in HU, and its lesions measured as in DeepLesion."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.images.phantom_body import Z_HIGH, Z_LOW, Person, fat_mm, make_person
from lesiondash.images.phantom_canvas import Array, NoiseBank
from lesiondash.images.phantom_lesions import TYPE_SHARES, Growth, cover, grow, paint_growth
from lesiondash.images.phantom_organs import Organs, make_organs
from lesiondash.images.phantom_sites import Anatomy, canvas_at, paint_anatomy

SLICE_MM = 5.0
WIDEST_MM = 168.0
"""Half-width of the muscle wall at its widest, in reference millimetres."""
LESION_COUNTS = (0.1, 0.27, 0.36, 0.17, 0.1)
"""How often a patient has one to five lesions."""
PHASES = ("plain", "arterial", "portal", "delayed")
AIR_HU = -940.0
AIR_NOISE = 0.06
"""Share of the noise in the air around the body: half of every file would be the noise of air."""
BOX_MARGIN_PX = 5.0


@dataclass(frozen=True, eq=False)
class Study:
    """A study: who, which, at what contrast phase, with which lesions, and how the patient lies.

    fov_mm: reference millimetres across the image; shift_mm: where the body's middle lies; noise_hu and streak: how
    the scanner's noise looks.
    """

    person: Person
    organs: Organs
    number: int
    phase: str
    growths: tuple[Growth, ...]
    fov_mm: float
    shift_mm: tuple[float, float]
    noise_hu: float
    streak: float
    image_px: int
    seed: int

    @property
    def series_id(self) -> str:
        """DeepLesion's patient_study_series."""
        return f"{self.person.number:06d}_{self.number:02d}_01"

    @property
    def spacing_mm(self) -> float:
        """Pixel spacing in the fictitious patient's own millimetres."""
        return round(self.fov_mm * self.person.width / self.image_px, 6)

    def slice_of(self, z: float) -> int:
        """Number of the slice nearest to a height in reference millimetres; numbers rise towards the head."""
        return round((z - Z_LOW) * self.person.height / SLICE_MM) + 1

    def height_of(self, index: int) -> float:
        """Height of a slice in reference millimetres."""
        return Z_LOW + (index - 1) * SLICE_MM / self.person.height

    @property
    def last_slice(self) -> int:
        """The highest slice number with anatomy."""
        return self.slice_of(Z_HIGH)

    def anatomy(self, index: int) -> Anatomy:
        """A slice without its lesions and without noise."""
        z = self.height_of(index)
        across = ((np.arange(self.image_px) + 0.5) / self.image_px - 0.5) * self.fov_mm
        x, y = ((across - shift).astype(np.float32) for shift in self.shift_mm)
        return paint_anatomy(canvas_at(self.person, x, y, z), self.person, self.organs, z, self.phase)

    def render(self, index: int) -> npt.NDArray[np.int16]:
        """One slice, (px, px) int16 HU; the same whenever it is asked for."""
        rng = np.random.default_rng([self.seed, self.person.number, self.number, index])
        anatomy, z = _anatomy(self, index), self.height_of(index)
        canvas = copy(anatomy.canvas)
        canvas.hu = anatomy.canvas.hu.copy()
        for growth in self.growths:
            paint_growth(canvas, growth, z, anatomy.host(growth.code))
        noise = noise_bank(self.seed, self.image_px).draw(rng, self.streak)
        loud = np.where(canvas.hu < AIR_HU, np.float32(AIR_NOISE), np.float32(1)) * np.float32(self.noise_hu)
        return np.clip(np.rint(canvas.hu + loud * noise), -1024, 3071).astype(np.int16)


@lru_cache(maxsize=8)
def _anatomy(study: Study, index: int) -> Anatomy:
    """Lesions are measured, then their slices drawn: each is painted once."""
    return study.anatomy(index)


@lru_cache(maxsize=2)
def noise_bank(seed: int, image_px: int) -> NoiseBank:
    """The noise fields that all slices of a collection are cut from."""
    return NoiseBank(seed, image_px)


def make_studies(seed: int, number: int, image_px: int) -> tuple[Study, ...]:
    """Draw a fictitious patient and the one or two studies of theirs; every second patient has two."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
    person, organs = make_person(rng, number), make_organs(rng)
    phases = rng.choice(PHASES, 2, p=[0.2, 0.12, 0.56, 0.12])
    codes = rng.choice(len(TYPE_SHARES), int(rng.choice(5, p=LESION_COUNTS)) + 1, p=TYPE_SHARES) + 1
    growths = tuple(grow(rng, int(code), person, organs, str(phases[0])) for code in codes)
    widest = WIDEST_MM + 12 + max(fat_mm(person, z) for z in (0.0, 120.0, 250.0, 560.0))
    studies = []
    for study in range(2 if number % 2 == 0 else 1):
        if study:
            growths = tuple(growth.later(rng) for growth in growths)
        studies.append(
            Study(
                person=person,
                organs=organs,
                number=study + 1,
                phase=str(phases[study]),
                growths=growths,
                fov_mm=float(min(2 * widest * rng.uniform(0.98, 1.1), 478.0)),
                shift_mm=(float(rng.normal(0, 4)), float(rng.normal(0, 5))),
                noise_hu=float(np.clip(rng.lognormal(np.log(8), 0.35), 4, 18)),
                streak=float(rng.uniform(0, 0.35)),
                image_px=image_px,
                seed=seed,
            )
        )
    return tuple(studies)


@dataclass(frozen=True)
class Finding:
    """A lesion as measured on its key slice: RECIST axes as (x, y) endpoints in pixels, and its box."""

    code: int
    index: int
    long_axis: Array
    short_axis: Array
    box: tuple[float, float, float, float]
    location: tuple[float, float, float]

    @property
    def diameters_px(self) -> tuple[float, float]:
        """Lengths of the long and the short axis."""
        return tuple(float(np.linalg.norm(axis[1] - axis[0])) for axis in (self.long_axis, self.short_axis))  # type: ignore[return-value]


def measure(study: Study, growth: Growth) -> Finding | None:
    """Measure a lesion on the slice through its middle; None where it is too small to be seen or off the image."""
    index = study.slice_of(growth.z)
    if not 2 <= index <= study.last_slice - 1:
        return None
    anatomy = _anatomy(study, index)
    mask = cover(anatomy.canvas, growth, study.height_of(index), anatomy.host(growth.code)) > 0.5
    rows, columns = np.nonzero(mask)
    if len(rows) < 7:
        return None
    points = np.column_stack([columns, rows]).astype(np.float64) + 0.5
    turns = np.arange(36) * np.pi / 36
    ways = np.column_stack([np.cos(turns), np.sin(turns)])
    along: npt.NDArray[Any] = points @ ways.T
    best = int(np.argmax(np.ptp(along, axis=0)))
    axes = [points[[along[:, k].argmin(), along[:, k].argmax()]] for k in (best, (best + 18) % 36)]
    if np.linalg.norm(axes[1][1] - axes[1][0]) > np.linalg.norm(axes[0][1] - axes[0][0]):
        axes.reverse()
    ends = np.concatenate(axes)
    low = np.maximum(ends.min(axis=0) - BOX_MARGIN_PX, 0)
    high = np.minimum(ends.max(axis=0) + BOX_MARGIN_PX, study.image_px)
    first = growth.lobes[0]
    place = ((first.x + 190) / 380, (first.y + 125) / 250, (growth.z - Z_LOW) / (Z_HIGH - Z_LOW))
    return Finding(
        code=growth.code,
        index=index,
        long_axis=axes[0].astype(np.float32),
        short_axis=axes[1].astype(np.float32),
        box=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
        location=(float(place[0]), float(place[1]), float(place[2])),
    )
