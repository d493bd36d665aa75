"""Gaussian derivatives along one axis, as matrices: the border is part of the matrix, and every pass is a product.

Two factorings of the same operator serve. Rows of a band, in blocks: exact, cheap where the kernel is short. And the
cosine series (DCT-II), which diagonalises a kernel that is continued by reflection: of a wide Gaussian only the
lowest frequencies are left, so that a product with a few columns does. `spectral_pays` says which is cheaper.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.records import FloatArray

TRUNCATE = 6.0
"""Kernel radius in standard deviations."""
MIN_SIGMA_PX, MAX_SIGMA_PX = 1e-3, 1000.0
BLOCK_PX = 64
"""Rows of a band that go into one product: more waste flops on zeros, fewer starve the matrix product."""
SPECTRAL_CUT = 5.92
"""Frequencies ω above this / σ are left out, in float32 only: there σ²ω² exp(−σ²ω²/2) is below 1e-6."""
OPERATOR_BYTES = 128_000_000
"""Operators that are kept for the next image, of all sizes and scales together; 41 scales of 512² take 40 MB."""

P = ParamSpec("P")
T = TypeVar("T")
_kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
_lock = threading.Lock()
Kernels = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Rows:
    """One block of rows of the operators of order 0, 1 and 2: weights (3, rows, columns), zero outside `columns`."""

    rows: slice
    columns: slice
    weights: FloatArray


def _keep(build: Callable[P, T]) -> Callable[P, T]:
    """Keep what a function of hashable arguments makes; above `OPERATOR_BYTES` the longest unused goes first."""

    @wraps(build)
    def kept(*args: P.args, **kwargs: P.kwargs) -> T:
        key = build.__name__, args, tuple(kwargs.items())
        with _lock:
            if key in _kept:
                _kept.move_to_end(key)
                return cast(T, _kept[key][0])
        made = build(*args, **kwargs)
        with _lock:
            _kept[key] = made, _bytes_of(made)
            while sum(size for _, size in _kept.values()) > OPERATOR_BYTES:
                _kept.popitem(last=False)
        return made

    return kept


def _bytes_of(made: Any) -> int:
    arrays = [made] if isinstance(made, np.ndarray) else [block.weights for block in made]
    return sum({id(array): array.nbytes for array in arrays}.values())


def check_sigma(sigma_px: float) -> None:
    """Raise `FilterError` for a scale outside of `MIN_SIGMA_PX` to `MAX_SIGMA_PX`."""
    if sigma_px > MAX_SIGMA_PX:
        raise FilterError(
            f"The scale is {sigma_px:g} pixels, more than {MAX_SIGMA_PX:g}; take smaller sigmas or check the spacing."
        )
    if not sigma_px >= MIN_SIGMA_PX:
        raise FilterError(
            f"The scale is {sigma_px:g} pixels, less than {MIN_SIGMA_PX:g}; take larger sigmas or check the spacing."
        )


def gaussian_derivatives(sigma_px: float) -> Kernels:
    """Return sampled Gaussian kernels of derivative order 0, 1 and 2, each (2r + 1,) with r = ceil(6 σ).

    Their moments are corrected: h0 sums to 1, h1 maps x to 1, h2 maps 1 to 0 and x² to 2. Second derivatives
    of polynomials up to degree 3 are exact at every σ, where plain sampling errs below σ = 1.
    Raises `FilterError` for a scale outside of `MIN_SIGMA_PX` to `MAX_SIGMA_PX`.
    """
    check_sigma(sigma_px)
    radius = math.ceil(TRUNCATE * sigma_px)
    k = np.arange(-radius, radius + 1, dtype=np.float64)
    h0 = np.exp(-0.5 * (k / sigma_px) ** 2)
    h0 /= h0.sum()
    # Weights relative to the first neighbour: the same kernels, and no underflow at small σ.
    beside = np.where(k == 0, 0.0, np.exp(-0.5 * (k**2 - 1) / sigma_px**2, where=k != 0, out=np.zeros_like(k)))
    h1 = -k * beside / np.sum(k**2 * beside)
    h2 = beside * (k**2 - np.sum(k**2 * h0))
    h2 *= 2 / np.sum(k**2 * h2)
    h2[radius] = -h2.sum()
    return h0, h1, h2


def derivative_operators(size: int, sigma_px: float, dtype: npt.DTypeLike = np.float64) -> FloatArray:
    """Return σ^o times the derivative of order o along an axis of `size` pixels, as matrices (3, size, size).

    The border is part of the matrix: columns are folded by reflection, as often as a wide kernel needs.
    Raises `FilterError` for a scale outside of `MIN_SIGMA_PX` to `MAX_SIGMA_PX`.
    """
    return _rows(size, sigma_px, slice(0, size), slice(0, size)).astype(dtype)


def _rows(size: int, sigma_px: float, rows: slice, columns: slice) -> npt.NDArray[np.float64]:
    """Return part of the operators, (3, rows, columns), outside of which `rows` hold zeros only."""
    kernels = gaussian_derivatives(sigma_px)
    radius = len(kernels[0]) // 2
    height, width = rows.stop - rows.start, columns.stop - columns.start
    # A convolution, so out[i] takes h[k] from pixel i − k; beyond the border pixels repeat in reverse.
    read = (np.arange(rows.start, rows.stop)[:, None] - np.arange(-radius, radius + 1)) % (2 * size)
    read = np.minimum(read, 2 * size - 1 - read) - columns.start
    places = (np.arange(height)[:, None] * width + read).ravel()
    parts = [
        sigma_px**order * np.bincount(places, np.tile(kernel, height), height * width).reshape(height, width)
        for order, kernel in enumerate(kernels)
    ]
    return np.stack(parts)


@_keep
def row_blocks(
    size: int, sigma_px: float, dtype: str, block: int = BLOCK_PX, transposed: bool = False
) -> tuple[Rows, ...]:
    """Return `derivative_operators` cut into blocks of rows, each with the columns that it reads.

    transposed: weights are (3, columns, rows), for a product from the right.
    """
    radius = math.ceil(TRUNCATE * sigma_px)
    blocks: list[Rows] = []
    inner: FloatArray | None = None
    for start in range(0, size, block):
        stop = min(start + block, size)
        columns = slice(max(0, start - radius), min(size, stop + radius))
        whole = columns.stop - columns.start == block + 2 * radius
        if whole and inner is not None:
            weights = inner  # away from the border all blocks are the same
        else:
            part = _rows(size, sigma_px, slice(start, stop), columns).astype(dtype)
            weights = np.ascontiguousarray(part.swapaxes(1, 2) if transposed else part)
            weights.flags.writeable = False
            inner = weights if whole else None
        blocks.append(Rows(slice(start, stop), columns, weights))
    return tuple(blocks)


def frequencies(size: int, sigma_px: float) -> int:
    """Return how many cosines of an axis of `size` pixels a Gaussian second derivative leaves above the cut."""
    return min(size, math.ceil(SPECTRAL_CUT * size / (math.pi * sigma_px)) + 1)


def spectral_pays(shape: tuple[int, int], sigmas_px: tuple[float, float]) -> bool:
    """Say whether the cosine series takes fewer operations than the band, for both axes of a slice."""
    height, width = shape
    ky, kx = (frequencies(size, sigma) for size, sigma in zip(shape, sigmas_px, strict=True))
    reach_y, reach_x = (
        min(size, min(size, BLOCK_PX) + 2 * math.ceil(TRUNCATE * sigma))
        for size, sigma in zip(shape, sigmas_px, strict=True)
    )
    return ky * kx / width + kx < 0.9 * (reach_y + reach_x) and min(height, width) > 1


@_keep
def cosines(size: int, count: int, dtype: str) -> FloatArray:
    """Return the first rows of the orthonormal DCT-II matrix, (count, size): row k has the frequency πk/size."""
    k, x = np.arange(count)[:, None], np.arange(size) + 0.5
    series = np.cos(np.pi / size * k * x) * math.sqrt(2 / size)
    series[0] /= math.sqrt(2)
    return np.asarray(series, np.dtype(dtype))


@_keep
def spectral_operators(size: int, sigma_px: float, dtype: str, transposed: bool = False) -> FloatArray:
    """Return (3, size, K): what each of the K lowest cosines becomes under the operators of order 0, 1, 2.

    transposed: (3, K, size), for a product from the right.

    The product with `cosines(size, K, ...)` is `derivative_operators`, but for the frequencies left out.
    """
    count = frequencies(size, sigma_px)
    kernels = gaussian_derivatives(sigma_px)
    omega = np.pi / size * np.arange(count)
    j = np.arange(len(kernels[0])) - len(kernels[0]) // 2
    x = (np.arange(size) + 0.5)[:, None]
    norm = np.full(count, math.sqrt(2 / size))
    norm[0] = math.sqrt(1 / size)
    even, odd = np.cos(np.outer(omega, j)), np.sin(np.outer(omega, j))
    waves = np.cos(x * omega) * norm
    operators = np.stack(
        # cos(ω(x − j)) = cos ωx cos ωj + sin ωx sin ωj: an odd kernel turns the cosine into a sine.
        [waves * (even @ kernels[0]), np.sin(x * omega) * norm * (odd @ kernels[1]), waves * (even @ kernels[2])]
    )
    operators *= np.array([1, sigma_px, sigma_px**2])[:, None, None]
    return np.ascontiguousarray(operators.swapaxes(1, 2) if transposed else operators, np.dtype(dtype))
