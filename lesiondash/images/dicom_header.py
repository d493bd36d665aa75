"""The header of one DICOM file, read up to its pixels, and asked for values that may be absent or nonsense."""

from __future__ import annotations

import io
import math
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_dataset, read_partial, read_preamble, read_sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import PersonName

from lesiondash.errors import LesionDashError
from lesiondash.images.dicom_files import NOT_DICOM, WHOLE_BYTES
from lesiondash.images.dicom_watch import Meter, Unreadable, Watch
from lesiondash.images.limits import RATIO_FREE_BYTES, bytes_text, raise_it

_PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_LONG_LENGTH = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_UNDEFINED = 0xFFFFFFFF
_CHUNK_BYTES = 2**20
_VALUE_BYTES = 2**16
"""Longest value that is looked at: a position is three numbers, not a million."""
_TABLE_BYTES = 2**18
DAMAGED = "is damaged: its header cannot be read; copy it again from its source"


class Header:
    """A dataset that answers with None where a value is absent, too long, or not of its kind."""

    def __init__(self, dataset: Dataset, meter: Meter) -> None:
        self.dataset, self._meter = dataset, meter
        self._values: dict[int, Any] = {}

    def has(self, keyword: str) -> bool:
        """Whether an element is there, even an empty one."""
        return keyword in self.dataset

    def value(self, tag: int, longest: int = _VALUE_BYTES) -> Any:
        """Return an element's value as pydicom converts it, or None."""
        if tag not in self._values:
            self._values[tag] = self._converted(tag, longest)
        return self._values[tag]

    def _converted(self, tag: int, longest: int) -> Any:
        raw = self.dataset.get_item(tag, keep_deferred=True)
        if raw is None:
            return None
        if isinstance(raw, RawDataElement) and (raw.value is None or len(raw.value) > longest):
            return None
        if isinstance(raw, RawDataElement) and raw.VR == "SQ":
            return None  # items() reads these, on the meter
        try:
            return self.dataset[tag].value
        except Exception:  # a converter raises whatever it trips over
            return None

    def strings(self, keyword: str) -> tuple[str, ...]:
        """Return the values of an element as texts, stripped; () where it is absent."""
        return tuple(str(value).strip() for value in _listed(self.value(_tag(keyword))))

    def string(self, keyword: str) -> str:
        """Return the first value as a text, "" where it is absent."""
        return next(iter(self.strings(keyword)), "")

    def numbers(self, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
        """Return an element's numbers; None when it is absent, of another count, or not finite."""
        try:
            values = tuple(float(value) for value in _listed(self.value(_tag(keyword))))
        except (TypeError, ValueError, OverflowError):
            return None
        if not values or (count is not None and len(values) != count) or not all(map(math.isfinite, values)):
            return None
        return values

    def number(self, keyword: str) -> float | None:
        """Return the only number of an element, or None."""
        values = self.numbers(keyword, 1)
        return values[0] if values else None

    def integer(self, keyword: str) -> int | None:
        """Return the only number of an element if it is whole, or None."""
        value = self.number(keyword)
        return int(value) if value is not None and value.is_integer() else None

    def table(self, keyword: str) -> Any:
        """Return a lookup table's content, which may be longer than other values."""
        return self.value(_tag(keyword), _TABLE_BYTES)

    def items(self, keyword: str) -> list[Header]:
        """Return the items of a sequence, [] where it is absent or cannot be read; counted on the meter."""
        raw = self.dataset.get_item(_tag(keyword), keep_deferred=True)
        if isinstance(raw, DataElement):
            return [Header(item, self._meter) for item in raw.value or []] if raw.VR == "SQ" else []
        if raw is None or not raw.value:
            return []
        # unknown to its writer, a sequence is in implicit little endian (PS3.5, 6.2.2)
        implicit, little = (True, True) if raw.VR == "UN" else (raw.is_implicit_VR, raw.is_little_endian)
        meter = self._meter.sub(raw.value)
        try:
            found = read_sequence(meter, implicit, little, len(raw.value), "iso8859")
        except Exception:
            meter.raise_refusal()
            return []
        items = [Header(item, self._meter) for item in found]
        self.dataset.add(DataElement(raw.tag, "SQ", found))
        return items

    def item(self, keyword: str) -> Header | None:
        """Return the first item of a sequence, or None."""
        return next(iter(self.items(keyword)), None)

    def elements(self) -> Iterator[tuple[int, str, bool]]:
        """Yield tag, VR and privateness of each element, without looking at its value."""
        for tag in sorted(self.dataset.keys()):
            raw = self.dataset.get_item(tag, keep_deferred=True)
            yield int(tag), str(raw.VR or ""), bool(tag.is_private)


@dataclass(frozen=True)
class PixelPlace:
    """Where the pixels of a file are: the element's name, and the first byte and length of its value.

    length is None where it is undefined: the pixels are in fragments.
    """

    keyword: str
    vr: str
    start: int
    length: int | None


@dataclass(frozen=True)
class Parsed:
    """One file without its pixels, and the file in which they are to be found (inflated, where it was deflated)."""

    header: Header
    meta: Header
    syntax: UID
    place: PixelPlace | None
    file: BinaryIO


def parse(file: BinaryIO, watch: Watch) -> Parsed:
    """Read a file up to its pixels. Raises `Unreadable` with the reason, `ScanStopped` when stopped."""
    meter = Meter(file, watch)
    stopped: list[tuple[int, str | None, int]] = []

    def at_pixels(tag: Any, vr: str | None, length: int) -> bool:
        if int(tag) not in _PIXELS:
            return False
        stopped.append((int(tag), vr, length))
        return True

    try:
        read_preamble(meter, force=True)  # type: ignore[arg-type]
        meta: Any = _read_file_meta_info(meter)  # type: ignore[arg-type]
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            file = _inflated(file, watch)
            meter = Meter(file, watch, meter)
            dataset: Any = read_dataset(meter, False, True, stop_when=at_pixels)  # type: ignore[arg-type]
            syntax = DeflatedExplicitVRLittleEndian
        else:
            meter.seek(0)
            dataset = read_partial(meter, at_pixels, force=True)  # type: ignore[arg-type]
            meta, syntax = dataset.file_meta, _syntax(dataset)
        explicit = not syntax.is_implicit_VR if syntax.is_transfer_syntax else True
        place = _place(*stopped[-1], meter.tell(), explicit) if stopped else None
    except (Unreadable, LesionDashError, MemoryError):
        raise
    except Exception:  # pydicom raises whatever its parser trips over
        meter.raise_refusal()
        raise Unreadable(DAMAGED) from None
    meter.raise_refusal()
    if len(dataset) == 0 and place is None:
        raise Unreadable(NOT_DICOM)
    return Parsed(Header(dataset, meter), Header(meta, meter), syntax, place, file)


def _inflated(file: BinaryIO, watch: Watch) -> BinaryIO:
    """Return what follows the meta information of a deflated file, inflated up to the limits."""
    limits, start = watch.limits, file.tell()
    packed = file.seek(0, io.SEEK_END) - start
    file.seek(start)
    most = min(limits.max_file_bytes, max(RATIO_FREE_BYTES, limits.max_zip_ratio * packed))
    name = "max_file_bytes" if most == limits.max_file_bytes else "max_zip_ratio"
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = tempfile.SpooledTemporaryFile(max_size=WHOLE_BYTES)  # noqa: SIM115  # it goes with its last reader
    while chunk := inflater.unconsumed_tail or file.read(_CHUNK_BYTES):
        watch.check()
        content.write(inflater.decompress(chunk, 4 * _CHUNK_BYTES))
        if content.tell() > most:
            raise Unreadable(f"inflates to more than {bytes_text(most)}, {raise_it(name)}")
        if inflater.eof:
            break
    content.write(inflater.flush())
    content.seek(0)
    return content  # type: ignore[return-value]


def _syntax(dataset: Any) -> UID:
    """Return the transfer syntax; of a file that does not name it, the one that pydicom found when it read it."""
    named = dataset.file_meta.get("TransferSyntaxUID") if getattr(dataset, "file_meta", None) else None
    if named:
        return UID(str(named))
    implicit, little = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else explicit


def _place(tag: int, vr: str | None, length: int, at: int, explicit: bool) -> PixelPlace:
    start = at + (12 if explicit and vr in _LONG_LENGTH else 8)
    return PixelPlace(_PIXELS[tag], vr or "OW", start, None if length == _UNDEFINED else length)


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag


def _listed(value: Any) -> list[Any]:
    if value is None or isinstance(value, bytes):
        return []
    if isinstance(value, str | int | float | PersonName):
        return [value] if value != "" else []
    try:
        return list(value)
    except TypeError:
        return [value]
