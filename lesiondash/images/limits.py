"""How much a scan may ask for before it is refused: against zip bombs, absurd headers and damaged files."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from lesiondash.errors import ScanError

GIB = 2**30
RATIO_FREE_BYTES = GIB // 4
"""Unpacked size below which `max_zip_ratio` does not matter: a small zip of blank slices does no harm."""


@dataclass(frozen=True)
class Limits:
    """Limits of reading, all of them settings: `Limits(max_files=…)`, or `LESIONDASH_MAX_FILES=…` in the environment.

    max_files: in one folder or zip. max_file_bytes: of one file, packed or not. max_unpacked_bytes: of all that one
    zip unpacks to. max_zip_ratio: of unpacked to packed size. max_zip_depth: zips within zips. max_folder_depth:
    folders within folders. max_elements: of one file's header. max_header_bytes: of one file without its pixels.
    max_frames: of one file. max_frame_px: of one frame. max_volume_bytes: of all decoded pixels of one reading.
    max_series: of one reading.
    """

    max_files: int = 50_000
    max_file_bytes: int = 8 * GIB
    max_unpacked_bytes: int = 8 * GIB
    max_zip_ratio: int = 200
    max_zip_depth: int = 3
    max_folder_depth: int = 32
    max_elements: int = 100_000
    max_header_bytes: int = GIB // 4
    max_frames: int = 20_000
    max_frame_px: int = 2**26
    max_volume_bytes: int = 8 * GIB
    max_series: int = 1_000

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ScanError(f"The limit {each.name} must be a whole number of 0 or more, not {value!r}.")

    @classmethod
    def of_environment(cls) -> Limits:
        """Return the limits that the environment sets; raises `ScanError` for one that is no number."""
        given: dict[str, int] = {}
        for each in fields(cls):
            text = os.environ.get(_variable(each.name))
            if text is None:
                continue
            try:
                given[each.name] = int(text)
            except ValueError:
                raise ScanError(f"{_variable(each.name)} must be a whole number, not {text!r}.") from None
        return cls(**given)


def raise_it(name: str) -> str:
    """Return the words that say which limit refused something, and how to raise it."""
    assert name in {each.name for each in fields(Limits)}
    return f"the limit {name}; to allow more, set {_variable(name)}"


def bytes_text(count: int) -> str:
    """Return a number of bytes as a person writes it."""
    return f"{count / GIB:.3g} GiB" if count >= GIB else f"{count / 2**20:.3g} MiB"


def _variable(name: str) -> str:
    return f"LESIONDASH_{name.upper()}"
