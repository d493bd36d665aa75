"""Where a drop lies until it is read: one file without a name, which vanishes with the process."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from lesiondash.images.dicom_files import Section


@dataclass
class _Dropped:
    """One file of a drop: its name without folders, and its place in the spool."""

    name: str
    start: int
    length: int


class Spool:
    """Files that arrive one after the other, each in chunks; no name of theirs is ever a path on this machine."""

    def __init__(self) -> None:
        self._file: Any = tempfile.TemporaryFile(prefix="lesiondash-")  # noqa: SIM115  # `close` closes it
        self._files: dict[int, _Dropped] = {}
        self._end = 0

    def append(self, number: int, name: str, offset: int, chunk: bytes | memoryview) -> bool:
        """Add a chunk to a file of the drop; returns whether it is the one that was to come."""
        last = next(reversed(self._files), None)
        if number not in self._files:
            plain = PurePosixPath(name.replace("\\", "/")).name or "file"
            self._files[number] = _Dropped(plain[-100:], self._end, 0)
        elif number != last:
            return False
        dropped = self._files[number]
        if offset != dropped.length:
            return False
        self._file.seek(self._end)
        self._file.write(chunk)
        dropped.length += len(chunk)
        self._end += len(chunk)
        return True

    def files(self) -> list[BinaryIO]:
        """Return the files, open for reading, by name; they end with the spool."""
        self._file.flush()
        return [
            _Named(Section(self._file, each.start, each.length), each.name)
            for each in sorted(self._files.values(), key=lambda each: (each.name, each.start))
        ]

    def close(self) -> None:
        """Forget the drop."""
        self._file.close()


class _Named(io.BufferedReader):
    """A file of a drop, with the name that it was dropped under."""

    def __init__(self, raw: Section, name: str) -> None:
        super().__init__(raw)
        self._name = name

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its name without folders."""
        return self._name
