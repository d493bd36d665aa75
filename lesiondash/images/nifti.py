"""A series as the bytes of a NIfTI-1 file, in memory, placed in the patient where the files say how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesiondash.errors import ScanError
from lesiondash.records import Series

MIN_SLICES = 8
MAX_VOLUME_BYTES = 48 * 2**20
MAX_FACTOR = 8
_HEADER = np.dtype(
    [
        ("sizeof_hdr", "<i4"),
        ("unused_1", "V36"),
        ("dim", "<i2", 8),
        ("unused_2", "V14"),
        ("datatype", "<i2"),
        ("bitpix", "<i2"),
        ("slice_start", "<i2"),
        ("pixdim", "<f4", 8),
        ("vox_offset", "<f4"),
        ("scl_slope", "<f4"),
        ("scl_inter", "<f4"),
        ("slice_end", "<i2"),
        ("slice_code", "i1"),
        ("xyzt_units", "i1"),
        ("unused_3", "V128"),
        ("qform_code", "<i2"),
        ("sform_code", "<i2"),
        ("quatern_and_offset", "<f4", 6),
        ("srow", "<f4", (3, 4)),
        ("intent_name", "S16"),
        ("magic", "S4"),
        ("extension", "V4"),
    ]
)
"""The 348 bytes of the header (nifti1.h) and the four that say that no extension follows."""
_INT16, _FLOAT32, _MM, _SCANNER = 4, 16, 2, 1


@dataclass(frozen=True, eq=False)
class Nifti:
    """A NIfTI-1 file and where it lies.

    affine: (4, 4) from voxel (i, j, k) = (x, y, z) of the file to mm, RAS; factors: how many pixels of the series were
    averaged to one voxel, (z, y, x); shape: voxels (z, y, x).
    """

    data: bytes
    affine: npt.NDArray[np.float64]
    factors: tuple[int, int, int]
    shape: tuple[int, int, int]

    def slice_at(self, mm: npt.ArrayLike) -> int:
        """Return which slice of the series a point (x, y, z) in mm, RAS, lies on; the nearest where it is outside."""
        k = float((np.linalg.inv(self.affine) @ np.append(np.asarray(mm, np.float64)[:3], 1))[2])
        factor = self.factors[0]
        return int(np.clip(round(k * factor + (factor - 1) / 2), 0, self.shape[0] * factor - 1))

    def fraction_of_slice(self, index: int) -> tuple[int, float]:
        """Return the axis (0 right, 1 front, 2 head) that the slices follow, and how far along it one lies, 0 to 1."""
        along = self.affine[:3, 2]
        axis = int(np.argmax(np.abs(along)))
        share = ((index + 0.5) / self.factors[0]) / self.shape[0]
        return axis, float(np.clip(share if along[axis] > 0 else 1 - share, 0, 1))


def affine_of(series: Series) -> npt.NDArray[np.float64]:
    """Return (4, 4) from pixel (x, y, slice) to mm, RAS; axial, feet first, where the series does not say."""
    z_mm, y_mm, x_mm = series.spacing_mm
    source, count = series.source, len(series)
    placed = np.diag([x_mm, y_mm, z_mm, 1.0])
    if source is not None and source.orientation is not None and source.origins_mm is not None:
        row, column = np.asarray(source.orientation, np.float64).reshape(2, 3)
        first, last = (np.asarray(source.origins_mm[at], np.float64) for at in (0, -1))
        # From the places of the slices, not from their normal: a tilted gantry shears the volume.
        step = (last - first) / (count - 1) if count > 1 else np.cross(row, column) * z_mm
        if np.linalg.norm(step) > 0:
            placed[:3] = np.column_stack([row * x_mm, column * y_mm, step, first])
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ placed)  # DICOM counts to the left and to the back


def nifti_of(series: Series, max_bytes: int = MAX_VOLUME_BYTES) -> Nifti:
    """Return a series as a NIfTI-1 file; pixels are averaged 2 × 2 and so on where it would exceed `max_bytes`.

    Values are int16 or float32, as in the series. Raises `ScanError` below eight slices, and where averaging by eight
    each way does not make it fit.
    """
    if len(series) < MIN_SLICES:
        raise ScanError(f"Planes and 3-D need {MIN_SLICES} slices or more; this series has {len(series)}.")
    factors = [1, 1, 1]
    for axes in ((1, 2), (0,)) * 3:
        if _bytes(series, factors) > max_bytes and (0 not in axes or len(series) // (2 * factors[0]) >= MIN_SLICES):
            for axis in axes:
                factors[axis] = min(2 * factors[axis], MAX_FACTOR)
    if _bytes(series, factors) > max_bytes or min(series.hu.shape[at] // factors[at] for at in range(3)) == 0:
        raise ScanError(f"This series is too large for planes and 3-D (limit {max_bytes / 2**20:g} MiB of voxels).")
    voxels = _averaged(series.hu, (factors[0], factors[1], factors[2]))
    z, y, x = voxels.shape
    shrink = np.diag([factors[2], factors[1], factors[0], 1.0])
    shrink[:3, 3] = [(factors[at] - 1) / 2 for at in (2, 1, 0)]
    affine = affine_of(series) @ shrink
    data = _header((x, y, z), affine, voxels.dtype).tobytes() + voxels.tobytes()
    return Nifti(data, affine, (factors[0], factors[1], factors[2]), (z, y, x))


def _bytes(series: Series, factors: list[int]) -> int:
    size = 2 if series.hu.dtype == np.int16 else 4
    return size * int(np.prod([series.hu.shape[at] // factors[at] for at in range(3)]))


def _averaged(hu: npt.NDArray[np.generic], factors: tuple[int, int, int]) -> npt.NDArray[np.generic]:
    """Return block means, (z, y, x), a slab at a time, so that memory stays that of the result."""
    kind = np.dtype("<i2") if hu.dtype == np.int16 else np.dtype("<f4")
    if factors == (1, 1, 1):
        return np.ascontiguousarray(hu, dtype=kind)
    z, y, x = (length // factor for length, factor in zip(hu.shape, factors, strict=True))
    voxels = np.empty((z, y, x), kind)
    for k in range(z):
        slab = hu[k * factors[0] : (k + 1) * factors[0], : y * factors[1], : x * factors[2]].astype(np.float32)
        mean = slab.reshape(factors[0], y, factors[1], x, factors[2]).mean((0, 2, 4))
        voxels[k] = np.rint(mean) if kind.kind == "i" else mean
    return voxels


def _header(
    size: tuple[int, int, int], affine: npt.NDArray[np.float64], kind: np.dtype[np.generic]
) -> npt.NDArray[np.void]:
    header = np.zeros((), _HEADER)
    header["sizeof_hdr"], header["vox_offset"], header["scl_slope"] = 348, 352, 1
    header["dim"] = [3, *size, 1, 1, 1, 1]
    header["datatype"] = _INT16 if kind.kind == "i" else _FLOAT32
    header["bitpix"] = 8 * kind.itemsize
    header["pixdim"] = [1, *np.linalg.norm(affine[:3, :3], axis=0), 0, 0, 0, 0]
    header["xyzt_units"], header["sform_code"] = _MM, _SCANNER
    header["srow"], header["magic"] = affine[:3], b"n+1"
    return header
