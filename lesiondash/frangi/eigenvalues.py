"""Eigenvalues of symmetric 2 × 2 and 3 × 3 matrices in closed form, on numpy arrays and torch tensors alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A numpy array or a torch tensor; both name the functions used here alike."""
Eigenvalues = tuple[Array | None, Array, Array]
"""λ1, λ2, λ3, signed and ordered by magnitude; None stands for 0 everywhere."""


def namespace(array: Array) -> ModuleType:
    """Return the module whose functions take this array: numpy or torch."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    import torch

    return torch


def eigenvalues(components: Sequence[Array]) -> Eigenvalues:
    """Return the signed eigenvalues ordered by magnitude, |λ1| ≤ |λ2| ≤ |λ3|, each of the components' shape.

    components: (yy, yx, xx), read as a volume constant along z, so that λ1 = 0 and is returned as None; or
    (yy, yx, xx, zy, zx, zz). float32 or float64. In 3-D the relative error is 1e-14 (float64) but at double
    eigenvalues, where the angle loses half of the digits: 1e-8, and 2e-4 in float32.

    Source: O. K. Smith 1961 (doi 10.1145/355578.366316), the trigonometric solution of the cubic.
    """
    if len(components) == 3:
        return None, *_of_two_by_two(*components)
    return _of_three_by_three(*components)


def squared_norm(values: Eigenvalues) -> Array:
    """Return S² = λ1² + λ2² + λ3², the square of the structure norm."""
    first, small, big = values
    square = small * small + big * big
    return square if first is None else square + first * first


def _of_two_by_two(yy: Array, yx: Array, xx: Array) -> tuple[Array, Array]:
    xp = namespace(yy)
    half_trace = (xx + yy) / 2
    half_difference = (xx - yy) / 2
    # The spread takes the trace's sign, so that it adds to the magnitude of the second.
    spread = xp.copysign(xp.sqrt(half_difference * half_difference + yx * yx), half_trace)
    return half_trace - spread, half_trace + spread


def _of_three_by_three(yy: Array, yx: Array, xx: Array, zy: Array, zx: Array, zz: Array) -> tuple[Array, Array, Array]:
    xp = namespace(yy)
    mean = (xx + yy + zz) / 3
    x, y, z = xx - mean, yy - mean, zz - mean
    square = (x * x + y * y + z * z + 2 * (yx * yx + zx * zx + zy * zy)) / 6
    radius = xp.sqrt(square)
    # Divided before they are multiplied: a cube would underflow.
    safe = xp.where(radius > 0, radius, xp.ones_like(radius))
    x, y, z, yx, zx, zy = (each / safe for each in (x, y, z, yx, zx, zy))
    half_determinant = (x * (y * z - zy * zy) - yx * (yx * z - zy * zx) + zx * (yx * zy - y * zx)) / 2
    angle = xp.arccos(xp.clip(half_determinant, -1, 1)) / 3
    top = mean + 2 * radius * xp.cos(angle)
    bottom = mean + 2 * radius * xp.cos(angle + 2 * math.pi / 3)
    return by_magnitude(top, 3 * mean - top - bottom, bottom)


def by_magnitude(a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """Order three arrays element by element so that |first| ≤ |second| ≤ |third|."""
    xp = namespace(a)
    for _ in range(2):
        swap = xp.abs(a) > xp.abs(b)
        a, b = xp.where(swap, b, a), xp.where(swap, a, b)
        swap = xp.abs(b) > xp.abs(c)
        b, c = xp.where(swap, c, b), xp.where(swap, b, c)
    return a, b, c
