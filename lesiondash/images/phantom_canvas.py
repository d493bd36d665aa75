"""How the phantom is painted: smooth random fields, correlated noise, and soft-edged shapes on a slice in HU.

Everything here is synthetic. A slice is painted from back to front in *reference millimetres* (a body of average
size; x to the patient's left, y to the back, z to the head), with edges one or two pixels soft.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Patch = tuple[slice, slice]

LATTICE_MM = 480.0
"""Edge of the square that the random fields cover, centred on the body."""
BODY_MM = 760.0
"""Height that the random fields cover, from 60 mm below the hips."""
WARP_MM = 11.0
"""Largest expected displacement of the warp, used as the margin of bounding boxes."""


@dataclass(frozen=True)
class Blob:
    """An ellipsoid in reference millimetres; angle turns it in the axial plane, in radians."""

    x: float
    y: float
    z: float
    rx: float
    ry: float
    rz: float
    angle: float = 0.0

    def shrink(self, z: float) -> float:
        """Scale of the axial cross-section at height z; 0 when the plane misses the ellipsoid."""
        return float(np.sqrt(max(0.0, 1 - ((z - self.z) / self.rz) ** 2)))


def spline_weights(positions: npt.NDArray[np.floating], knots: int) -> Array:
    """Cubic B-spline weights, (positions, knots), at positions in knot units (clipped to the lattice)."""
    distance = np.abs(np.clip(positions, 1, knots - 2)[:, None] - np.arange(knots)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.asarray(np.where(distance < 1, near, far), dtype=np.float32)


class SmoothField:
    """A smooth random field in the body: standard normal control points `step_mm` apart, cubic B-splines between."""

    def __init__(self, rng: np.random.Generator, step_mm: float, step_z_mm: float) -> None:
        self.step_mm, self.step_z_mm = step_mm, step_z_mm
        self.knots = int(LATTICE_MM / step_mm) + 3
        levels = int(BODY_MM / step_z_mm) + 3
        self.control = rng.standard_normal((levels, self.knots, self.knots), dtype=np.float32)

    def slice_at(self, x: Array, y: Array, z: float) -> Array:
        """Values on the grid of x (w,) and y (h,) at height z; (h, w) float32, standard deviation near 0.5."""
        levels = spline_weights(np.array([(z + 60) / self.step_z_mm + 1]), len(self.control))[0]
        used = np.flatnonzero(levels)
        plane = np.tensordot(levels[used], self.control[used], axes=1)
        across = spline_weights((x + LATTICE_MM / 2) / self.step_mm + 1, self.knots)
        down = spline_weights((y + LATTICE_MM / 2) / self.step_mm + 1, self.knots)
        return np.ascontiguousarray((down @ plane) @ across.T, dtype=np.float32)


class NoiseBank:
    """Precomputed noise with a CT-like power spectrum (ramp times roll-off), and horizontal streaks."""

    def __init__(self, seed: int, size_px: int, count: int = 6) -> None:
        self.size_px = size_px
        rng = np.random.default_rng([seed, 77])
        side = 2 * size_px
        fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
        radius = np.hypot(fy, fx)
        ramp = np.sqrt(radius + 0.01) * np.exp(-((radius / 0.24) ** 2))
        streak = np.exp(-((fx / 0.012) ** 2)) * np.exp(-((fy / 0.25) ** 2)) * (np.abs(fy) > 0.02)
        self.grain = [self._filtered(rng, ramp) for _ in range(count)]
        self.streaks = [self._filtered(rng, streak) for _ in range(2)]

    @staticmethod
    def _filtered(rng: np.random.Generator, gain: npt.NDArray[np.floating]) -> Array:
        side = gain.shape[0]
        field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * gain, s=(side, side))
        return np.asarray(field / field.std(), dtype=np.float32)

    def _cut(self, rng: np.random.Generator, fields: list[Array]) -> Array:
        field = fields[int(rng.integers(len(fields)))]
        row, column = rng.integers(0, self.size_px, size=2)
        cut = field[row : row + self.size_px, column : column + self.size_px]
        turned: Array = cut[:: 1 if rng.integers(2) else -1, :: 1 if rng.integers(2) else -1]
        return turned

    def draw(self, rng: np.random.Generator, streak: float) -> Array:
        """A new unit-variance noise field, (px, px), with `streak` times a field of horizontal streaks added."""
        first, second = self._cut(rng, self.grain), self._cut(rng, self.grain)
        drawn: Array = 0.8 * first + 0.6 * second + streak * self._cut(rng, self.streaks)
        return drawn


class Canvas:
    """One axial slice being painted. hu, x, y: (px, px) float32; x and y are the warped reference millimetres.

    wobble and texture: smooth random fields for outlines and for the inside of organs; edge_mm: softness of edges.
    """

    def __init__(self, x: Array, y: Array, warp: tuple[Array, Array], wobble: Array, texture: Array) -> None:
        self.x_axis, self.y_axis = x, y
        self.x = x[None, :] + warp[0]
        self.y = y[:, None] + warp[1]
        self.wobble, self.texture = wobble, texture
        self.edge_mm = 1.6 * float(x[1] - x[0])
        self.hu = np.full(self.x.shape, -1000, dtype=np.float32)

    def patch(self, x: float, y: float, reach: float) -> Patch | None:
        """The part of the canvas within `reach` mm of a point, warp included; None when it is off the canvas."""
        reach += WARP_MM
        x0, x1 = np.searchsorted(self.x_axis, (x - reach, x + reach))
        y0, y1 = np.searchsorted(self.y_axis, (y - reach, y + reach))
        return None if x0 >= x1 or y0 >= y1 else (slice(int(y0), int(y1)), slice(int(x0), int(x1)))

    def cover(
        self, blob: Blob, z: float, *, wobble: float = 0.0, edge: float = 1.0, square: float = 0.0
    ) -> tuple[Patch, Array] | None:
        """Soft coverage in [0, 1] of the cross-section of a blob at z, on its patch; None when it is empty.

        The edge uses the first-order distance (1 − f) / (2 |∇f| / 2) of f = (u/rx)² + (v/ry)², less `square` times the
        product of the two, which fills the corners.
        """
        k = blob.shrink(z)
        rx, ry = blob.rx * k, blob.ry * k
        if min(rx, ry) < 0.4:
            return None
        patch = self.patch(blob.x, blob.y, max(rx, ry) * (1 + wobble) + 2)
        if patch is None:
            return None
        u, v = self.x[patch] - blob.x, self.y[patch] - blob.y
        if blob.angle:
            c, s = np.float32(np.cos(blob.angle)), np.float32(np.sin(blob.angle))
            u, v = c * u + s * v, c * v - s * u
        u, v = u * np.float32(1 / rx), v * np.float32(1 / ry)
        u2, v2 = u * u, v * v
        f = u2 + v2
        if square:
            f -= np.float32(square) * u2 * v2
        slope = np.sqrt(u2 * np.float32(1 / rx**2) + v2 * np.float32(1 / ry**2)) + np.float32(1e-3)
        if wobble:
            f = f * (1 + np.float32(wobble) * self.wobble[patch])
        cover = (1 - f) / (slope * np.float32(2 * self.edge_mm * edge)) + np.float32(0.5)
        return patch, np.clip(cover, 0, 1, out=cover)

    def paint(self, patch: Patch, cover: Array, value: float | Array) -> None:
        """Blend a value in HU (a number, or an array of the patch's shape) over the canvas."""
        under = self.hu[patch]
        under += cover * (value - under)

    def blob(
        self,
        blob: Blob,
        z: float,
        value: float,
        *,
        wobble: float = 0.0,
        texture: float = 0.0,
        edge: float = 1.0,
        square: float = 0.0,
        clip: Array | None = None,
    ) -> None:
        """Paint the cross-section of a blob: HU value, HU of texture, inside `clip` (coverage, (px, px)) if given."""
        found = self.cover(blob, z, wobble=wobble, edge=edge, square=square)
        if found is None:
            return
        patch, cover = found
        if clip is not None:
            cover = cover * clip[patch]
        self.paint(patch, cover, value + np.float32(texture) * self.texture[patch] if texture else value)

    def disc(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        value: float,
        angle: float = 0.0,
        *,
        wobble: float = 0.0,
        texture: float = 0.0,
        clip: Array | None = None,
    ) -> None:
        """Paint an ellipse at any height, as `blob` does."""
        self.blob(Blob(x, y, 0, rx, ry, 1, angle), 0, value, wobble=wobble, texture=texture, clip=clip)

    def mask(self, blobs: list[Blob], z: float, *, wobble: float = 0.0) -> Array:
        """Union of the coverages of several blobs on the whole canvas."""
        union = np.zeros_like(self.hu)
        for blob in blobs:
            found = self.cover(blob, z, wobble=wobble)
            if found is not None:
                union[found[0]] = np.maximum(union[found[0]], found[1])
        return union
