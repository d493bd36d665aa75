"""The files behind what a person hands over: files, folders, zips, bytes and open files, opened with care."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lesiondash.images.dicom_watch import Watch
from lesiondash.images.limits import Limits, bytes_text, raise_it

Given = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""What may be handed over: a path, the bytes of a file, or a file that is open for reading bytes."""

HEAD_BYTES = 264
"""As much of a file as tells what it is: the mark of a tar ends here."""
WHOLE_BYTES = 64 * 2**20
"""Size up to which a file is read at once; a larger one is read frame by frame."""
_NAME_CHARACTERS = 100
_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "dicomdir"})
NOT_DICOM = "is not a DICOM file; leave it out, or export the scan as DICOM"
_UNPACK = "which is not read here; unpack it, or pack the files as a zip"
_EXPORT = "which is not read here; export the scan as DICOM"
_OTHERS = (
    (0, b"\x1f\x8b", f"is compressed with gzip, {_UNPACK}"),
    (0, b"7z\xbc\xaf", f"is a 7-Zip archive, {_UNPACK}"),
    (0, b"Rar!", f"is a RAR archive, {_UNPACK}"),
    (0, b"\xfd7zXZ", f"is compressed with xz, {_UNPACK}"),
    (0, b"BZh", f"is compressed with bzip2, {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"is compressed with zstd, {_UNPACK}"),
    (257, b"ustar", f"is a tar archive, {_UNPACK}"),
    (0, b"PK\x03\x04", "is a damaged zip; copy it again from its source"),
    (0, b"\x5c\x01\0\0", f"is a NIfTI file, {_EXPORT}"),
    (0, b"\0\0\x01\x5c", f"is a NIfTI file, {_EXPORT}"),
    (0, b"NRRD", f"is an NRRD file, {_EXPORT}"),
    (0, b"ObjectType", f"is a MetaImage file, {_EXPORT}"),
    (0, b"\x89PNG", f"is a PNG picture, {_EXPORT}"),
    (0, b"\xff\xd8\xff", f"is a JPEG picture, {_EXPORT}"),
    (0, b"{", "is a JSON text, not a scan; annotations are opened at the list of annotations"),
    (0, b"%PDF", "is a PDF document, not a scan; leave it out"),
)
"""Where in a file which bytes tell what it is, and the reason against it."""
_GZIPPED_NIFTI = f"is a NIfTI file, {_EXPORT}"


@dataclass(frozen=True)
class Rejected:
    """A file that was not read: its name without folders, and why; `name reason` is a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A file that looks like DICOM: its name without folders, its size in bytes, and how to open it."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


class Refused(Exception):
    """Why a folder or zip is not read at all, in words that follow its name; what was read of it must be dropped."""


class Section(io.RawIOBase):
    """A part of a file that can be read like a file of its own; closing it leaves the file open."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file, self._start, self._length, self._at = file, start, length, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be moved in."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence])
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read as much as fits."""
        self._file.seek(self._start + self._at)
        content = self._file.read(max(0, min(len(buffer), self._length - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


@dataclass(frozen=True)
class Found:
    """A file that was found, not yet looked into; `inside` is whether it was found in a folder."""

    name: str
    size: int
    open: Callable[[], BinaryIO]
    inside: bool = False


def shown_name(name: str) -> str:
    """Return a file's name without its folders, without control characters, and not endlessly long."""
    last = PurePosixPath(name.replace("\\", "/")).name or "file"
    return "".join(character for character in last if character.isprintable())[-_NAME_CHARACTERS:] or "file"


def is_clutter(name: str) -> bool:
    """Whether a file or folder is passed over without a word: hidden, of the system, or the index of a disc."""
    return name.startswith(".") or name.lower() in _CLUTTER


def find_files(given: Given, number: int, limits: Limits) -> Iterator[Found | Rejected]:
    """Yield each file that was handed over; a folder with all that it holds, by name.

    Hidden files and system clutter are passed over, links that lead out of the folder are not followed. Raises
    `Refused` for a folder past the limits.
    """
    if isinstance(given, str) and not given:  # as a path it would be the folder that the program runs in
        yield Rejected(f"file {number}", "has an empty name; give the name of a file or folder")
    elif isinstance(given, bytes | bytearray | memoryview):
        content = bytes(given)
        yield Found(f"file {number}", len(content), lambda: io.BytesIO(content))
    elif isinstance(given, str | os.PathLike):
        path = Path(given)
        if path.is_dir():
            yield from _in_folder(path, limits)
        else:
            yield _on_disk(path, inside=False)
    elif hasattr(given, "read"):
        yield _from_open_file(given, number, limits)
    else:
        kind = type(given).__name__
        yield Rejected(f"file {number}", f"is of type {kind}; give a path, bytes or a file that is open for reading")


def _in_folder(root: Path, limits: Limits) -> Iterator[Found | Rejected]:
    count, real_root = 0, root.resolve()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_clutter(name))
        if len(Path(folder).relative_to(root).parts) > limits.max_folder_depth:
            limit = f"{limits.max_folder_depth} folders within each other"
            raise Refused(f"holds more than {limit}, {raise_it('max_folder_depth')}")
        for name in [*folders, *sorted(name for name in names if not is_clutter(name))]:
            path = Path(folder, name)
            if path.is_symlink() and not _leads_inside(path, real_root):
                yield Rejected(shown_name(name), "is a link that leads out of the folder; load what it leads to")
            elif name not in folders:
                count += 1
                if count > limits.max_files:
                    raise Refused(f"holds more than {limits.max_files:,} files, {raise_it('max_files')}")
                yield _on_disk(path, inside=True)


def _leads_inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # a link to itself
        return False


def _on_disk(path: Path, *, inside: bool) -> Found | Rejected:
    name = shown_name(path.name)
    if not path.exists():
        return Rejected(name, "does not exist; check the name and the folder")
    if not path.is_file():
        return Rejected(name, "is no ordinary file; leave it out")
    return Found(name, path.stat().st_size, lambda: path.open("rb"), inside)


def _from_open_file(file: BinaryIO, number: int, limits: Limits) -> Found | Rejected:
    named = getattr(file, "name", None)
    name = shown_name(named) if isinstance(named, str) else f"file {number}"
    if not (hasattr(file, "seekable") and file.seekable()):
        content = file.read(limits.max_file_bytes + 1)
        return Found(name, len(content), lambda: io.BytesIO(content))
    size = file.seek(0, io.SEEK_END)
    return Found(name, size, lambda: io.BufferedReader(Section(file, 0, size)))


def look_into(found: Found, watch: Watch) -> Candidate | Rejected | BinaryIO:
    """Return a candidate, the reason against it, or the open file where it is a zip."""
    if found.size > watch.limits.max_file_bytes:
        limit = bytes_text(watch.limits.max_file_bytes)
        return Rejected(found.name, f"is larger than {limit}, {raise_it('max_file_bytes')}")
    try:
        file = found.open()
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if not looks_like_dicom(head) and zipfile.is_zipfile(file):
            file.seek(0)
            return file
        file.close()
    except OSError:
        return Rejected(found.name, "cannot be opened; check that you may read it")
    reason = reason_against(head, found.name)
    return Rejected(found.name, reason) if reason else Candidate(found.name, found.size, found.open)


def reason_against(head: bytes, name: str) -> str | None:
    """Return why a file that begins with these bytes is no DICOM file; None where it may be one."""
    if not head:
        return "is empty (0 bytes); copy it again from its source"
    if looks_like_dicom(head):
        return None
    if name.lower().endswith(".nii.gz"):
        return _GZIPPED_NIFTI
    return next((reason for at, mark, reason in _OTHERS if head[at:].startswith(mark)), NOT_DICOM)


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file has the DICM mark, or begins with an element of group 2 or 8 as files without it do."""
    if head[128:132] == b"DICM":
        return True
    return len(head) >= 8 and head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
