"""Test volumes and slices that several files share."""

from __future__ import annotations

from typing import Any

import numpy as np

Image = np.ndarray[Any, Any]


def grid(size: int) -> list[Image]:
    """Coordinates z, y, x of a cube, 0 at its middle."""
    return list(np.mgrid[:size, :size, :size] - size // 2)


def scene(seed: int = 0, shape: tuple[int, int] = (64, 64)) -> Image:
    """Noise, a disc and a bar: every kind of pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = 0.3 + 0.1 * rng.random(shape) + 0.4 * ((x - 20) ** 2 + (y - 30) ** 2 < 80)
    return np.asarray(image + 0.2 * (np.abs(x - 50) < 3))


def scene_3d(seed: int = 0, shape: tuple[int, int, int] = (12, 40, 50)) -> Image:
    """Noise, a ball and a plate."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    image = 0.3 + 0.1 * rng.random(shape) + 0.4 * ((z - 6) ** 2 + (y - 18) ** 2 + (x - 15) ** 2 < 30)
    return np.asarray(image + 0.2 * (np.abs(x - 38) < 3))


def clear(*eigenvalues: Image) -> Image:
    """Pixels at which no scale is near the sign change of the largest eigenvalue, where the response jumps.

    eigenvalues: each (scales, ...), by magnitude.
    """
    norm = np.sqrt(sum(each**2 for each in eigenvalues))
    by_magnitude = np.abs(eigenvalues[-1]) - np.abs(eigenvalues[-2])
    differ = np.sign(eigenvalues[-1]) != np.sign(eigenvalues[-2])
    return np.asarray(((by_magnitude > 1e-4 * norm) | ~differ).all(axis=0))
