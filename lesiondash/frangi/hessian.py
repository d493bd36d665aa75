"""The half of the Frangi filter that depends on image and scales alone: Hessian eigenvalues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from types import ModuleType
from typing import cast

import numpy as np
import numpy.typing as npt

from lesiondash.frangi.backend import fetch, full_precision, kernels, place
from lesiondash.frangi.derivatives import check_sigma
from lesiondash.frangi.eigenvalues import Array, Eigenvalues, eigenvalues, squared_norm
from lesiondash.frangi.inputs import checked_image, checked_sigmas, checked_spacing, checked_tolerance
from lesiondash.frangi.interpolation import interpolate
from lesiondash.frangi.scalespace import CHUNK_PX, DEVICE_CHUNK_PX, ScaleSpace
from lesiondash.records import FloatArray, FrangiParams, FrangiResult


@dataclass(frozen=True, eq=False)
class HessianStack:
    """Signed eigenvalues of the σ²-normalised Hessian at every scale, kept while the parameters are tuned.

    small, big: λ2 and λ3, (scales, h, w), (scales, n, h, w) or, of a volume, (scales, z, y, x), in units of the
    image; first: λ1 of a volume, None for slices, where it is 0. |λ1| ≤ |λ2| ≤ |λ3|. sigmas: in pixels, or in mm
    where a spacing was given. hessian_error: bound of what interpolated scales add to a second derivative. Arrays
    are numpy's, or torch tensors on `device`. One in float32 is for gamma from 1e-5 (`formulas.needed_dtype`).

    >>> stack = HessianStack.compute(np.eye(16), (1.0, 2.0))
    >>> stack.respond(FrangiParams(sigmas=(1.0, 2.0), beta=0.3)).response.shape
    (16, 16)
    """

    small: FloatArray
    big: FloatArray
    sigmas: tuple[float, ...]
    first: FloatArray | None = None
    hessian_error: float = 0.0
    device: str | None = None
    compile: bool | None = None

    @classmethod
    def compute(
        cls,
        image: npt.ArrayLike,
        sigmas: Sequence[float],
        *,
        spacing_mm: Sequence[float] | None = None,
        ndim: int = 2,
        dtype: npt.DTypeLike = np.float64,
        tolerance: float | None = None,
        device: str | None = None,
        compile: bool | None = None,
    ) -> HessianStack:
        """Filter with sampled Gaussian derivatives and take the eigenvalues of each pixel's Hessian.

        image: (h, w), a batch of slices (n, h, w), or with `ndim=3` a volume (z, y, x); finite, nominally in
        [0, 1]. spacing_mm: (y, x) or (z, y, x); sigmas are then in mm. The image is continued by reflection about
        its edge (half-sample symmetric). dtype: float32, for speed, or float64, to be certain. tolerance: the
        largest error, per unit of the image's contrast, that interpolating scales of a slice may add to a second
        derivative; None computes every scale. device: of torch, such as "cuda". compile: True waits for compiled
        kernels, False does without, None takes them if they are warm.
        Raises `FilterError` for an image, scale, spacing or tolerance outside of this, or a stack beyond the memory
        limit.

        Source: Frangi et al. 1998 (doi 10.1007/BFb0056195), scale normalisation after Lindeberg with power 2.
        """
        setting = Setting.checked(sigmas, spacing_mm, ndim, tolerance, device)
        scales = setting.sigmas
        instead = "tune on a part of it, or call frangi_filter, which keeps no scale"
        pixels = checked_image(image, dtype, ndim, 1 + ndim * len(scales), instead)
        shape = np.shape(image)
        found = [place(np.empty((len(scales), *pixels.shape), pixels.dtype), device) for _ in range(ndim)]
        fast = kernels(compile, pixels.dtype) if device is None else None
        error = 0.0
        with full_precision(device):
            for images, space in scale_spaces(pixels, setting):
                error = max(error, _fill(space, [each[:, images] for each in found], fast))
        found = [each.reshape(len(scales), *shape) for each in found]
        first = found[0] if ndim == 3 else None
        return cls(found[-2], found[-1], scales, first, error, device, compile)

    @property
    def ndim(self) -> int:
        """2 for slices, 3 for a volume."""
        return 2 if self.first is None else 3

    @cached_property
    def peak_norm(self) -> FloatArray:
        """Largest structure norm S over pixels and scales, per image: shape () or (n,)."""
        kept = () if self.ndim == 3 else self.big.shape[1:-2]
        peaks = np.zeros(kept, np.float64)
        for k in range(len(self.sigmas)):
            square = squared_norm((None if self.first is None else self.first[k], self.small[k], self.big[k]))
            peaks = np.maximum(peaks, np.max(fetch(square).reshape(*kept, -1), axis=-1))
        return np.asarray(np.sqrt(peaks), fetch(self.big[:0]).dtype)

    @property
    def auto_gamma(self) -> FloatArray:
        """What gamma "auto" is, per image: half of `peak_norm`, or 1 for a flat image, whose response is 0 anyway."""
        return np.asarray(np.where(self.peak_norm > 0, self.peak_norm / 2, 1))

    def respond(self, params: FrangiParams, *, per_scale: bool = False) -> FrangiResult:
        """Evaluate the filter at these parameters, of the stack's sigmas; see `response.respond`."""
        # The formula builds on this class, so it can only be looked up once both files are read.
        from lesiondash.frangi.response import respond

        return respond(self, params, per_scale=per_scale)

    def responses(self, params: FrangiParams) -> FloatArray:
        """Return each scale's response, (scales, [n,] h, w), in [0, 1]; see `response.responses`."""
        from lesiondash.frangi.response import responses

        return responses(self, params)


@dataclass(frozen=True)
class Setting:
    """How an image is filtered: checked scales and spacing (both in mm or both in px), tolerance and device."""

    sigmas: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    tolerance: float | None = None
    device: str | None = None

    @classmethod
    def checked(
        cls,
        sigmas: Sequence[float],
        spacing_mm: Sequence[float] | None,
        ndim: int,
        tolerance: float | None,
        device: str | None,
    ) -> Setting:
        """Return the setting of what a caller gave; raises `FilterError` for what is outside its domain."""
        spacing = checked_spacing(spacing_mm, ndim)
        return cls(checked_sigmas(sigmas), spacing, checked_tolerance(tolerance, ndim), device)

    @property
    def ndim(self) -> int:
        """2 for slices, 3 for a volume."""
        return len(self.spacing_mm)


def scale_spaces(pixels: FloatArray, setting: Setting) -> Iterator[tuple[slice, ScaleSpace]]:
    """Yield the images, a chunk of a batch (n, h, w) or a whole volume (z, y, x), and their scale space.

    Raises `FilterError` for a scale that is too small or too large in pixels.
    """
    device = setting.device
    sigmas_px = tuple(tuple(sigma / step for step in setting.spacing_mm) for sigma in setting.sigmas)
    for sigma_px in (each for one in sigmas_px for each in one):
        check_sigma(sigma_px)
    if setting.ndim == 3:
        yield slice(0, len(pixels)), ScaleSpace(place(pixels, device), sigmas_px, device)
        return
    plan = None if setting.tolerance is None else interpolate(sigmas_px, setting.tolerance)
    count = max(1, (CHUNK_PX if device is None else DEVICE_CHUNK_PX) // prod(pixels.shape[1:]))
    for start in range(0, len(pixels), count):
        part = np.ascontiguousarray(pixels[start : start + count].transpose(1, 0, 2))
        yield slice(start, start + part.shape[1]), ScaleSpace(place(part, device), sigmas_px, device, plan)


def _fill(space: ScaleSpace, found: list[Array], fast: ModuleType | None) -> float:
    """Write a scale space's eigenvalues into `found`, each (scales, n, h, w) or (scales, z, y, x)."""
    for piece in space.pieces():
        values = piece_eigenvalues(piece.components, fast)[3 - space.ndim :]
        for target, value in zip(found, values, strict=True):
            # The scale space of slices has rows before images.
            ordered = target[piece.scales] if space.ndim == 3 else target[piece.scales].swapaxes(1, 2)
            part = ordered[(slice(None), *piece.where)]
            part[...] = cast(Array, value).reshape(part.shape)
    return 0.0 if space.interpolation is None else space.interpolation.bound


def piece_eigenvalues(components: Sequence[Array], fast: ModuleType | None) -> Eigenvalues:
    """Return λ1, λ2, λ3 of components, each (scales, pixels), by compiled kernels where those serve."""
    if fast is None:
        return eigenvalues(components)
    small, big = np.empty_like(components[0]), np.empty_like(components[0])
    flat = [each.reshape(-1) for each in components]
    if len(components) == 3:
        fast.eigenvalues_2d(*flat, small.reshape(-1), big.reshape(-1))
        return None, small, big
    first = np.empty_like(small)
    fast.eigenvalues_3d(*flat, first.reshape(-1), small.reshape(-1), big.reshape(-1))
    return first, small, big
