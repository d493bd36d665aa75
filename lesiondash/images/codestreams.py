"""What a compressed frame says of itself, looked at before a decoder reserves memory for it."""

from __future__ import annotations

import struct

from lesiondash.images.dicom_watch import Unreadable

_RLE_MOST = 64
"""PackBits makes at most 128 bytes of 2."""
_OTHER_SIZE = "has pixel data of another size than its header says; copy it again from its source"
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_COMPONENTS = 4


def check_frame(frame: bytes, rows: int, columns: int, frame_bytes: int, *, is_rle: bool) -> None:
    """Raise `Unreadable` where a frame would decode to another size than rows × columns."""
    if is_rle:
        if frame_bytes > _RLE_MOST * len(frame):
            raise Unreadable("is cut short: part of its pixel data is missing; copy it again from its source")
        return
    stated = _jpeg_size(frame) if frame[:2] == b"\xff\xd8" else _jpeg2000_size(frame)
    if stated != (rows, columns):  # None too: no decoder is asked to find out
        raise Unreadable(_OTHER_SIZE)


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Return rows and columns of JPEG or JPEG-LS, from its frame header (ITU T.81 B.2.2)."""
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker in _FRAME_MARKERS:
            rows, columns, components = struct.unpack(">HHB", frame[at + 5 : at + 10])
            return (rows, columns) if components <= _COMPONENTS else (0, 0)
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:
            at += 2
            continue
        at += 2 + int(struct.unpack(">H", frame[at + 2 : at + 4])[0])
    return None


def _jpeg2000_size(frame: bytes) -> tuple[int, int] | None:
    """Return rows and columns of JPEG 2000, from its image and tile size (ITU T.800 A.5.1)."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(frame) < start + 42:
        return None
    x1, y1, x0, y0, tile_x, tile_y, _, _, components = struct.unpack(">8LH", frame[start + 8 : start + 42])
    tiles = -(-x1 // tile_x) * -(-y1 // tile_y) if tile_x and tile_y else 0
    if not 1 <= tiles <= 65_535 or not 1 <= components <= _COMPONENTS:
        return 0, 0
    return y1 - y0, x1 - x0
