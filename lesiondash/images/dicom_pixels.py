"""The frames of one DICOM file, decoded one at a time, in whatever transfer syntax."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy.typing as npt
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from lesiondash.errors import LesionDashError
from lesiondash.images.codestreams import check_frame
from lesiondash.images.decoder_process import DECODERS, SEQUENTIAL_12_BIT
from lesiondash.images.dicom_files import WHOLE_BYTES, Section
from lesiondash.images.dicom_header import Header, Parsed, PixelPlace
from lesiondash.images.dicom_kinds import syntax_text
from lesiondash.images.dicom_watch import Unreadable, Watch
from lesiondash.images.limits import bytes_text, raise_it

_JPEG_12_BIT = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55")
"""JPEG of 12 bits, sequential and progressive (the latter two retired): gdcm decodes them, pydicom's plugins do not."""
_JPEG_OF_PILLOW = ("1.2.840.10008.1.2.4.50", *_JPEG_12_BIT)
_RLE = "1.2.840.10008.1.2.5"
_PLUGINS = {
    "1.2.840.10008.1.2.4.57": ("gdcm",),
    "1.2.840.10008.1.2.4.70": ("gdcm",),
    "1.2.840.10008.1.2.4.80": ("pyjpegls", "gdcm"),
    "1.2.840.10008.1.2.4.81": ("pyjpegls", "gdcm"),
}
_PACKAGES = {"gdcm": "python-gdcm", "pillow": "pillow", "pylibjpeg": "pylibjpeg pylibjpeg-openjpeg pylibjpeg-rle"}
_VIDEO = ("1.2.840.10008.1.2.4.10", "1.2.840.10008.1.2.7")
CUT_SHORT = "is cut short: part of its pixel data is missing; copy it again from its source"


@dataclass(frozen=True)
class PixelFormat:
    """How the stored values of a file are laid out (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    planar: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return -(-self.rows * self.columns * self.samples * self.bits_allocated // 8)


def pixel_format(header: Header, place: PixelPlace, watch: Watch) -> PixelFormat:
    """Return the layout that the header gives; raises `Unreadable` where it makes no sense or goes past a limit."""
    floats = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(place.keyword)
    rows, columns = header.integer("Rows") or 0, header.integer("Columns") or 0
    frames = (header.integer("NumberOfFrames") or 0) if header.string("NumberOfFrames") else 1
    allocated = floats or header.integer("BitsAllocated") or 0
    stored = min(header.integer("BitsStored") or allocated, allocated)
    samples = header.integer("SamplesPerPixel") or 1
    if rows < 1 or columns < 1 or frames < 1:
        raise Unreadable("is damaged: it does not say how large its image is; copy it again from its source")
    if allocated < 1 or stored < 1:
        raise Unreadable("is damaged: it does not say how its pixels are stored; copy it again from its source")
    if allocated not in (1, 8, 16, 32, 64) or samples not in (1, 3):
        words = f"stores {samples:,} × {allocated:,} bits a pixel, which is not read here"
        raise Unreadable(f"{words}; export it in 8 or 16 bits, grey or RGB")
    limits = watch.limits
    if rows * columns > limits.max_frame_px:
        words = f"claims to hold an impossibly large image of {columns:,} × {rows:,} pixels"
        raise Unreadable(f"{words}, {raise_it('max_frame_px')}")
    if frames > limits.max_frames:
        raise Unreadable(f"claims to hold {frames:,} frames, more than {limits.max_frames:,}, {raise_it('max_frames')}")
    made = PixelFormat(
        rows,
        columns,
        frames,
        samples,
        allocated,
        stored,
        header.integer("HighBit") if header.integer("HighBit") is not None else stored - 1,  # type: ignore[arg-type]
        header.integer("PixelRepresentation") == 1,
        header.string("PhotometricInterpretation").upper() or ("RGB" if samples == 3 else "MONOCHROME2"),
        header.integer("PlanarConfiguration") or 0,
    )
    if made.frame_bytes * frames > limits.max_volume_bytes:
        size = bytes_text(made.frame_bytes * frames)
        raise Unreadable(f"claims to hold an impossibly large image of {size}, {raise_it('max_volume_bytes')}")
    return made


def frames_of(parsed: Parsed, layout: PixelFormat, watch: Watch) -> Iterator[npt.NDArray[Any]]:
    """Yield each frame as stored, (y, x) or, of colour, (y, x, 3) RGB. Raises `Unreadable` for one not decoded."""
    assert parsed.place is not None
    syntax = parsed.syntax
    if syntax.is_transfer_syntax and syntax.is_compressed and syntax.is_encapsulated:
        frames = _compressed(parsed, layout, watch)
    elif syntax.is_transfer_syntax and not syntax.is_encapsulated:
        frames = _native(parsed, layout)
    else:
        raise Unreadable(_undecodable(syntax))
    shape = (layout.rows, layout.columns)
    count = 0
    for frame in _guarded(frames, syntax):
        watch.check()
        if frame.shape[:2] != shape or frame.ndim > 3:
            raise Unreadable(f"has pixel data of another size than it says ({syntax_text(syntax)}); copy it again")
        count += 1
        yield frame
    if count < layout.frames:
        raise Unreadable(CUT_SHORT)


def _guarded(frames: Iterator[npt.NDArray[Any]], syntax: UID) -> Iterator[npt.NDArray[Any]]:
    """Turn whatever a decoder trips over into a reason."""
    try:
        yield from frames
    except (Unreadable, LesionDashError, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException:  # the panic of a decoder written in Rust is no Exception
        words = f"has pixel data that cannot be decoded ({syntax_text(syntax)})"
        raise Unreadable(f"{words}; copy it again, or export it uncompressed") from None


def _options(layout: PixelFormat, place: PixelPlace) -> dict[str, Any]:
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": layout.frames,
        "samples_per_pixel": layout.samples,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "photometric_interpretation": layout.photometric,
        "pixel_keyword": place.keyword,
        "pixel_vr": place.vr,
    }
    if place.keyword == "PixelData":
        options["pixel_representation"] = int(layout.signed)
    if layout.samples == 3:
        options["planar_configuration"] = layout.planar
    return options


def _native(parsed: Parsed, layout: PixelFormat) -> Iterator[npt.NDArray[Any]]:
    place = parsed.place
    assert place is not None
    if place.length is None:
        raise Unreadable("has compressed pixel data but says that they are not; export it again from its source")
    left = parsed.file.seek(0, io.SEEK_END) - place.start
    length = min(place.length, left)
    needed = -(-layout.rows * layout.columns * layout.samples * layout.bits_allocated * layout.frames // 8)
    if layout.photometric == "YBR_FULL_422":
        needed = needed * 2 // 3
    if length < needed:
        raise Unreadable(CUT_SHORT)
    pixels = _part(parsed.file, place.start, min(length, needed + needed % 2))
    decoder = get_decoder(parsed.syntax)
    # rare: the values lie in the upper bits of their words; pydicom takes them to lie in the lower ones
    shift = layout.high_bit + 1 - layout.bits_stored
    shift = shift if 0 < shift <= layout.bits_allocated - layout.bits_stored else 0
    whole = replace(layout, bits_stored=layout.bits_stored + shift)
    for frame, _ in decoder.iter_array(pixels, **_options(whole, place)):
        yield frame >> shift if shift else frame


def _part(file: BinaryIO, start: int, length: int) -> BinaryIO:
    """Return a part of a file: in memory where it is small, else read as it is needed."""
    if length > WHOLE_BYTES:
        return io.BufferedReader(Section(file, start, length))
    file.seek(start)
    return io.BytesIO(file.read(length))


def _compressed(parsed: Parsed, layout: PixelFormat, watch: Watch) -> Iterator[npt.NDArray[Any]]:
    place, syntax = parsed.place, parsed.syntax
    assert place is not None
    plugin = _plugin(syntax, layout)
    length = _length_of_fragments(parsed.file, place.start, layout.frames, watch)
    buffer = _part(parsed.file, place.start, length)
    here = get_decoder(syntax) if plugin == "pillow" or syntax == _RLE else None  # these two have proved sound
    named = SEQUENTIAL_12_BIT if syntax in _JPEG_12_BIT else str(syntax)
    one = replace(layout, frames=1)
    for frame in generate_frames(buffer, number_of_frames=layout.frames):
        check_frame(frame, layout.rows, layout.columns, layout.frame_bytes, is_rle=syntax == _RLE)
        if here is None:
            yield DECODERS.decode(frame, named, plugin, _options(one, place))
        else:
            yield here.as_array(encapsulate([frame]), decoding_plugin=plugin, **_options(one, place))[0]


def _length_of_fragments(file: BinaryIO, start: int, frames: int, watch: Watch) -> int:
    """Walk over the fragments and return their length in bytes; a delimiter within one is not taken for the end."""
    size, at, count = file.seek(0, io.SEEK_END), start, 0
    most = watch.limits.max_elements + 4 * frames
    while at + 8 <= size:
        file.seek(at)
        group, element, length = struct.unpack("<HHL", file.read(8))
        if (group, element) != (0xFFFE, 0xE000):
            break
        if at + 8 + length > size:
            raise Unreadable(CUT_SHORT)
        at += 8 + length
        count += 1
        if count > most:
            raise Unreadable(f"has its pixels in more than {most:,} fragments, {raise_it('max_elements')}")
    if count < 2:
        raise Unreadable(CUT_SHORT)
    return at - start


def _plugin(syntax: UID, layout: PixelFormat) -> str:
    """Return the decoder for a transfer syntax; raises `Unreadable` with what to install where there is none."""
    if syntax in _JPEG_12_BIT and layout.bits_stored > 8:
        if find_spec("gdcm") is None or layout.samples != 1 or layout.bits_allocated != 16:
            raise Unreadable(_undecodable(syntax, "gdcm"))
        return "gdcm"
    if syntax in ("1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"):
        raise Unreadable(_undecodable(syntax))
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Unreadable(_undecodable(syntax)) from None
    wanted = _PLUGINS.get(syntax, ("pillow",) if syntax in _JPEG_OF_PILLOW else ("pylibjpeg",))
    there = [name for name in wanted if name in decoder.available_plugins]
    if not there:
        raise Unreadable(_undecodable(syntax, wanted[-1]))
    return there[0]


def _undecodable(syntax: UID, plugin: str | None = None) -> str:
    if str(syntax).startswith(_VIDEO):
        return f"is a video ({syntax_text(syntax)}), which is not decoded here; export it as single images"
    words = f"is compressed as {syntax_text(syntax)}, which cannot be decoded here"
    if plugin is not None:
        return f"{words}; install what decodes it: pip install {_PACKAGES[plugin]}"
    return f"{words}; export it uncompressed"
