"""The Hessian at every scale, in pieces that stay in the processor's cache: products of matrices, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.frangi.backend import place
from lesiondash.frangi.derivatives import (
    BLOCK_PX,
    Rows,
    cosines,
    frequencies,
    row_blocks,
    spectral_operators,
    spectral_pays,
)
from lesiondash.frangi.eigenvalues import Array, namespace
from lesiondash.frangi.interpolation import Interpolation

CHUNK_PX = 65536
"""Pixels of a batch that are filtered together; with three components, what the second cache holds."""
DEVICE_CHUNK_PX = 1 << 24
TILE_PX = 8192
"""Pixels of which all scales are interpolated at once."""
SLAB = 4
"""Slices of a volume that share one product along z."""

Pairs = Sequence[tuple[int, int]]

PLANE: Pairs = ((2, 0), (1, 1), (0, 2))
"""Derivative orders (y, x) of Lyy, Lyx, Lxx."""
VOLUME: tuple[Pairs, ...] = (PLANE, ((1, 0), (0, 1)), ((0, 0),))
"""Those of Lyy, Lyx, Lxx; Lzy, Lzx; Lzz: by the order along z."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Hessian components of some scales on part of the image: each (scales, pixels), of `image[where]`, flat."""

    scales: slice
    where: tuple[int | slice, ...]
    components: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class ScaleSpace:
    """An image and the scales at which to look at it.

    pixels: a batch in the order (rows, images, columns), so that each pass is one large product; or a volume
    (z, y, x). sigmas_px: of each scale, one per axis (y, x) or (z, y, x). σ² normalised: `pieces` yields
    L_ij = σ_i σ_j ∂_i ∂_j of the smoothed image, in float32 or float64.
    """

    pixels: Array
    sigmas_px: tuple[tuple[float, ...], ...]
    device: str | None = None
    interpolation: Interpolation | None = None
    _buffers: dict[tuple[str, int], Array] = field(default_factory=dict)
    _placed: dict[int, tuple[Array, Array]] = field(default_factory=dict)

    @property
    def ndim(self) -> int:
        """2 for slices, 3 for a volume."""
        return len(self.sigmas_px[0])

    def pieces(self) -> Iterator[Piece]:
        """Yield the Hessian of every scale and every part of the image, each once.

        A piece's arrays are written anew for the next one.
        """
        if self.ndim == 3:
            for k in range(len(self.sigmas_px)):
                yield from self._of_volume(k)
        elif self.interpolation is None:
            for rows in self._parts():
                for k in range(len(self.sigmas_px)):
                    found = self._components(self._source(k), k, rows, PLANE)
                    yield Piece(slice(k, k + 1), (rows,), tuple(each[None] for each in found))
        else:
            yield from self._interpolated(self.interpolation)

    def _interpolated(self, plan: Interpolation) -> Iterator[Piece]:
        """Filter at a few scales; the others' components are fixed combinations of theirs."""
        xp = namespace(self.pixels)
        weights, total = self._place(np.asarray(plan.weights, self._dtype)), len(self.sigmas_px)
        line = self.pixels.shape[1] * self.pixels.shape[2]
        step = max(1, TILE_PX // line) if self.device is None else self.pixels.shape[0]
        for rows in self._parts():
            exact = self._buffer("exact", 3, (len(PLANE), len(plan.exact), (rows.stop - rows.start) * line))
            for number, k in enumerate(plan.exact):
                for target, found in zip(exact, self._components(self._source(k), k, rows, PLANE), strict=True):
                    target[number] = found
            for start in range(rows.start, rows.stop, step):
                tile = slice(start, min(start + step, rows.stop))
                pixels = slice((tile.start - rows.start) * line, (tile.stop - rows.start) * line)
                made = self._buffer("made", 3, (len(PLANE), total, pixels.stop - pixels.start))
                for target, known in zip(made, exact, strict=True):
                    xp.matmul(weights, known[:, pixels], out=target)
                yield Piece(slice(0, total), (tile,), tuple(made))

    def _of_volume(self, k: int) -> Iterator[Piece]:
        source = self._source(k)
        for slab in row_blocks(len(source), self.sigmas_px[k][0], self._dtype, SLAB):
            weights = self._place(slab.weights)
            read = source[slab.columns].reshape(weights.shape[2], -1)
            along_z = (weights.reshape(-1, weights.shape[2]) @ read).reshape(3, -1, *source.shape[1:])
            for number in range(weights.shape[1]):
                for rows in self._parts():
                    components = [
                        each[None]
                        for order, pairs in enumerate(VOLUME)
                        for each in self._components(along_z[order, number][:, None], k, rows, pairs)
                    ]
                    yield Piece(slice(k, k + 1), (slab.rows.start + number, rows), tuple(components))

    def _components(self, source: Array, k: int, rows: slice, orders: Pairs) -> list[Array]:
        """Differentiate slices (rows or cosines, images, columns or cosines) by y, then by x; each (pixels,)."""
        xp = namespace(source)
        first, count = min(o for o, _ in orders), len(orders)
        images, columns = source.shape[1:]
        passed = self._buffer("y", len(orders), (count, rows.stop - rows.start, images * columns))
        for block in self._row_blocks(k, rows):
            read = source[block.columns].reshape(block.weights.shape[2], -1)
            here = slice(block.rows.start - rows.start, block.rows.stop - rows.start)
            xp.matmul(block.weights[first : first + count], read, out=passed[:, here])
        lines = passed.reshape(count, -1, columns)
        out = self._buffer("x", len(orders), (count, lines.shape[1], self._plane[1]))
        for block in self._column_blocks(k):
            for number, (oy, ox) in enumerate(orders):
                target = out[number][:, block.rows]
                xp.matmul(lines[oy - first][:, block.columns], block.weights[ox], out=target)
        return [each.reshape(-1) for each in out]

    def _row_blocks(self, k: int, rows: slice) -> list[Rows]:
        """Return the operators along y that make `rows`, weights (3, rows, rows or cosines)."""
        height, sigma = self._plane[0], self.sigmas_px[k][-2]
        if self._spectral[k]:
            operators = self._place(spectral_operators(height, sigma, self._dtype))
            return [Rows(rows, slice(None), operators[:, rows])]
        step = self._block(height)
        blocks = row_blocks(height, sigma, self._dtype, step)[rows.start // step : -(-rows.stop // step)]
        return [Rows(each.rows, each.columns, self._place(each.weights)) for each in blocks]

    def _column_blocks(self, k: int) -> list[Rows]:
        """Return the operators along x, transposed: weights (3, columns or cosines, columns)."""
        width, sigma = self._plane[1], self.sigmas_px[k][-1]
        if self._spectral[k]:
            operators = self._place(spectral_operators(width, sigma, self._dtype, True))
            return [Rows(slice(None), slice(None), operators)]
        blocks = row_blocks(width, sigma, self._dtype, self._block(width), True)
        return [Rows(each.rows, each.columns, self._place(each.weights)) for each in blocks]

    def _buffer(self, name: str, number: int, shape: tuple[int, ...]) -> Array:
        """Return memory that is used again for the next piece: new pages cost as much as the product."""
        key = name, number
        size = prod(shape)
        if key not in self._buffers or len(self._buffers[key]) < size:
            self._buffers[key] = place(np.empty(size, self._dtype), self.device)
        return self._buffers[key][:size].reshape(shape)

    def _source(self, k: int) -> Array:
        """Return what scale k is computed from: the pixels, or their lowest cosines."""
        if not self._spectral[k]:
            return self.pixels
        ky, kx = self._counts(k)
        return self._spectrum[:, :ky, :kx] if self.ndim == 3 else self._spectrum[:ky, :, :kx]

    @cached_property
    def _spectrum(self) -> Array:
        height, width = self._plane
        counts = [self._counts(k) for k in range(len(self.sigmas_px)) if self._spectral[k]]
        along_y, along_x = (
            self._place(cosines(size, max(each[axis] for each in counts), self._dtype))
            for axis, size in enumerate((height, width))
        )
        by_x = self.pixels @ along_x.T
        if self.ndim == 3:
            return along_y @ by_x
        return (along_y @ by_x.reshape(height, -1)).reshape(len(along_y), -1, len(along_x))

    def _counts(self, k: int) -> list[int]:
        return [frequencies(size, sigma) for size, sigma in zip(self._plane, self.sigmas_px[k][-2:], strict=True)]

    @property
    def _plane(self) -> tuple[int, int]:
        return self.pixels.shape[-2 if self.ndim == 3 else 0], self.pixels.shape[-1]

    @cached_property
    def _spectral(self) -> list[bool]:
        """For each scale, whether it is computed from cosines."""
        # What float64 is for is to be certain: no frequency is left out.
        return [self._dtype == "<f4" and spectral_pays(self._plane, (each[-2], each[-1])) for each in self.sigmas_px]

    @cached_property
    def _dtype(self) -> str:
        return "<f4" if self.pixels.itemsize == 4 else "<f8"

    def _block(self, size: int) -> int:
        # A device wants few large products, a processor such as leave their result in its cache.
        return BLOCK_PX if self.device is None else size

    def _parts(self) -> list[slice]:
        height, (images, width) = self._plane[0], (1 if self.ndim == 3 else self.pixels.shape[1], self.pixels.shape[2])
        step = self._block(height)
        step *= max(1, CHUNK_PX // (step * images * width))
        return [slice(start, min(start + step, height)) for start in range(0, height, step)]

    def _place(self, array: npt.NDArray[np.floating[Any]]) -> Array:
        if self.device is None:
            return array
        if id(array) not in self._placed:
            # The array is kept with its copy, so that no other can take its identity.
            self._placed[id(array)] = array, place(array, self.device)
        return self._placed[id(array)][1]
