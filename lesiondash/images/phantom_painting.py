"""The phantom's organs on a slice: lungs with branching vessels, great vessels, liver, kidneys, bowel, bladder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lesiondash.images.phantom_body import (
    BLOOD_HU,
    CORTEX_HU,
    LIVER_HU,
    MEDULLA_HU,
    SPLEEN_HU,
    Person,
    cavity,
    paint_pelvis,
    paint_ribs,
    paint_spine,
    paint_table,
    paint_wall,
    spine_y,
)
from lesiondash.images.phantom_canvas import Array, Blob, Canvas
from lesiondash.images.phantom_organs import Organs

BONE_HU = 140
"""What the skeleton's painting leaves above this is bone: not cartilage, discs or the spinal canal."""


@dataclass(frozen=True)
class Regions:
    """Coverage masks of one slice, (px, px) in [0, 1], that lesions and vessels are confined to."""

    lung: Array
    abdomen: Array
    liver: Array
    bone: Array


def _segments(canvas: Canvas, rows: Array, z: float, value: float, clip: Array, walls: float = 0.0) -> None:
    """Paint the vessels that the plane cuts, as ellipses drawn out along their course (at most 14 mm)."""
    low, high = np.minimum(rows[:, 2], rows[:, 5]), np.maximum(rows[:, 2], rows[:, 5])
    for x0, y0, z0, x1, y1, z1, r in rows[(low - 2 <= z) & (high + 2 >= z)]:
        rise = z1 - z0
        t = float(np.clip((z - z0) / rise if abs(rise) > 1e-3 else 0.5, 0, 1))
        flat = float(np.hypot(x1 - x0, y1 - y0))
        reach = min(r * float(np.hypot(flat, rise)) / max(abs(rise), 1e-3), max(0.5 * flat, r), 16.0)
        x, y = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
        angle = float(np.arctan2(y1 - y0, x1 - x0))
        canvas.disc(x, y, max(reach, r), r, value, angle, clip=clip)


def _regions(canvas: Canvas, person: Person, organs: Organs, z: float) -> Regions:
    inner = cavity(person, z)
    whole = canvas.mask([inner], z, wobble=0.05)
    none = np.zeros_like(whole)
    if z > 470 + organs.domes[0].z - 376:
        return Regions(whole, none, none, none)
    if z < 330:
        abdomen = whole
    elif z < organs.domes[0].z:
        t = (z - 330) / (organs.domes[0].z - 330)
        below = Blob(0, inner.y - 13 * t, z, inner.rx * (1.02 - 0.04 * t), inner.ry * (1.02 - 0.07 * t), 1)
        abdomen = canvas.mask([below], z, wobble=0.05) * whole
    else:
        bridge = Blob(0, -30, 370, 60, 40, 70)
        abdomen = canvas.mask([*organs.domes, bridge], z, wobble=0.05) * whole
    liver = canvas.mask(list(organs.liver), z, wobble=0.12) * abdomen
    liver *= 1 - canvas.mask([_perirenal(kidney) for kidney in organs.kidneys], z, wobble=0.2)
    return Regions(whole * (1 - abdomen), abdomen, liver, none)


def _paint_lungs(canvas: Canvas, person: Person, organs: Organs, z: float, lung: Array) -> None:
    smoker = 30 * abs(person.jitter(6, 1))
    back = np.clip(canvas.y / 90, -1, 1)
    value = -865 - smoker + 38 * back + 26 * canvas.texture + 12 * canvas.wobble
    canvas.hu += lung * (value - canvas.hu)
    _segments(canvas, organs.lung_vessels, z, 25, lung)


def _paint_heart(canvas: Canvas, heart: Blob, z: float, phase: str, lung: Array) -> None:
    """Pericardial fat, myocardium and four chambers."""
    blood = BLOOD_HU[phase]
    canvas.blob(
        replace(heart, rx=heart.rx + 7, ry=heart.ry + 6, rz=heart.rz + 6),
        z,
        -96,
        wobble=0.15,
        texture=14,
        clip=lung,
    )
    canvas.blob(heart, z, 50 if phase == "plain" else 115, wobble=0.12, clip=lung)
    chambers = ((26, -10, -6, 27, 21, 34, 0.5), (-16, -22, 0, 22, 20, 38, 0.4), (-10, 20, 24, 27, 16, 26, 0.0),
                (-38, 0, 4, 17, 24, 34, 0.0))  # fmt: skip
    for dx, dy, dz, rx, ry, rz, angle in chambers:
        canvas.blob(
            Blob(heart.x + dx, heart.y + dy, heart.z + dz, rx, ry, rz, angle),
            z,
            blood,
            wobble=0.15,
            clip=lung,
        )


def _paint_mediastinum(canvas: Canvas, person: Person, organs: Organs, z: float, phase: str, lung: Array) -> None:
    blood, soft = BLOOD_HU[phase], 46.0
    y = spine_y(person, z)
    heights = [380.0, 440, 500, 560, 620, 660]
    half = float(np.interp(z, heights, [30, 34, 36, 33, 36, 44])) + 7 * person.visceral
    canvas.disc(
        2,
        -16,
        half,
        float(np.interp(z, heights, [60, 66, 70, 68, 58, 40])),
        -95,
        wobble=0.3,
        texture=14,
        clip=lung,
    )
    canvas.disc(0, y - 8, 32, 22, -60, wobble=0.2, clip=lung)
    _paint_heart(canvas, organs.heart, z, phase, lung)
    aorta = 11.5 + 0.06 * (person.age - 50)
    if z < 592:
        canvas.disc(float(np.interp(z, [380, 590], [10, 24])), y - 24, aorta, aorta, blood)
    if 500 < z < 590:
        canvas.disc(-8, -28, aorta + 3, aorta + 3, blood, wobble=0.1)
    if 578 < z < 604:
        canvas.disc(10, -8, 36, aorta - 1, blood, 0.9)
    if z > 505:
        canvas.disc(-27, -20, 8, 9, blood * 1.15)
    if 528 < z < 566:
        canvas.disc(14, -30, 15, 14, blood)
        canvas.disc(0, -10, 36, 8.5, blood, 0.25)
    if z > 604:
        for x, dy in ((-14, -18), (4, -14), (17, -6), (-30, -32), (32, -34)):
            canvas.disc(x, dy, 5.5, 5.5, blood)
    if z > 572:
        canvas.disc(-1, 6, 10.5, 10, 45)
        canvas.disc(-1, 6, 8.8, 8.4, -985)
    elif z > 536:
        spread = 8 + (572 - z) * 0.62
        for side in (-1, 1):
            canvas.disc(side * spread, 9, 8.5, 7, 40, side * 0.4)
            canvas.disc(side * spread, 9, 7, 5.5, -980, side * 0.4)
    if z > 380:
        canvas.disc(5, y - 22 if z < 560 else 21, 7.5, 5.5, soft, wobble=0.2)
        canvas.disc(5, y - 22 if z < 560 else 21, 2, 1.5, -300)


def _paint_upper_abdomen(
    canvas: Canvas, person: Person, organs: Organs, z: float, phase: str, regions: Regions
) -> None:
    abdomen, blood = regions.abdomen, BLOOD_HU[phase]
    found = canvas.cover(organs.stomach, z, wobble=0.3)
    if found is not None:
        patch, cover = found
        canvas.paint(patch, cover * abdomen[patch], 55)
        lumen = canvas.cover(replace(organs.stomach, rx=organs.stomach.rx - 5, ry=organs.stomach.ry - 5), z, wobble=0.3)
        if lumen is not None:
            patch, cover = lumen
            fluid = 20 + 45 * canvas.texture[patch] + (210 if person.jitter(7, 1) > 0.4 else 0)
            gas = canvas.y[patch] < organs.stomach.y - 8 + person.jitter(8, 6)
            canvas.paint(patch, cover * abdomen[patch], np.where(gas, np.float32(-960), fluid))
    canvas.blob(organs.spleen, z, SPLEEN_HU[phase], wobble=0.25, texture=6, clip=abdomen)
    liver_hu = LIVER_HU[phase] - organs.steatosis
    canvas.hu += regions.liver * (liver_hu + 9 * canvas.texture - canvas.hu)
    vein = {"plain": liver_hu - 14, "arterial": liver_hu + 22}.get(phase, liver_hu + 48)
    _segments(canvas, organs.liver_vessels, z, vein, regions.liver)
    canvas.blob(
        replace(organs.gallbladder, rx=organs.gallbladder.rx + 1.5, ry=organs.gallbladder.ry + 1.5),
        z,
        60,
        clip=abdomen,
    )
    canvas.blob(organs.gallbladder, z, 9, clip=abdomen)
    for dx, dy, dz, rx, ry, angle in (
        (-18, -10, 318, 16, 14, 0.3),
        (8, -14, 330, 22, 9, -0.2),
        (42, -2, 342, 28, 9, -0.4),
    ):
        canvas.blob(
            Blob(dx, dy, dz, rx, ry, 17, angle),
            z,
            58 if phase == "plain" else 98,
            wobble=0.5,
            texture=28,
            clip=abdomen,
        )
    for side in (-1, 1):
        canvas.blob(Blob(side * 34, 24, 352, 13, 2.4, 14, side * 0.8), z, 40, wobble=0.3, clip=abdomen)
    if 300 < z < 350:
        canvas.disc(-6, -8, 6.5, 6.5, blood * 0.95, clip=abdomen)


def _perirenal(kidney: Blob) -> Blob:
    """The kidney with its fat, which the liver gives way to."""
    return replace(kidney, rx=kidney.rx + 8, ry=kidney.ry + 8, rz=kidney.rz + 10)


def _paint_kidneys(canvas: Canvas, organs: Organs, z: float, phase: str) -> None:
    for side, kidney in zip((-1, 1), organs.kidneys, strict=True):
        canvas.blob(_perirenal(kidney), z, -102, wobble=0.2, texture=10)
        canvas.blob(kidney, z, CORTEX_HU[phase], wobble=0.15)
        inner = replace(kidney, rx=kidney.rx - 6.5, ry=kidney.ry - 6.5, rz=kidney.rz - 8)
        canvas.blob(inner, z, MEDULLA_HU[phase], wobble=0.6, texture=26 if phase == "arterial" else 6)
        sinus = Blob(kidney.x - side * 8, kidney.y - 3, kidney.z, 11, 11, kidney.rz * 0.5)
        canvas.blob(sinus, z, -85, wobble=0.6, texture=45)
        pelvis = Blob(kidney.x - side * 10, kidney.y - 4, kidney.z - 4, 8, 4.5, 16, side * 0.3)
        canvas.blob(pelvis, z, 420 if phase == "delayed" else 12, wobble=0.4)
        if abs(z - kidney.z) < 10:
            canvas.disc(kidney.x - side * 28, kidney.y - 10, 17, 3.4, BLOOD_HU[phase] * 0.9, side * 0.5)


def _paint_retroperitoneum(canvas: Canvas, person: Person, z: float, phase: str) -> None:
    blood, y = BLOOD_HU[phase], spine_y(person, z)
    venous = blood * (0.55 if phase == "arterial" else 0.97) + (15 if phase == "arterial" else 0)
    heights = [0.0, 60, 130, 200, 345]
    size = float(np.interp(z, [0, 130, 250, 345], [10, 19, 18, 7]))
    for side in (-1, 1):
        x = float(np.interp(z, heights, [84, 74, 52, 37, 22]))
        depth = float(np.interp(z, heights, [-34, -20, 12, y + 2, y + 2]))
        if z < 345:
            _around(canvas, Blob(side * x, depth, z, size, size * 1.15, 1, side * 0.3), z, 54)
    calcified = person.age > 62
    r = 9.5 + 0.05 * (person.age - 50)
    if z > 205:
        canvas.disc(7, y - 27, r, r, blood)
        if calcified and (z // 15) % 2 > 0:
            canvas.disc(7 + r * 0.8, y - 24, 1.6, 3.2, 620)
        canvas.disc(-19, y - 25, 12, 8.5, venous, wobble=0.2)
        return
    for side in (-1, 1):
        x = side * float(np.interp(z, [0, 40, 120, 205], [62, 58, 40, 10]))
        depth = float(np.interp(z, [0, 40, 120, 205], [-66, -46, 2, y - 26]))
        canvas.disc(x, depth, 5.6, 5.6, blood)
        canvas.disc(x - side * 6, depth + 9, 7, 6.2, venous * 0.8 + 10)


def _around(canvas: Canvas, blob: Blob, z: float, value: float) -> None:
    canvas.blob(replace(blob, rx=blob.rx + 3, ry=blob.ry + 3), z, -98)
    canvas.blob(blob, z, value, wobble=0.12, texture=14)


def _paint_bowel(canvas: Canvas, organs: Organs, z: float, phase: str, abdomen: Array) -> None:
    wall = 48 if phase == "plain" else 85
    _segments(canvas, organs.mesentery, z, BLOOD_HU[phase] * 0.8, abdomen)
    for loop, content, rough in organs.bowel:
        if abs(z - loop.z) >= loop.rz:
            continue
        canvas.blob(loop, z, wall, wobble=0.3, clip=abdomen)
        lumen = canvas.cover(replace(loop, rx=loop.rx - 2.4, ry=loop.ry - 2.4), z, wobble=0.3)
        if lumen is None:
            continue
        patch, cover = lumen
        value = np.clip(content + rough * canvas.texture[patch] * 2, -1000, 600)
        if content < -500:
            fluid = canvas.y[patch] > loop.y + 0.45 * loop.ry
            value = np.where(fluid, np.float32(25), value)
        canvas.paint(patch, cover * abdomen[patch], value)


def _paint_pelvic_organs(canvas: Canvas, person: Person, z: float) -> None:
    full = 1 + 0.25 * np.tanh(person.jitter(9, 1))
    bladder = Blob(person.jitter(10, 4), -22, 40, 38 * full, 30 * full, 42 * full)
    canvas.blob(replace(bladder, rx=bladder.rx + 3, ry=bladder.ry + 3), z, 42, wobble=0.15)
    canvas.blob(bladder, z, 6, wobble=0.15)
    if person.female:
        canvas.blob(
            Blob(person.jitter(11, 5), 14, 62, 28, 19, 38, person.jitter(12, 0.3)),
            z,
            72,
            wobble=0.25,
            texture=14,
        )
        for side in (-1, 1):
            canvas.blob(Blob(side * 38, 12, 78, 12, 9, 14), z, 38, wobble=0.4)
    else:
        canvas.blob(Blob(0, 4, 8, 21, 16, 18), z, 52, wobble=0.15, texture=12)
        canvas.blob(Blob(0, 18, 30, 26, 6, 9), z, 35, wobble=0.3)
    canvas.disc(0, 44 if z > 25 else 38, 16, 14, -95, wobble=0.2)


def paint_slice(canvas: Canvas, person: Person, organs: Organs, z: float, phase: str, table: float) -> Regions:
    """Paint the anatomy of height z onto the canvas and return the regions that confine lesions."""
    paint_table(canvas, table)
    paint_wall(canvas, person, z)
    regions = _regions(canvas, person, organs, z)
    if z > 325:
        _paint_lungs(canvas, person, organs, z, regions.lung)
    if z > 380:
        _paint_mediastinum(canvas, person, organs, z, phase, regions.lung)
    if z < 475:
        fat = -108 + 10 * canvas.texture
        canvas.hu += regions.abdomen * (fat - canvas.hu)
    if z < 260:
        _paint_pelvic_organs(canvas, person, z)
    if z < 385:
        _paint_bowel(canvas, organs, z, phase, regions.abdomen)
    if 200 < z < 480:
        _paint_kidneys(canvas, organs, z, phase)
        _paint_upper_abdomen(canvas, person, organs, z, phase, regions)
    if z < 400:
        _paint_retroperitoneum(canvas, person, z, phase)
    elif z < 480:
        canvas.disc(7, spine_y(person, z) - 25, 10, 10, BLOOD_HU[phase])
    before = canvas.hu.copy()
    paint_pelvis(canvas, person, z)
    paint_spine(canvas, person, z)
    paint_ribs(canvas, person, z)
    bone = (canvas.hu != before) & (canvas.hu > BONE_HU)
    return replace(regions, bone=bone.astype(np.float32))
