"""Scales from scales: a sweep's Hessians are nearly dependent, so a few make the others, within a certified error."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.frangi.derivatives import gaussian_derivatives

FREQUENCIES = 40
MAX_RADIUS_PX = 400
"""Wider kernels are not certified, and their scales all computed."""


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Which scales are computed, and how the others follow.

    exact: indices of the scales that are computed. weights: (scales, exact) float32; row k makes scale k.
    bound: largest error of any Hessian component at any pixel of any image, per unit of its contrast (largest
    minus smallest value), in exact arithmetic; 0 where every scale is computed.
    """

    exact: tuple[int, ...]
    weights: npt.NDArray[np.float32]
    bound: float


@lru_cache(32)
def interpolate(sigmas_px: tuple[tuple[float, ...], ...], tolerance: float) -> Interpolation:
    """Choose the fewest scales from which every scale's Hessian follows within `tolerance`.

    sigmas_px: (y, x) of each scale. tolerance: of the σ²-normalised second derivatives, per unit of contrast,
    above 0.

    The scales are the pivots of a QR decomposition of the kernels' frequency responses, the weights its least
    squares (an interpolative decomposition; Cheng et al. 2005, doi 10.1137/030602678). The bound is of the kernels
    themselves: an image within ±c/2 of its middle, continued by reflection, and filtered with the difference of a
    kernel and its combination, cannot exceed c/2 times the sum of the difference's magnitudes.

    >>> sweep = tuple((1 + k / 5,) * 2 for k in range(41))
    >>> plan = interpolate(sweep, 1e-3)
    >>> len(plan.exact) < 20, plan.bound <= 1e-3
    (True, True)
    """
    from scipy.linalg import qr, solve_triangular

    count = len(sigmas_px)
    everything = Interpolation(tuple(range(count)), np.eye(count, dtype=np.float32), 0.0)
    radius = 6 * max(max(pair) for pair in sigmas_px)
    if radius > MAX_RADIUS_PX or count < 3:
        return everything
    responses = _frequency_responses(sigmas_px)
    _, triangle, pivots = qr(responses, mode="economic", pivoting=True, check_finite=False)
    quadrants = _quadrants(sigmas_px)
    for rank in range(2, count):
        if abs(triangle[rank, rank]) > 100 * tolerance * np.sqrt(len(responses)):
            continue
        weights = np.zeros((count, rank))
        weights[pivots[:rank]] = np.eye(rank)
        solved = solve_triangular(triangle[:rank, :rank], triangle[:rank, rank:], check_finite=False)
        weights[pivots[rank:]] = solved.T
        weights = weights.astype(np.float32).astype(np.float64)  # as they will be used
        bound = _bound(quadrants, weights, pivots[:rank])
        if bound <= tolerance:
            order = np.argsort(pivots[:rank])
            exact = tuple(int(k) for k in pivots[:rank][order])
            return Interpolation(exact, np.ascontiguousarray(weights[:, order], np.float32), bound)
    return everything


def _kernels(sigmas_px: tuple[tuple[float, ...], ...], axis: int) -> list[list[npt.NDArray[np.float64]]]:
    """Return σ^o h_o of each scale, from the centre outwards; the other half mirrors it."""
    out = []
    for sigma in (pair[axis] for pair in sigmas_px):
        halves = [kernel[len(kernel) // 2 :] * sigma**o for o, kernel in enumerate(gaussian_derivatives(sigma))]
        out.append(halves)
    return out


def _frequency_responses(sigmas_px: tuple[tuple[float, ...], ...]) -> npt.NDArray[np.float64]:
    """Return the transfer functions of Lyy, Lyx, Lxx on a grid of frequencies, (components · grid, scales)."""
    widest = max(max(pair) for pair in sigmas_px)
    omega = np.geomspace(min(0.1 / widest, 1.0), np.pi, FREQUENCIES)
    columns = []
    by_axis = [[_transform(halves, omega) for halves in _kernels(sigmas_px, axis)] for axis in range(2)]
    for along_y, along_x in zip(*by_axis, strict=True):
        columns.append(np.concatenate([np.outer(along_y[o], along_x[2 - o]).ravel() for o in (2, 1, 0)]))
    return np.stack(columns, axis=1)


def _transform(halves: list[npt.NDArray[np.float64]], omega: npt.NDArray[np.float64]) -> list[npt.NDArray[Any]]:
    k = np.arange(1, len(halves[0]))
    phase = np.outer(omega, k)
    return [
        halves[0][0] + 2 * np.cos(phase) @ halves[0][1:],
        2 * np.sin(phase) @ halves[1][1:],
        halves[2][0] + 2 * np.cos(phase) @ halves[2][1:],
    ]


def _quadrants(sigmas_px: tuple[tuple[float, ...], ...]) -> npt.NDArray[np.float64]:
    """Return one quadrant of the kernels of Lyy, Lyx, Lxx, (components, scales, y · x), times how often it stands."""
    by_axis = []
    for axis in range(2):
        kernels = _kernels(sigmas_px, axis)
        size = max(len(halves[0]) for halves in kernels)
        padded = np.zeros((3, len(kernels), size))
        for k, halves in enumerate(kernels):
            for o, half in enumerate(halves):
                padded[o, k, : len(half)] = half
        padded[:, :, 1:] *= 2
        by_axis.append(padded)
    along_y, along_x = by_axis
    return np.stack(
        [np.einsum("ky,kx->kyx", along_y[o], along_x[2 - o]).reshape(len(sigmas_px), -1) for o in (2, 1, 0)]
    )


def _bound(quadrants: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], exact: Any) -> float:
    """Return half the largest sum of magnitudes of a kernel less its combination."""
    return 0.5 * max(float(np.abs(each - weights @ each[exact]).sum(axis=1).max()) for each in quadrants)
