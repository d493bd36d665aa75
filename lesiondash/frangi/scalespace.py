"""The Hessian at every scale, in pieces that stay in the processor's cache: products of matrices, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.frangi.derivatives import BLOCK_PX, Rows, cosines, frequencies, row_blocks, spectral_operators, spectral_pays
from lesiondash.frangi.eigenvalues import Array, namespace
from lesiondash.frangi.engine import place
from lesiondash.frangi.interpolation import Interpolation

CHUNK_PX = 65536
"""Pixels of a batch that are filtered together; with three components, what the second cache holds."""
DEVICE_CHUNK_PX = 1 << 24
SLAB = 4
"""Slices of a volume that share one product along z."""

PLANE = ((2, 0), (1, 1), (0, 2))
"""Derivative orders (y, x) of Lyy, Lyx, Lxx."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Hessian components of one scale on part of the image: each (pixels,), the part being `image[where]`, flat."""

    scale: int
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
    _placed: dict[int, tuple[Array, Array]] = field(default_factory=dict)

    @property
    def ndim(self) -> int:
        """2 for slices, 3 for a volume."""
        return len(self.sigmas_px[0])

    def pieces(self) -> Iterator[Piece]:
        """Yield the Hessian of every scale and every part of the image, each once."""
        if self.ndim == 3:
            for k in range(len(self.sigmas_px)):
                yield from self._of_volume(k)
        elif self.interpolation is None:
            for rows in self._parts(self.pixels.shape[0]):
                for k in range(len(self.sigmas_px)):
                    yield Piece(k, (rows,), tuple(self._components(self._source(k), k, rows, PLANE)))
        else:
            yield from self._interpolated(self.interpolation)

    def _interpolated(self, plan: Interpolation) -> Iterator[Piece]:
        """Filter at a few scales; the others' components are fixed combinations of theirs."""
        xp = namespace(self.pixels)
        weights = self._place(plan.weights)
        for rows in self._parts(self.pixels.shape[0]):
            exact = [xp.stack(self._components(self._source(k), k, rows, PLANE)) for k in plan.exact]
            stacked = xp.stack(exact)
            every = (weights @ stacked.reshape(len(exact), -1)).reshape(-1, *stacked.shape[1:])
            for k in range(len(self.sigmas_px)):
                yield Piece(k, (rows,), tuple(every[k]))

    def _of_volume(self, k: int) -> Iterator[Piece]:
        source = self._source(k)
        depth = source.shape[0]
        for slab in row_blocks(depth, self.sigmas_px[k][0], self._dtype, SLAB):
            weights = self._place(slab.weights)
            read = source[slab.columns].reshape(weights.shape[2], -1)
            along_z = (weights.reshape(-1, weights.shape[2]) @ read).reshape(3, -1, *source.shape[1:])
            for number in range(weights.shape[1]):
                smooth, slope, bend = (along_z[order, number][:, None] for order in range(3))
                for rows in self._parts(self.pixels.shape[1]):
                    components = (
                        *self._components(smooth, k, rows, PLANE),
                        *self._components(slope, k, rows, ((1, 0), (0, 1))),
                        *self._components(bend, k, rows, ((0, 0),)),
                    )
                    yield Piece(k, (slab.rows.start + number, rows), components)

    def _components(
        self, source: Array, k: int, rows: slice, orders: Sequence[tuple[int, int]]
    ) -> list[Array]:
        """Differentiate slices (rows or cosines, images, columns or cosines) by y, then by x; each (pixels,)."""
        along_y, along_x = self._operators(k, rows)
        first, last = min(o for o, _ in orders), max(o for o, _ in orders)
        weights = self._place(along_y.weights)[first : last + 1]
        count = weights.shape[2]
        read = source[along_y.columns].reshape(count, -1)
        passed = (weights.reshape(-1, count) @ read).reshape(weights.shape[0], -1, source.shape[2])
        return [self._along_x(passed[oy - first], along_x, ox).reshape(-1) for oy, ox in orders]

    def _along_x(self, lines: Array, operator: tuple[Rows, ...], order: int) -> Array:
        """Differentiate lines (n, columns or cosines) along their second axis."""
        if len(operator) == 1:
            return lines[:, operator[0].columns] @ self._place(operator[0].weights)[order].T
        out = namespace(lines).empty_like(lines)
        for block in operator:
            out[:, block.rows] = lines[:, block.columns] @ self._place(block.weights)[order].T
        return out

    def _operators(self, k: int, rows: slice) -> tuple[Rows, tuple[Rows, ...]]:
        height, width = self._plane
        sigma_y, sigma_x = self.sigmas_px[k][-2:]
        if self._spectral(k):
            along_y, along_x = (
                spectral_operators(size, sigma, self._dtype) for size, sigma in ((height, sigma_y), (width, sigma_x))
            )
            weights = along_y[:, rows] if rows.stop - rows.start < height else along_y
            ky, kx = along_y.shape[2], along_x.shape[2]
            return Rows(rows, slice(0, ky), weights), (Rows(slice(0, width), slice(0, kx), along_x),)
        blocks = row_blocks(height, sigma_y, self._dtype, self._block(height))
        along_y_block = blocks[rows.start // self._block(height)]
        return along_y_block, row_blocks(width, sigma_x, self._dtype, self._block(width))

    def _source(self, k: int) -> Array:
        """Return what scale k is computed from: the pixels, or their lowest cosines."""
        if not self._spectral(k):
            return self.pixels
        ky, kx = self._counts(k)
        return self._spectrum[:, :ky, :kx] if self.ndim == 3 else self._spectrum[:ky, :, :kx]

    @cached_property
    def _spectrum(self) -> Array:
        height, width = self._plane
        counts = [self._counts(k) for k in range(len(self.sigmas_px)) if self._spectral(k)]
        along_y, along_x = (
            self._place(cosines(size, self._dtype))[: max(each[axis] for each in counts)]
            for axis, size in enumerate((height, width))
        )
        by_x = self.pixels @ along_x.T
        if self.ndim == 3:
            return along_y @ by_x
        return (along_y @ by_x.reshape(height, -1)).reshape(len(along_y), -1, len(along_x))

    def _counts(self, k: int) -> list[int]:
        return [
            frequencies(size, sigma) for size, sigma in zip(self._plane, self.sigmas_px[k][-2:], strict=True)
        ]

    @property
    def _plane(self) -> tuple[int, int]:
        return self.pixels.shape[-2 if self.ndim == 3 else 0], self.pixels.shape[-1]

    def _spectral(self, k: int) -> bool:
        sigma_y, sigma_x = self.sigmas_px[k][-2:]
        # What float64 is for is to be certain: no frequency is left out.
        return self._dtype == "<f4" and spectral_pays(self._plane, (sigma_y, sigma_x))

    @cached_property
    def _dtype(self) -> str:
        return "<f4" if self.pixels.itemsize == 4 else "<f8"

    def _block(self, size: int) -> int:
        # A device wants few large products, a processor such as leave their result in its cache.
        return BLOCK_PX if self.device is None else size

    def _parts(self, height: int) -> list[slice]:
        step = self._block(height)
        return [slice(start, min(start + step, height)) for start in range(0, height, step)]

    def _place(self, array: npt.NDArray[np.floating[Any]]) -> Array:
        if self.device is None:
            return array
        if id(array) not in self._placed:
            # The array is kept with its copy, so that no other can take its identity.
            self._placed[id(array)] = array, place(array, self.device)
        return self._placed[id(array)][1]
