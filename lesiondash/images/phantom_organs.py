"""The phantom's organs: where lungs' vessels, heart, liver, kidneys and bowel of a fictitious patient lie."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from lesiondash.images.phantom_canvas import Array, Blob


@dataclass(frozen=True)
class Organs:
    """The organs of one fictitious patient as ellipsoids, in reference millimetres."""

    liver: tuple[Blob, ...]
    spleen: Blob
    kidneys: tuple[Blob, Blob]
    heart: Blob
    stomach: Blob
    gallbladder: Blob
    domes: tuple[Blob, Blob]
    bowel: tuple[tuple[Blob, float, float], ...] = field(repr=False)
    lung_vessels: Array = field(repr=False)
    liver_vessels: Array = field(repr=False)
    mesentery: Array = field(repr=False)
    steatosis: float = 0.0


def _moved(blob: Blob, rng: np.random.Generator, shift: float = 5.0, grow: float = 0.08) -> Blob:
    dx, dy, dz = rng.normal(0, shift, 3)
    k = np.clip(1 + rng.normal(0, grow, 3), 0.75, 1.3)
    return Blob(
        blob.x + dx, blob.y + dy, blob.z + 2 * dz, blob.rx * k[0], blob.ry * k[1], blob.rz * k[2],
        blob.angle + float(rng.normal(0, 0.12)),
    )  # fmt: skip


def _tree(rng: np.random.Generator, root: tuple[float, float, float], aim: Array, radius: float, depth: int) -> Array:
    """Grow a vessel tree; rows are (x0, y0, z0, x1, y1, z1, radius) of straight segments."""
    rows: list[list[float]] = []
    front = [(np.array(root, dtype=float), aim / np.linalg.norm(aim), radius, 0)]
    while front:
        start, heading, r, level = front.pop()
        length = (30 - 3.2 * level) * rng.uniform(0.7, 1.25)
        end = start + heading * length
        rows.append([*start, *end, r])
        if level + 1 < depth:
            turn = rng.normal(0, 0.75, 3)
            for sign in (1, -1) if level else (1, -1, 0.3):
                new = heading + sign * turn + rng.normal(0, 0.18, 3)
                front.append((end, new / np.linalg.norm(new), r * rng.uniform(0.66, 0.85), level + 1))
    return np.array(rows, dtype=np.float32)


def _bowel(rng: np.random.Generator) -> tuple[tuple[Blob, float, float], ...]:
    """Loops as (blob, content HU, texture HU); colon along its course, small bowel scattered in front."""
    loops: list[tuple[Blob, float, float]] = []
    oral = rng.random() < 0.45
    for _ in range(95):
        x, y, z = rng.uniform(-82, 82), rng.uniform(-66, 8), rng.uniform(70, 325)
        size = rng.uniform(8.5, 14)
        content = float(rng.choice([22.0, 35, 260 if oral else 28, -800], p=[0.4, 0.34, 0.19, 0.07]))
        stretch = rng.uniform(0.8, 1.9)
        blob = Blob(x, y, z, size * stretch, size, size * rng.uniform(1, 2), rng.uniform(-1.5, 1.5))
        loops.append((blob, content, 30))
    course = np.array(
        [[-88, 0, 150], [-96, 8, 220], [-92, -2, 290], [-60, -58, 295], [0, -66, 268], [60, -58, 300], [92, 0, 345],
         [98, 14, 280], [99, 14, 200], [84, -4, 150], [40, -22, 118], [-12, -8, 100], [0, 32, 90], [0, 43, 40]]
    )  # fmt: skip
    course = course + rng.normal(0, 6, course.shape)
    for first, second in pairwise(course):
        steps = max(2, int(np.linalg.norm(second - first) / 20))
        for t in np.arange(steps) / steps:
            x, y, z = first + t * (second - first) + rng.normal(0, 2.5, 3)
            size = rng.uniform(12, 21)
            content, rough = [(-880.0, 10.0), (-160, 260), (20, 120)][int(rng.choice(3, p=[0.42, 0.4, 0.18]))]
            loops.append((Blob(x, y, z, size, size * rng.uniform(0.8, 1.1), size * 1.1), content, rough))
    return tuple(loops)


def make_organs(rng: np.random.Generator) -> Organs:
    """Draw the organs of a fictitious patient."""
    right, left = Blob(-66, 0, 376, 70, 92, 88), Blob(66, 2, 368, 66, 90, 84)
    lift = rng.normal(0, 8)
    right, left = replace(right, z=right.z + lift), replace(left, z=left.z + lift)
    lungs = []
    for side in (-1, 1):
        for dx, dy, dz in ((0.7, 0.1, 1), (0.9, -0.8, 0.3), (0.7, 0.9, -0.2), (0.8, 0.2, -1), (0.5, 0.8, -1)):
            aim = np.array([side * dx, dy, dz])
            lungs.append(_tree(rng, (side * 34, 4, 548), aim, 5.0, 6))
    hepatic = [
        _tree(rng, (-22, -2, 372), np.array(aim), 5.5, 5)
        for aim in ([-1, 0.4, 0.1], [-1, -0.5, 0.4], [0.5, -1, 0.2], [-0.8, 0.8, -0.6], [-0.7, 0, 0.9])
    ]
    dots = [
        [x, y, z, x + rng.normal(0, 12), y + rng.normal(0, 8), z + rng.normal(0, 28), rng.uniform(1.0, 2.4)]
        for x, y, z in zip(rng.uniform(-70, 70, 170), rng.uniform(-60, 15, 170), rng.uniform(60, 330, 170), strict=True)
    ]
    return Organs(
        liver=(
            _moved(Blob(-64, -2, 372, 68, 84, 92), rng),
            _moved(Blob(-2, -42, 384, 68, 34, 54, 0.15), rng, 8, 0.14),
        ),
        spleen=_moved(Blob(88, 34, 372, 25, 46, 52, 0.5), rng, 5, 0.15),
        kidneys=(
            _moved(Blob(-60, 36, 292, 24, 28, 56, 0.5), rng),
            _moved(Blob(60, 34, 304, 24, 28, 56, -0.5), rng),
        ),
        heart=_moved(Blob(20, -24, 478, 60, 47, 62, 0.4), rng, 4),
        stomach=_moved(Blob(48, -30, 372, 42, 30, 56, 0.6), rng, 7, 0.15),
        gallbladder=_moved(Blob(-42, -42, 325, 13, 17, 28, 0.4), rng, 6, 0.2),
        domes=(right, left),
        bowel=_bowel(rng),
        lung_vessels=np.concatenate(lungs),
        liver_vessels=np.concatenate(hepatic),
        mesentery=np.array(dots, dtype=np.float32),
        steatosis=float(max(0, rng.normal(0, 16))),
    )
