"""The element-wise half of the filter in float32, compiled by numba: eigenvalues and response, fused.

Why numba and not torch.compile: it carries its compiler, so that every user has the fast path and not only those with
a C++ compiler; it starts in a third of a second from its cache (3 s on the first day; torch.compile 2 s and 10 s);
and it does not load torch. Loops are written so that they become vector instructions: no branch, no call (2^x is a
polynomial and the exponent's bits), no exception on division. `tests/frangi/test_compiled.py` holds them against
the float64 formulas. Import through `backend.kernels`, which says when numba is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

f4, i4 = np.float32, np.int32
FASTMATH = {"contract", "arcp", "nsz"}
CHUNK_PX = 8192
"""Pixels whose winners stay in the first cache while the scales pass."""
LOG2_E = 1 / math.log(2)
_P = tuple(f4(math.log(2) ** order / math.factorial(order)) for order in range(7))
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = _P
_HALF, _ONE, _TWO, _ZERO, _LOWEST = f4(0.5), f4(1), f4(2), f4(0), f4(-126)
_TINY, _TINY2 = f4(1e-18), f4(1e-36)  # an eigenvalue below this is nothing; its square is still a number
_THIRD, _SIXTH, _QUARTER, _FIFTH = f4(1 / 3), f4(1 / 6), f4(1 / 4), f4(1 / 5)
_SMALL = f4(0.1)  # below this 1 − 2^−x would lose digits


F = TypeVar("F", bound=Callable[..., Any])


def _kernel(**options: Any) -> Callable[[F], F]:
    compiler: Callable[[F], F] = njit(fastmath=FASTMATH, nogil=True, error_model="numpy", **options)
    return compiler


@_kernel(inline="always")
def exp2_below_zero(x: Any) -> Any:
    """Return 2^x for x ≤ 0 in float32, to 2 units of the last place; 1e-38 below −126."""
    x = x if x > _LOWEST else _LOWEST
    whole = i4(x - _HALF)
    t = x - f4(whole)
    series = _P0 + t * (_P1 + t * (_P2 + t * (_P3 + t * (_P4 + t * (_P5 + t * _P6)))))
    return series * i4((whole + i4(127)) << i4(23)).view(f4)


@_kernel(inline="always")
def one_less_exp2(x: Any) -> Any:
    """Return 1 − 2^−x for x ≥ 0 in float32, within 2e-6 of itself: of a small x by its series."""
    y = x * _P1
    series = y * (_ONE - y * _HALF * (_ONE - y * _THIRD * (_ONE - y * _QUARTER * (_ONE - y * _FIFTH))))
    return series if x < _SMALL else _ONE - exp2_below_zero(-x)


@_kernel(cache=True)
def eigenvalues_2d(yy: Any, yx: Any, xx: Any, small: Any, big: Any) -> None:
    """Write λ2 and λ3 of each (yy, yx, xx); all (pixels,) float32."""
    for i in range(yy.size):
        half_trace = _HALF * (xx[i] + yy[i])
        half_difference = _HALF * (xx[i] - yy[i])
        spread = np.sqrt(half_difference * half_difference + yx[i] * yx[i])
        spread = spread if half_trace >= _ZERO else -spread
        small[i] = half_trace - spread
        big[i] = half_trace + spread


_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7 = (
    f4(c) for c in (0.50000002, 0.57734722, -0.11104324, 0.05286911, -0.03031306, 0.01615949, -0.00616995, 0.00115043)
)


@_kernel(inline="always")
def _cosine_of_a_third(u: Any) -> Any:
    """Return cos(2/3 · arccos u) for u in [0, 1]: a least-squares polynomial of degree 7, within 3e-8."""
    return _C0 + u * (_C1 + u * (_C2 + u * (_C3 + u * (_C4 + u * (_C5 + u * (_C6 + u * _C7))))))


@_kernel(cache=True)
def eigenvalues_3d(yy: Any, yx: Any, xx: Any, zy: Any, zx: Any, zz: Any, first: Any, small: Any, big: Any) -> None:
    """Write λ1, λ2, λ3 of each symmetric 3 × 3 matrix; all (voxels,) float32."""
    for i in range(yy.size):
        mean = (xx[i] + yy[i] + zz[i]) * _THIRD
        x, y, z = xx[i] - mean, yy[i] - mean, zz[i] - mean
        off = yx[i] * yx[i] + zx[i] * zx[i] + zy[i] * zy[i]
        radius = np.sqrt((x * x + y * y + z * z + _TWO * off) * _SIXTH)
        scale = _ONE / (radius if radius > _TINY else _TINY)
        x, y, z = x * scale, y * scale, z * scale
        p, q, r = yx[i] * scale, zx[i] * scale, zy[i] * scale
        half = (x * (y * z - r * r) - p * (p * z - r * q) + q * (p * r - y * q)) * _HALF
        half = half if half < _ONE else _ONE
        half = half if half > -_ONE else -_ONE
        # cos(θ/3) with cos θ = `half`, through the half angle; the smallest root is the largest of −matrix.
        a = mean + _TWO * radius * _cosine_of_a_third(np.sqrt((_ONE + half) * _HALF))
        c = mean - _TWO * radius * _cosine_of_a_third(np.sqrt((_ONE - half) * _HALF))
        b = f4(3) * mean - a - c
        low, high = (a, b) if abs(a) <= abs(b) else (b, a)
        middle, top = (high, c) if abs(high) <= abs(c) else (c, high)
        swap = abs(low) > abs(middle)
        first[i] = middle if swap else low
        small[i] = low if swap else middle
        big[i] = top


@_kernel(inline="always")
def _promoted(l1: Any, l2: Any, l3: Any, rho: Any, gain: Any, ka: Any, kb: Any, kg: Any) -> Any:
    """Return the response of magnitudes |λ1| ≤ |λ2| ≤ |λ3| before the gate; factors of 2^−x, not of e^−x."""
    share = _ONE / (l3 if l3 > _TINY else _TINY)
    r2, r1 = l2 * share, l1 * share
    ra = r2 + rho * (_ONE - r2)
    m1 = r1 + rho * (r2 - r1)
    rb_squared = m1 * m1 / (ra if ra > _TINY else _TINY)
    plate = gain * one_less_exp2(ka * ra * ra)
    value = (plate if plate < _ONE else _ONE) * exp2_below_zero(-kb * rb_squared)
    return value * (_ONE - exp2_below_zero(-kg * (l1 * l1 + l2 * l2 + l3 * l3)))


@_kernel(cache=True)
def respond_2d(
    small: Any, big: Any, p: Any, q: Any, rho: Any, rates: Any, gain: Any, full: Any, start: int, best: Any, index: Any
) -> None:
    """Merge the largest response of each pixel over scales into `best`, and its scale + `start` into `index`.

    small, big: (scales, pixels) float32; the response is 0 unless p λ3 + q |λ3| > 0; rates: three factors of 2^−x;
    gain: multiplies the response; full: the first factor at R_A = 1, gain included; best, index: (pixels,) float32
    and int32.
    """
    ka, kb, kg = rates[0], rates[1], rates[2]
    for low in range(0, best.size, CHUNK_PX):
        stop = min(low + CHUNK_PX, best.size)
        for k in range(small.shape[0]):
            a, b, number = small[k, low:stop], big[k, low:stop], i4(start + k)
            top, winner = best[low:stop], index[low:stop]
            if rho == _ONE:  # R_A = 1 and R_B² = λ2²/λ3²: one power and one division less
                for i in range(a.size):
                    a2, b2 = a[i] * a[i], b[i] * b[i]
                    value = full * exp2_below_zero(-kb * (a2 / (b2 if b2 > _TINY2 else _TINY2)))
                    value *= _ONE - exp2_below_zero(-kg * (a2 + b2))
                    value = value if p * b[i] + q * abs(b[i]) > _TINY else _ZERO
                    winner[i] = number if value > top[i] else winner[i]
                    top[i] = value if value > top[i] else top[i]
            else:
                for i in range(a.size):
                    value = _promoted(_ZERO, abs(a[i]), abs(b[i]), rho, gain, ka, kb, kg)
                    value = value if p * b[i] + q * abs(b[i]) > _TINY else _ZERO
                    winner[i] = number if value > top[i] else winner[i]
                    top[i] = value if value > top[i] else top[i]


@_kernel(cache=True)
def respond_3d(
    first: Any, small: Any, big: Any, p: Any, q: Any, rho: Any, rates: Any, gain: Any, start: int, best: Any, index: Any
) -> None:
    """Do as `respond_2d`, with λ1 in `first`, (scales, voxels)."""
    ka, kb, kg = rates[0], rates[1], rates[2]
    for low in range(0, best.size, CHUNK_PX):
        stop = min(low + CHUNK_PX, best.size)
        for k in range(small.shape[0]):
            l1, l2, l3 = first[k, low:stop], small[k, low:stop], big[k, low:stop]
            top, winner, number = best[low:stop], index[low:stop], i4(start + k)
            for i in range(l1.size):
                value = _promoted(abs(l1[i]), abs(l2[i]), abs(l3[i]), rho, gain, ka, kb, kg)
                value = value if p * l3[i] + q * abs(l3[i]) > _TINY else _ZERO
                winner[i] = number if value > top[i] else winner[i]
                top[i] = value if value > top[i] else top[i]


def exercise() -> None:
    """Run every kernel once, so that all are compiled, or loaded from numba's cache."""
    parts = np.zeros((6, 1, 1), np.float32)
    found = np.zeros((3, 1, 1), np.float32)
    best, index, rates = np.zeros(1, np.float32), np.zeros(1, np.int32), np.ones(3, np.float32)
    eigenvalues_2d(*parts[:3, 0], *found[1:, 0])
    eigenvalues_3d(*parts[:, 0], *found[:, 0])
    respond_2d(found[1], found[2], f4(1), f4(0), f4(1), rates, f4(1), f4(1), 0, best, index)
    respond_3d(found[0], found[1], found[2], f4(1), f4(0), f4(1), rates, f4(1), 0, best, index)


def respond(first: Any, small: Any, big: Any, constants: tuple[float, ...], start: int, best: Any, index: Any) -> None:
    """Call the kernel for slices or for a volume with (sign, rho, gain, full, rates of alpha, beta, gamma)."""
    sign, rho, gain, full = (f4(each) for each in constants[:4])
    p, q = -sign, f4(sign == 0)
    rates = np.array(constants[4:], f4) * f4(LOG2_E)
    small, big = np.ascontiguousarray(small), np.ascontiguousarray(big)
    if first is None:
        respond_2d(small, big, p, q, rho, rates, gain, full, start, best, index)
    else:
        respond_3d(np.ascontiguousarray(first), small, big, p, q, rho, rates, gain, start, best, index)
