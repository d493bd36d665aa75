"""The phantom's lesions: eight coarse types that differ, and overlap, in place, density, texture, shape and size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lesiondash.images.phantom_body import LIVER_HU, Person, cavity, fat_mm, spine_y, wall
from lesiondash.images.phantom_canvas import Array, Blob, Canvas
from lesiondash.images.phantom_organs import Organs
from lesiondash.images.phantom_sites import Anatomy, survey

TYPE_SHARES = (0.08, 0.18, 0.16, 0.14, 0.18, 0.08, 0.09, 0.09)
"""How often each coarse type is drawn: DeepLesion's order, flattened so that the rare ones can be scored."""
SPICULE_HU = -180.0
ENOUGH = 0.7
"""Share of a lesion that must lie where its type belongs; what is outside is cut off."""
TRIES = 8
PLACED_BY_ORGAN = (4, 6)
"""Liver and kidney: their lesions are placed within the organ's own ellipsoids."""
RIM_SHARE = 0.15
FATTY_SHARE = 0.07


@dataclass(frozen=True)
class Growth:
    """A lesion of a fictitious patient, in reference millimetres.

    lobes: ellipsoids whose union it is; hu its density, core_hu of a necrotic or lytic core (or None) that reaches to
    core_share of its radius, rough the HU of its texture; spicules: number of thin strands from its edge; specks:
    calcifications as (dx, dy, dz).
    """

    code: int
    lobes: tuple[Blob, ...]
    hu: float
    core_hu: float | None
    core_share: float
    rough: float
    wobble: float
    spicules: int
    specks: tuple[tuple[float, float, float], ...]
    angle: float

    @property
    def z(self) -> float:
        """Height of its middle."""
        return self.lobes[0].z

    def later(self, rng: np.random.Generator) -> Growth:
        """The same lesion at a follow-up: a little larger or smaller, its density nearly as it was."""
        k = float(np.clip(rng.normal(1.04, 0.14), 0.72, 1.4))
        first = self.lobes[0]
        lobes = tuple(
            Blob(
                first.x + k * (lobe.x - first.x),
                first.y + k * (lobe.y - first.y),
                first.z + k * (lobe.z - first.z),
                lobe.rx * k,
                lobe.ry * k,
                lobe.rz * k,
                lobe.angle,
            )
            for lobe in self.lobes
        )
        return replace(self, lobes=lobes, hu=self.hu + float(rng.normal(0, 6)))


def grow(rng: np.random.Generator, code: int, person: Person, organs: Organs, phase: str) -> Growth:
    """Draw a lesion of a coarse type (1 to 8) in a patient, where such a lesion belongs."""
    if code in PLACED_BY_ORGAN:
        return _draw(rng, code, _place(rng, code, person, organs), phase, organs)
    best, best_share = None, -1.0
    for _ in range(TRIES):
        if code == 1:
            z = float(rng.uniform(30, 620))
            anatomy = survey(person, organs, z, phase)
            growth = _draw(rng, code, (*_in_bone(rng, anatomy), z, 13.0), phase, organs)
        else:
            growth = _draw(rng, code, _place(rng, code, person, organs), phase, organs)
            anatomy = survey(person, organs, growth.z, phase)
        share = hosted_share(anatomy, growth)
        if share > best_share:
            best, best_share = growth, share
        if share >= ENOUGH:
            break
    assert best is not None
    return best


def hosted_share(anatomy: Anatomy, growth: Growth) -> float:
    """Share of a lesion's middle cross-section that lies where its type belongs."""
    whole = anatomy.canvas.mask(list(growth.lobes), growth.z, wobble=growth.wobble)
    return float((whole * anatomy.host(growth.code)).sum() / max(float(whole.sum()), 1e-6))


def _draw(
    rng: np.random.Generator, code: int, place: tuple[float, float, float, float], phase: str, organs: Organs
) -> Growth:
    x, y, z, largest = place
    radius = float(np.clip(rng.lognormal(np.log(8.0), 0.5), 3.6, largest))
    stretch = float(rng.uniform(0.68, 1.0))
    angle = float(rng.uniform(-1.5, 1.5))
    main = Blob(x, y, z, radius, radius * stretch, radius * float(rng.uniform(0.8, 1.2)), angle)
    lobes = [main]
    for _ in range(int(rng.choice(4, p=[0.4, 0.25, 0.2, 0.15]))):
        way = rng.normal(0, 0.45 * radius, 3)
        k = float(rng.uniform(0.45, 0.8))
        lobes.append(Blob(x + way[0], y + way[1], z + way[2], radius * k, radius * k * 0.9, radius * k, angle))
    hu, core, rough = _density(rng, code, phase, organs)
    share = 0.62
    if core is None and hu > 0 and phase != "plain" and code not in (1, 5) and rng.random() < RIM_SHARE:
        hu, core, share = hu + 45, hu - 15, 0.82
    specks = tuple(tuple(map(float, rng.normal(0, 0.4 * radius, 3))) for _ in range(int(rng.integers(1, 5))))
    return Growth(
        code=code,
        lobes=tuple(lobes),
        hu=hu,
        core_hu=core,
        core_share=share,
        rough=rough,
        wobble=float(rng.choice([0.06, 0.2, 0.45])),
        spicules=int(rng.integers(4, 11)) if code == 5 and rng.random() < 0.45 else 0,
        specks=specks if rng.random() < 0.1 else (),  # type: ignore[arg-type]
        angle=angle,
    )


def _place(rng: np.random.Generator, code: int, person: Person, organs: Organs) -> tuple[float, float, float, float]:
    """Return where a lesion of a type can be, (x, y, z), and its largest radius there."""
    side = float(rng.choice([-1, 1]))
    if code == 2:
        z = float(rng.uniform(205, 345))
        return side * float(rng.uniform(4, 72)), float(rng.uniform(-52, 26)), z, 26.0
    if code == 3:
        z = float(rng.uniform(455, 625))
        return float(rng.uniform(-42, 40)), float(rng.uniform(-52, spine_y(person, z) - 16)), z, 20.0
    if code == 4:
        lobe = organs.liver[0] if rng.random() < 0.78 else organs.liver[1]
        way = rng.normal(0, 1, 3)
        way *= rng.uniform(0.2, 0.8) / np.linalg.norm(way)
        return lobe.x + way[0] * lobe.rx, lobe.y + way[1] * lobe.ry, lobe.z + way[2] * lobe.rz * 0.7, 24.0
    if code == 5:
        z = float(rng.uniform(478, 612))
        inner = cavity(person, z)
        turn, out = float(rng.uniform(-1.2, 1.2)), float(rng.uniform(0.55, 0.97))
        return side * inner.rx * out * np.cos(turn), inner.y + inner.ry * out * np.sin(turn), z, 20.0
    if code == 6:
        kidney = organs.kidneys[0] if side < 0 else organs.kidneys[1]
        turn = float(rng.uniform(0, 2 * np.pi))
        z = kidney.z + float(rng.uniform(-0.75, 0.75)) * kidney.rz
        k = kidney.shrink(z) * float(rng.uniform(0.55, 1.05))
        return kidney.x + k * kidney.rx * np.cos(turn), kidney.y + k * kidney.ry * np.sin(turn), z, 22.0
    if code == 7:
        z = float(rng.uniform(40, 625))
        shell, fat = wall(person, z), fat_mm(person, z)
        turn = float(rng.uniform(0, 2 * np.pi))
        depth = float(rng.uniform(-16, 0.8 * fat))
        return (shell.rx + depth) * np.cos(turn), (shell.ry + depth) * np.sin(turn), z, 15.0
    z = float(rng.uniform(25, 165))
    return side * float(rng.uniform(8, 82)), float(rng.uniform(-50, 38)), z, 24.0


def _in_bone(rng: np.random.Generator, anatomy: Anatomy) -> tuple[float, float]:
    """A point of the bone on a slice, each bit of bone as likely as any other."""
    rows, columns = np.nonzero(anatomy.regions.bone)
    if not len(rows):
        return 0.0, 0.0
    k = int(rng.integers(len(rows)))
    canvas = anatomy.canvas
    return float(canvas.x[rows[k], columns[k]]), float(canvas.y[rows[k], columns[k]])


def _density(rng: np.random.Generator, code: int, phase: str, organs: Organs) -> tuple[float, float | None, float]:
    """Return HU, HU of a core or None, and HU of texture; the ranges of the types overlap on purpose."""
    taken_up = {"plain": 0.0, "arterial": 28, "portal": 34, "delayed": 22}[phase]
    soft = float(rng.normal(40, 12)) + taken_up * float(rng.uniform(0.2, 1.4))
    necrotic = float(rng.normal(18, 8)) if rng.random() < 0.25 else None
    if code == 1:
        kind = rng.random()
        if kind < 0.4:
            return float(rng.normal(640, 160)), None, 90.0
        if kind < 0.6:  # sclerotic and lytic side by side
            return float(rng.normal(300, 80)), None, 240.0
        return float(rng.normal(55, 25)), None, 30.0
    if code in (2, 6, 8) and rng.random() < FATTY_SHARE:
        return float(rng.normal(-85, 12)), None, 20.0
    if code == 4:
        liver = LIVER_HU[phase] - organs.steatosis
        if rng.random() < 0.2:
            return float(rng.normal(8, 6)), None, 3.0
        contrast = float(rng.choice([-1.0, -1.0, -1.0, 0.8])) * float(rng.uniform(18, 55))
        return liver + contrast, necrotic if contrast < 0 else None, 14.0
    if code == 5:
        if rng.random() < 0.2:
            return float(rng.normal(-560, 110)), None, 60.0
        return soft - 10, float(rng.normal(-850, 50)) if rng.random() < 0.08 else None, 25.0
    if code == 6:
        return (float(rng.normal(9, 7)), None, 3.0) if rng.random() < 0.45 else (soft + 15, necrotic, 22.0)
    if code == 8 and rng.random() < 0.3:
        return float(rng.normal(14, 8)), None, 6.0
    return soft, necrotic, float(rng.choice([6.0, 14.0, 26.0]))


def cover(canvas: Canvas, growth: Growth, z: float, host: Array) -> Array:
    """Coverage of a lesion at height z on the whole canvas, spicules left out; (px, px) in [0, 1]."""
    return canvas.mask(list(growth.lobes), z, wobble=growth.wobble) * host


def paint_growth(canvas: Canvas, growth: Growth, z: float, host: Array) -> None:
    """Paint a lesion's cross-section at height z over the anatomy, as far as its host reaches."""
    main = growth.lobes[0]
    if main.shrink(z) > 0.3:
        _paint_spicules(canvas, growth, main.rx * main.shrink(z), host)
    mask = cover(canvas, growth, z, host)
    value = growth.hu + np.float32(growth.rough) * canvas.texture
    canvas.hu += mask * (value - canvas.hu)
    if growth.core_hu is not None:
        k = growth.core_share
        core = replace(main, rx=main.rx * k, ry=main.ry * k, rz=main.rz * k)
        canvas.blob(core, z, growth.core_hu, wobble=growth.wobble, texture=growth.rough, clip=host)
    for dx, dy, dz in growth.specks:
        if abs(main.z + dz - z) < 3:
            canvas.disc(main.x + dx, main.y + dy, 1.5, 1.3, 420, clip=host)


def _paint_spicules(canvas: Canvas, growth: Growth, radius: float, host: Array) -> None:
    """Thin strands from the edge, each bending on its way out."""
    main = growth.lobes[0]
    for k in range(growth.spicules):
        turn = growth.angle + 2 * np.pi * (k + 0.33 * ((k * 5) % 4)) / growth.spicules
        bend = 0.28 * ((k * 3) % 5 - 2)
        step = main.rx * (0.1 + 0.11 * ((k * 7) % 4))
        x, y = main.x + radius * 0.9 * np.cos(turn), main.y + radius * 0.9 * np.sin(turn)
        for part in range(3):
            x, y = x + step * np.cos(turn), y + step * np.sin(turn)
            canvas.disc(x, y, step * 0.75, 0.8 - 0.15 * part, SPICULE_HU, turn, clip=host)
            turn += bend
