"""Stored values into what they mean: HU where the image is CT, grey values where it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lesiondash.images.dicom_header import Header
from lesiondash.images.dicom_palette import LUMINANCE, palette_of
from lesiondash.images.dicom_pixels import PixelFormat

AIR_HU = -1024
_HU_TYPES = ("HU", "HU_MOD")
_OTHER_TYPES = ("OD", "MGML", "Z_EFF", "ED", "EDW", "PCT")
"""Defined terms of Rescale Type (PS3.3 C.11.1.1.2) that are no HU; any other word may still mean them."""
_HU_CODES = ("[hnsf'u]", "hu", "hounsfield unit")
_NO_RESCALE = "The files give no rescale slope and intercept; their values are taken as HU."
_NO_INTERCEPT = "The files give no rescale intercept; 0 is taken."
_NO_HU_SAID = "The files do not say that their values are HU; they may be another measure."
Unit = Literal["HU", "values"]
Table = tuple[int, npt.NDArray[Any]]
"""A modality lookup table: the first stored value that it maps, and what it maps to."""


@dataclass(frozen=True)
class Meaning:
    """What a frame's stored values mean: their unit, their rescale, and what is to be said about it."""

    unit: Unit
    slope: float
    intercept: float
    table: Table | None
    notes: tuple[str, ...]


def meaning_of(header: Header, transform: Header, shared: Header | None, modality: str) -> Meaning:
    """Return what the stored values of a frame mean; transform is the header part that holds its rescale."""
    slope, intercept = transform.number("RescaleSlope"), transform.number("RescaleIntercept")
    table = header.item("ModalityLUTSequence")
    is_ct, notes = modality == "CT", []
    kind = transform.string("RescaleType").upper() or ("HU" if is_ct else "")
    if table is not None:
        kind = table.string("ModalityLUTType").upper() or kind
    elif is_ct and (not slope or intercept is None):
        notes.append(_NO_RESCALE if not slope else _NO_INTERCEPT)
    measured = _measured_in(header, shared)
    unit: Unit = "HU" if is_ct else "values"
    if is_ct and (measured is not None or kind in _OTHER_TYPES):
        unit = "values"
        notes.append("The files say that their values are another measure than HU.")
    elif is_ct and kind not in _HU_TYPES:
        notes.append(_NO_HU_SAID)
    return Meaning(
        unit=unit,
        slope=slope if slope else 1.0,
        intercept=(intercept or 0.0) if slope else 0.0,
        table=_table(table),
        notes=tuple(notes),
    )


def _measured_in(header: Header, shared: Header | None) -> str | None:
    """Return the code of a real-world measure other than HU (PS3.3 C.7.6.16.2.11), or None."""
    for place in (header, shared):
        mapping = place.item("RealWorldValueMappingSequence") if place is not None else None
        unit = mapping.item("MeasurementUnitsCodeSequence") if mapping is not None else None
        code = unit.string("CodeValue").lower() if unit is not None else ""
        if code and code not in (*_HU_CODES, "1"):
            return code
    return None


def _table(item: Header | None) -> Table | None:
    """Return a modality lookup table (PS3.3 C.11.1.1), or None where it cannot be read."""
    if item is None:
        return None
    descriptor, content = item.numbers("LUTDescriptor", 3), item.table("LUTData")
    if descriptor is None or content is None:
        return None
    if isinstance(content, bytes):
        values = np.frombuffer(content, "u1" if len(content) == descriptor[0] else "<u2")
    else:
        values = np.asarray(content, dtype=np.int64).ravel()
    return (int(descriptor[1]), values) if values.size else None


def to_values(
    stored: npt.NDArray[Any], header: Header, layout: PixelFormat, meaning: Meaning
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return (y, x) HU or grey values, int16 where they are whole and fit, else float32, and what is to be said.

    Padding becomes air in HU (−1024), else the lowest value there is. MONOCHROME1 is inverted where there is no HU.
    """
    notes: list[str] = []
    if stored.ndim == 3:
        grey = np.asarray(stored @ np.array(LUMINANCE, dtype=np.float32))
        return np.rint(grey).astype(np.int16 if layout.bits_stored <= 8 else np.float32), (
            "The images are in colour; their brightness is shown.",
        )
    if layout.photometric == "PALETTE COLOR":
        palette = palette_of(header)
        if palette is not None:
            return palette.grey(stored), ("The images are in false colours; their brightness is shown.",)
        notes.append("The images are in false colours without a table to tell them by; stored values are shown.")
    padding = _padding(stored, header)
    if layout.photometric == "MONOCHROME1" and meaning.unit != "HU":
        stored = _inverted(stored, layout)
        notes.append("The images are stored inverted (MONOCHROME1); they are shown the right way round.")
    if meaning.table is not None:
        first, table = meaning.table
        values = table[np.clip(stored.astype(np.int64) - first, 0, len(table) - 1)].astype(np.int64)
    else:
        values = _rescaled(stored, meaning.slope, meaning.intercept)
    if values.dtype.kind == "f" and not np.all(np.isfinite(values)):
        lowest = AIR_HU if meaning.unit == "HU" else 0
        values = np.nan_to_num(values, nan=lowest, posinf=lowest, neginf=lowest)
    if padding is not None:
        values[padding] = _padding_value(values, padding, meaning.unit)
    return _smallest(values), tuple(notes)


def _smallest(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype == np.int16:
        return values
    limits = np.iinfo(np.int16)
    fits = values.min() >= limits.min and values.max() <= limits.max
    whole = values.dtype.kind in "iu" or (fits and bool(np.array_equal(np.rint(values), values)))
    if fits and whole:
        return values.astype(np.int16)
    largest = float(np.finfo(np.float32).max)
    return np.asarray(np.clip(values, -largest, largest), dtype=np.float32)


def _inverted(stored: npt.NDArray[Any], layout: PixelFormat) -> npt.NDArray[Any]:
    """Return the values mirrored in their range, so that the largest is white."""
    if stored.dtype.kind not in "iu":
        return np.asarray(stored.max() + stored.min() - stored)
    ends = -1 if layout.signed else (1 << layout.bits_stored) - 1
    return np.asarray(ends - stored.astype(np.int64))


def _rescaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    """Return slope × stored + intercept, in whole numbers where that is exact: it is several times faster."""
    small = stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2 and abs(slope) < 2**14
    if small and slope.is_integer() and intercept.is_integer() and abs(intercept) < 2**30:
        ends = [slope * int(end) + intercept for end in (stored.min(), stored.max())]
        limits = np.iinfo(np.int16)
        if limits.min <= min(*ends, intercept) and max(*ends, intercept) <= limits.max:
            # modulo 2**16 all along, and what comes out fits
            return np.asarray(stored.astype(np.int16) * np.int16(slope) + np.int16(intercept))
        return stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    return np.asarray(stored * np.float64(slope) + intercept)


def _padding(stored: npt.NDArray[Any], header: Header) -> npt.NDArray[np.bool_] | None:
    """Where pixels are padding, in stored values (PS3.3 C.7.5.1.1.2); the limit makes it a range."""
    first, limit = header.integer("PixelPaddingValue"), header.integer("PixelPaddingRangeLimit")
    if first is None or stored.dtype.kind not in "iu":
        return None
    ends = np.array([first, first if limit is None else limit], dtype=np.int64)
    # a value with the wrong sign for the pixels means the same bits
    low, high = np.sort(ends.astype(stored.dtype))
    mask: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return mask if mask.any() else None


def _padding_value(values: npt.NDArray[Any], padding: npt.NDArray[np.bool_], unit: Unit) -> float:
    if unit == "HU":
        return AIR_HU
    rest = values[~padding]
    lowest = float(rest.min()) if rest.size else 0.0
    return lowest if math.isfinite(lowest) else 0.0
