"""False colours (PALETTE COLOR) as the brightness of their colours, from plain and segmented tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.images.dicom_header import Header

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""
_MOST = 65_536
_DISCRETE, _LINEAR = 0, 1


@dataclass(frozen=True, eq=False)
class Palette:
    """brightness: (n,) float32 from 0 to 255, of the stored values from `first` on."""

    first: int
    brightness: npt.NDArray[np.float32]

    def grey(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
        """Return the brightness of each stored value's colour, int16 from 0 to 255; same shape."""
        at = np.clip(stored.astype(np.int64) - self.first, 0, len(self.brightness) - 1)
        return np.asarray(np.rint(self.brightness[at]), dtype=np.int16)


def palette_of(header: Header) -> Palette | None:
    """Return the palette that a header gives (PS3.3 C.7.6.3.1.5), or None where a table is absent or makes no sense."""
    descriptor = header.numbers("RedPaletteColorLookupTableDescriptor", 3)
    tables = [_table(header, colour) for colour in ("Red", "Green", "Blue")]
    if descriptor is None or any(table is None for table in tables):
        return None
    length = min(len(table) for table in tables if table is not None)
    colours = np.stack([table[:length] for table in tables if table is not None])
    if colours.max() > 255:  # what is said to be 16 bits may hold 8
        colours = colours // 256
    return Palette(int(descriptor[1]), np.asarray(np.array(LUMINANCE) @ colours, dtype=np.float32))


def _table(header: Header, colour: str) -> npt.NDArray[np.int64] | None:
    descriptor = header.numbers(f"{colour}PaletteColorLookupTableDescriptor", 3)
    if descriptor is None:
        return None
    count, bits = int(descriptor[0]) or _MOST, descriptor[2]
    content = header.table(f"{colour}PaletteColorLookupTableData")
    if content is not None:
        # some write 8-bit entries in words of their own
        wide = bits > 8 or (isinstance(content, bytes) and len(content) >= 2 * count)
        values = _numbers(content, wide=wide)
        return values if values.size else None
    segments = header.table(f"Segmented{colour}PaletteColorLookupTableData")
    return None if segments is None else _unfolded(_numbers(segments, wide=bits > 8).tolist())


def _numbers(content: Any, *, wide: bool) -> npt.NDArray[np.int64]:
    if not isinstance(content, bytes):
        return np.atleast_1d(np.asarray(content, dtype=np.int64))
    return np.frombuffer(content[: len(content) // 2 * 2] if wide else content, "<u2" if wide else "u1").astype(
        np.int64
    )


def _unfolded(segments: list[int]) -> npt.NDArray[np.int64] | None:
    """Return what discrete and linear segments (PS3.3 C.7.9.2) stand for; None of others, and of endless ones."""
    values: list[int] = []
    at = 0
    while at + 2 < len(segments):
        kind, length = segments[at], segments[at + 1]
        if len(values) + length > _MOST or kind not in (_DISCRETE, _LINEAR) or (kind == _LINEAR and not values):
            return None
        if kind == _DISCRETE:
            values += segments[at + 2 : at + 2 + length]
            at += 2 + length
        else:
            values += np.rint(np.linspace(values[-1], segments[at + 2], length + 1)[1:]).astype(int).tolist()
            at += 3
    return np.array(values, dtype=np.int64) if values else None
