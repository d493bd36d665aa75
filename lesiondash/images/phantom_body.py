"""The phantom's frame: who the fictitious patient is, and the body wall, spine, ribs, pelvis and table.

Heights are reference millimetres above the hip joints; the profiles are drawn by hand after textbook anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lesiondash.images.phantom_canvas import Array, Blob, Canvas, SmoothField

Z_LOW, Z_HIGH = 0.0, 645.0
"""Heights between which the phantom has anatomy."""

BLOOD_HU = {"plain": 42, "arterial": 290, "portal": 165, "delayed": 105}
LIVER_HU = {"plain": 56, "arterial": 74, "portal": 108, "delayed": 92}
SPLEEN_HU = {"plain": 48, "arterial": 125, "portal": 120, "delayed": 95}
CORTEX_HU = {"plain": 34, "arterial": 190, "portal": 185, "delayed": 135}
MEDULLA_HU = {"plain": 32, "arterial": 85, "portal": 165, "delayed": 150}


@dataclass(frozen=True)
class Person:
    """A fictitious patient: build, age and habits that change the anatomy. No real person is behind it."""

    number: int
    female: bool
    age: int
    width: float
    height: float
    fat_mm: float
    visceral: float
    bone: float
    arms_up: bool
    rng_seed: int
    warp: tuple[SmoothField, SmoothField] = field(repr=False)
    wobble: SmoothField = field(repr=False)
    texture: SmoothField = field(repr=False)
    shifts: Array = field(repr=False)

    def jitter(self, index: int, scale: float) -> float:
        """A fixed per-patient random shift: standard normal number `index`, times scale."""
        return float(self.shifts[index]) * scale


def make_person(rng: np.random.Generator, number: int) -> Person:
    """Draw a fictitious patient."""
    female = bool(rng.integers(2))
    age = int(np.clip(rng.normal(56, 16), 12, 87))
    build = float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.15))
    fat = float(np.clip(rng.lognormal(np.log(17 if female else 13), 0.45), 5, 38))
    return Person(
        number=number,
        female=female,
        age=age,
        width=build,
        height=float(np.clip(rng.normal(0.96 if female else 1.02, 0.04), 0.88, 1.12)),
        fat_mm=fat,
        visceral=float(np.clip(rng.normal(0.5, 0.22), 0.05, 1)),
        bone=float(np.clip(1.25 - age / 160 + rng.normal(0, 0.08), 0.6, 1.3)),
        arms_up=bool(rng.random() < 0.85),
        rng_seed=int(rng.integers(2**31)),
        warp=(SmoothField(rng, 55, 60), SmoothField(rng, 55, 60)),
        wobble=SmoothField(rng, 22, 25),
        texture=SmoothField(rng, 7.5, 12),
        shifts=rng.standard_normal(96).astype(np.float32),
    )


def _profile(z: float, heights: list[float], values: list[float]) -> float:
    return float(np.interp(z, heights, values))


SQUARE = 0.5
"""How far a trunk is from an ellipse: its flanks and shoulders fill the corners."""
_WALL_Z = [-60.0, 0, 60, 120, 190, 250, 320, 400, 470, 540, 600, 660]
_WALL_A = [168.0, 168, 163, 154, 142, 133, 137, 144, 150, 154, 158, 168]
_WALL_B = [88.0, 94, 95, 92, 88, 86, 94, 102, 106, 104, 95, 80]
_CAVITY_A = [40.0, 56, 66, 92, 116, 119, 124, 129, 134, 131, 112, 70]
_CAVITY_B = [40.0, 56, 66, 70, 68, 68, 76, 84, 88, 84, 70, 40]
_CAVITY_Y = [-6.0, -6, -6, -8, -10, -10, -8, -5, -4, -4, -6, -8]


def wall(person: Person, z: float) -> Blob:
    """The outer surface of the muscles at height z."""
    lean = 1 + person.jitter(0, 0.03)
    return Blob(
        0,
        0,
        z,
        _profile(z, _WALL_Z, _WALL_A) * lean,
        _profile(z, _WALL_Z, _WALL_B) / lean,
        1,
        person.jitter(1, 0.01),
    )


def cavity(person: Person, z: float) -> Blob:
    """The inside of the body wall at height z: pleural or peritoneal cavity."""
    deep = 1 + 0.06 * (person.visceral - 0.5)
    a, b = _profile(z, _WALL_Z, _CAVITY_A), _profile(z, _WALL_Z, _CAVITY_B)
    return Blob(0, _profile(z, _WALL_Z, _CAVITY_Y), z, a, b * deep, 1)


def fat_mm(person: Person, z: float) -> float:
    """Thickness of the subcutaneous fat at height z, in reference millimetres."""
    return person.fat_mm * _profile(z, [0, 120, 250, 400, 560, 640], [1.5, 1.35, 1.2, 0.8, 0.55, 0.6])


def spine_y(person: Person, z: float) -> float:
    """Depth of the centre of the vertebral bodies at height z."""
    curve = [64.0, 58, 40, 34, 40, 50, 55, 50, 38]
    return _profile(z, [40, 100, 150, 230, 320, 420, 530, 620, 690], curve) + person.jitter(2, 2.5)


def paint_table(canvas: Canvas, drop: float) -> None:
    """A curved carbon table with a mattress, `drop` mm behind the middle of the body."""
    x, y = canvas.x_axis[None, :], canvas.y_axis[:, None]
    depth = y - (drop - 20 * (x / 200) ** 2)
    inside = np.abs(x) < 205
    canvas.hu[inside & (depth > 0) & (depth < 12)] = -930
    for start, thick, value in ((12.0, 2.6, -330.0), (30.0, 2.6, -420.0)):
        line = np.clip((thick / 2 - np.abs(depth - start)) / canvas.edge_mm + 0.5, 0, 1) * inside
        canvas.hu += line * (value - canvas.hu)


def paint_wall(canvas: Canvas, person: Person, z: float) -> None:
    """Skin, subcutaneous fat, breasts and the muscle shell with its fat planes."""
    muscle, fat = wall(person, z), fat_mm(person, z)
    back = 0.55 if z < 200 else 0.8
    outer = Blob(0, fat * (back - 1) / 2, z, muscle.rx + fat, muscle.ry + fat * (1 + back) / 2, 1, muscle.angle)
    skin = Blob(outer.x, outer.y, z, outer.rx + 2.2, outer.ry + 2.2, 1, outer.angle)
    breasts = []
    if person.female and 440 < z < 575:
        size = 0.7 + person.fat_mm / 40
        for side in (-1, 1):
            breasts.append(Blob(side * 76, -94 - fat, 505, 52 * size, 36 * size, 62))
    for blob in breasts:
        canvas.blob(Blob(blob.x, blob.y, blob.z, blob.rx + 2.2, blob.ry + 2.2, blob.rz), z, 10)
    square = SQUARE + person.jitter(13, 0.08)
    canvas.blob(skin, z, 15, wobble=0.05, square=square)
    canvas.blob(outer, z, -104, wobble=0.05, texture=9, square=square)
    for blob in breasts:
        canvas.blob(blob, z, -100, texture=10)
        inner = Blob(blob.x, blob.y + 6, blob.z, blob.rx * 0.55, blob.ry * 0.6, blob.rz * 0.6)
        canvas.blob(inner, z, -30 if person.age < 55 else -75, wobble=0.5, texture=75)
    lean = 54 - 0.25 * max(0, person.age - 50) + person.jitter(3, 3)
    canvas.blob(muscle, z, lean, wobble=0.06, texture=14, square=square)
    if z > 200:
        plane = Blob(0, -2, z, muscle.rx - 6, muscle.ry - 7, 1)
        found = canvas.cover(plane, z, wobble=0.06)
        if found is not None and z > 430:
            patch, cover = found
            ring = 4 * cover * (1 - cover) * (0.7 + 0.5 * canvas.wobble[patch])
            canvas.paint(patch, np.clip(ring, 0, 1), -70)
    _paint_muscles(canvas, person, z, lean)


def _sheathed(canvas: Canvas, blob: Blob, z: float, value: float, gap: float = 3.0) -> None:
    around = Blob(blob.x, blob.y, blob.z, blob.rx + gap, blob.ry + gap, blob.rz + gap, blob.angle)
    canvas.blob(around, z, -88, wobble=0.2, texture=8)
    canvas.blob(blob, z, value, wobble=0.2, texture=18)


def _paint_muscles(canvas: Canvas, person: Person, z: float, lean: float) -> None:
    gap = 2.5 + person.fat_mm / 12
    yp = spine_y(person, z)
    for side in (-1, 1):
        if z < 215:
            _sheathed(canvas, Blob(side * 74, 66, 60, 56, 25, 105, side * -0.45), z, lean, gap)
            _sheathed(canvas, Blob(side * 116, 14, 110, 24, 46, 95, side * 0.25), z, lean, gap)
            _sheathed(canvas, Blob(side * 128, -42, 60, 15, 30, 110, side * -0.5), z, lean, gap)
        if z < 70:
            _sheathed(canvas, Blob(side * 84, -52, 0, 27, 19, 90, side * 0.3), z, lean, gap)
            _sheathed(canvas, Blob(side * 50, 4, 10, 13, 30, 60, side * 0.2), z, lean, 2)
        if z > 130:
            _sheathed(canvas, Blob(side * 27, yp + 37, z, 23, 14, 1, side * 0.15), z, lean - 4, 1.6)
            _sheathed(canvas, Blob(side * 11, yp + 34, z, 9, 11, 1), z, lean - 8, 1.2)
        if 190 < z < 345:
            _sheathed(canvas, Blob(side * 64, yp + 18, 262, 17, 12, 85, side * 0.5), z, lean)
        if z > 520:
            _sheathed(canvas, Blob(side * 128, 30, 620, 17, 42, 95, side * -0.35), z, lean, 4)
            canvas.blob(Blob(side * 134, -8, 625, 24, 26, 75), z, -98, wobble=0.3, texture=12)
            _sheathed(canvas, Blob(side * 80, -76, 600, 50, 11, 80, side * 0.35), z, lean, 3)


def _bony(canvas: Canvas, blob: Blob, z: float, person: Person, cortex: float = 2.6, marrow: float = 190) -> None:
    dense = person.bone
    canvas.blob(blob, z, 760 * dense, wobble=0.08)
    core = Blob(blob.x, blob.y, blob.z, blob.rx - cortex, blob.ry - cortex, blob.rz - cortex, blob.angle)
    if min(core.rx, core.ry, core.rz) > 0.5:
        canvas.blob(core, z, marrow * dense, wobble=0.08, texture=95)


def paint_spine(canvas: Canvas, person: Person, z: float) -> None:
    """Vertebra or disc, canal with cord, pedicles, laminae, transverse and spinous processes; the sacrum below."""
    y = spine_y(person, z)
    if z < 155:
        width = float(np.interp(z, [45, 80, 155], [8, 30, 50]))
        _bony(canvas, Blob(0, y + 4, z, width, float(np.interp(z, [45, 155], [6, 19])), 1), z, person)
        for side in (-1, 1):
            if z > 80:
                canvas.disc(side * width * 0.42, y + 2, 5, 4, -20)
        if z > 80:
            canvas.disc(0, y + 13, 7, 4, 15)
        return
    lumbar = z < 340
    level = (z + person.jitter(4, 12)) / (34 if lumbar else 27) % 1
    rx, ry = (
        float(np.interp(z, [155, 340, 660], [26, 22, 14])),
        float(np.interp(z, [155, 340, 660], [18, 16.5, 12])),
    )
    back = y + ry + 8
    for side in (-1, 1):
        if 0.3 < level < 0.75:
            reach = 24 if lumbar else 20
            _bony(
                canvas,
                Blob(side * (13 + reach / 2), back + 5, z, reach / 2 + 4, 4, 1, side * 0.25),
                z,
                person,
                2,
            )
        _bony(canvas, Blob(side * 13, back + 2, z, 5.5, 9, 1, side * 0.5), z, person, 2)
        _bony(canvas, Blob(side * 6, back + 12, z, 11, 4.2, 1, side * 0.65), z, person, 2)
    _bony(canvas, Blob(0, back + 22, z, 3.2, 15 if level > 0.35 else 7, 1), z, person, 1.6)
    if level < 0.2:
        canvas.disc(0, y, rx, ry, 92, wobble=0.08, texture=15)
    else:
        endplate = level < 0.27 or level > 0.95
        _bony(canvas, Blob(0, y, z, rx, ry, 1), z, person, 2.4, 420 if endplate else 170)
    canvas.disc(0, back, 10.5, 8.5, -25)
    canvas.disc(0, back, 9, 7, 22)
    canvas.disc(0, back, 5, 4, 42)


def paint_ribs(canvas: Canvas, person: Person, z: float) -> None:
    """Twelve sloping ribs cut by the plane, cartilage in front, sternum, scapulae."""
    if z < 300:
        return
    inner = cavity(person, z)
    dx, dy = canvas.x / (inner.rx + 6), (canvas.y - inner.y) / (inner.ry + 6)
    radial = (np.sqrt(dx * dx + dy * dy) - 1) * np.float32(0.5 * (inner.rx + inner.ry))
    ring = np.abs(radial) < 8
    forward = 0.5 * (1 - dy[ring] / np.sqrt(dx[ring] ** 2 + dy[ring] ** 2 + 1e-6))
    order = (z - 292 + person.jitter(5, 9) + 105 * forward + 4 * np.sign(dx[ring])) / 26
    level = np.clip(np.round(order), 0, 11)
    along = (order - level) * 26
    f = (radial[ring] / 5.2) ** 2 + (along / (6.8 + 4 * forward)) ** 2
    cover = np.clip((1 - f) * 1.4 + 0.3, 0, 1) * ((level > 1) | (forward < 0.45)) * (forward < 0.985)
    cartilage = forward > np.where(level > 5, 0.80, 0.9)
    value = np.where(cartilage, 115, np.where(f < 0.36, 170 * person.bone, 680 * person.bone))
    canvas.hu[ring] += (cover * (value - canvas.hu[ring])).astype(np.float32)
    if z > 455:
        _bony(canvas, Blob(0, inner.y - inner.ry - 8, 540, 17, 6.5, 90), z, person, 2, 110)
    for side in (-1, 1):
        if z > 505:
            lean = side * (-0.55)
            _bony(
                canvas,
                Blob(side * 104, 62, 590, float(np.interp(z, [505, 640], [24, 42])), 3.6, 84, lean),
                z,
                person,
                1.7,
            )
        if z > 600:
            _bony(canvas, Blob(side * 138, 18, 660, 24, 22, 50), z, person, 3)
            _bony(canvas, Blob(side * 55, -70, 650, 42, 6, 22, side * 0.5), z, person, 2)


def paint_pelvis(canvas: Canvas, person: Person, z: float) -> None:
    """Iliac wings, acetabula, femoral heads and necks, ischium and pubis."""
    if z > 215:
        return
    broad = 1.04 if person.female else 1.0
    for side in (-1, 1):
        if z > 38:
            x = float(np.interp(z, [38, 90, 210], [78, 74, 98])) * broad
            y = float(np.interp(z, [38, 90, 210], [10, 18, 4]))
            reach = float(np.interp(z, [38, 70, 110, 180, 212], [24, 46, 56, 42, 8]))
            thick = float(np.interp(z, [38, 80, 180, 212], [11, 5.5, 4.2, 6]))
            _bony(
                canvas,
                Blob(side * x, y, z, reach, thick, 1, side * (-0.95 if z < 180 else -1.1)),
                z,
                person,
                2.2,
                240,
            )
        hip = side * 86 * broad
        _bony(canvas, Blob(hip - side * 6, 2, 20, 34, 34, 36), z, person, 3.5, 260)
        canvas.blob(Blob(hip + side * 5, 0, 12, 28.5, 28.5, 30), z, 60)
        if z < 26:
            _bony(canvas, Blob(hip + side * 32, 12, -2, 32, 14, 24, side * 0.25), z, person, 3.5, 140)
            _bony(canvas, Blob(hip + side * 56, 16, -8, 17, 21, 36), z, person, 3, 120)
        _bony(canvas, Blob(hip + side * 5, 0, 12, 25, 25, 25), z, person, 2.2, 330)
        _bony(canvas, Blob(side * 62, 38, -4, 13, 20, 34, side * 0.3), z, person, 3, 200)
        _bony(canvas, Blob(side * 34, -40, 2, 34, 8, 16, side * 0.35), z, person, 2.4, 180)
