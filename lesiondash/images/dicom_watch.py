"""How far a reading is, whether somebody stopped it, and what it may still use up."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

from lesiondash.errors import ScanError, ScanStopped
from lesiondash.images.limits import Limits, bytes_text, raise_it

Progress = Callable[[int, int], object]
_READS_BETWEEN_CHECKS = 4096


class Unreadable(Exception):
    """Why a file is not read, in words that follow its name; shown_name stands in for one that names a person."""

    shown_name: str | None = None


class Watch:
    """Counts the bytes of a reading, tells its progress, and ends it where asked to or at a limit."""

    def __init__(
        self, limits: Limits, progress: Progress | None = None, stop: Callable[[], bool] | None = None
    ) -> None:
        self.limits = limits
        self._progress, self._stop = progress, stop
        self._done = self._total = self._decoded = 0
        self.current = 0
        """Bytes of the file that is being read."""

    def expect(self, count: int) -> None:
        """Add bytes that are still to be read."""
        self._total += count

    def advance(self, count: int) -> None:
        """Add bytes that were read, and tell."""
        self._done += count
        self.check()
        self._tell(self._done)

    def within(self, share: float) -> None:
        """Tell how far the file is that is being read, 0 to 1."""
        self.check()
        self._tell(self._done + int(share * self.current))

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(min(done, self._total), self._total)

    def check(self) -> None:
        """Raise `ScanStopped` if somebody asked for it."""
        if self._stop is not None and self._stop():
            raise ScanStopped("Reading was stopped; nothing was loaded.")

    def decoded(self, count: int) -> None:
        """Add bytes of decoded pixels; raises `ScanError` past the limit."""
        self._decoded += count
        if self._decoded > self.limits.max_volume_bytes:
            raise ScanError(
                f"These files decode to more than {bytes_text(self.limits.max_volume_bytes)}, "
                f"{raise_it('max_volume_bytes')}, or load fewer series at a time."
            )


class Meter(io.RawIOBase):
    """A file under a parser: it counts reads and bytes of one file's header, and refuses what goes past the limits.

    A sequence of a billion empty items is found while it is parsed, not after. `refusal` keeps the reason, since
    parsers replace the exceptions of the file under them.
    """

    def __init__(self, file: BinaryIO, watch: Watch, share: Meter | None = None) -> None:
        self._file, self._watch = file, watch
        self._end = file.seek(0, io.SEEK_END)
        file.seek(0)
        self._root = share or self
        self._reads_left = 3 * watch.limits.max_elements
        self._bytes_left = watch.limits.max_header_bytes
        self.refusal: Exception | None = None

    def sub(self, content: bytes) -> Meter:
        """Return a meter for a part that was read before, on the same account."""
        return Meter(io.BytesIO(content), self._watch, self._root)

    def read(self, size: int = -1) -> bytes:
        """Read, never more than there is: a length in a damaged header must not reserve memory."""
        left = max(0, self._end - self._file.tell())
        size = left if size is None or size < 0 else min(size, left)
        self._root._spend(size)
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def raise_refusal(self) -> None:
        """Raise why the limits or a person ended the parsing, if they did."""
        if self._root.refusal is not None:
            raise self._root.refusal from None

    def _spend(self, size: int) -> None:
        self._reads_left -= 1
        self._bytes_left -= size
        limits = self._watch.limits
        if self._reads_left < 0:
            words = f"has more than {limits.max_elements:,} elements in its header, {raise_it('max_elements')}"
            self.refusal = Unreadable(words)
        elif self._bytes_left < 0:
            words = f"has a header of more than {bytes_text(limits.max_header_bytes)}, {raise_it('max_header_bytes')}"
            self.refusal = Unreadable(words)
        elif self._reads_left % _READS_BETWEEN_CHECKS == 0:
            try:
                self._watch.check()
            except ScanStopped as stopped:
                self.refusal = stopped
        if self.refusal is not None:
            raise self.refusal
