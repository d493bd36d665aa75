"""The files behind what a person hands over: single files, folders and zips, opened with care."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MAX_ZIP_MEMBERS = 50_000
MAX_ZIP_BYTES = 8 * 2**30
"""Largest sum of what a zip unpacks to."""
MAX_ZIP_RATIO = 200
"""Largest ratio of unpacked to packed size; CT compresses 2 to 10 times, and a zip bomb 1000 times."""
ZIP_RATIO_FREE_BYTES = 256 * 2**20
"""Unpacked size below which the ratio does not matter: a small zip of blank slices does no harm."""
_CHUNK_BYTES = 2**20
_HEAD_BYTES = 132
_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_OUTWARD = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")
NOT_DICOM = "is not a DICOM file; leave it out, or export the scan as DICOM"


@dataclass(frozen=True)
class Rejected:
    """A file that was not read: its name without folders, and why; `name reason` is a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A file that looks like DICOM: its name without folders, and where its bytes are."""

    name: str
    content: Path | bytes

    def open(self) -> Path | io.BytesIO:
        """Return what pydicom can read from."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content


class ZipRefused(Exception):
    """Why a zip is not read at all; what was read of it so far must be dropped."""


def candidates(path: Path) -> Iterator[Candidate | Rejected]:
    """Yield each file under a path that may be DICOM, by name, and the others with their reasons.

    A folder is searched with all that it holds; a zip is read in memory and nothing is written. Hidden files
    and system clutter are passed over. Raises `ZipRefused` for a zip that is dangerous or broken.
    """
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not _is_clutter(name))
            for name in sorted(names):
                if not _is_clutter(name):
                    yield _from_disk(Path(folder, name), in_folder=True)
    elif path.is_file() and zipfile.is_zipfile(path) and not _looks_like_dicom(_head(path)):
        yield from _from_zip(path)
    else:
        yield _from_disk(path, in_folder=False)


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _from_disk(path: Path, *, in_folder: bool) -> Candidate | Rejected:
    if not path.exists():
        return Rejected(path.name, "does not exist; check the name and the folder")
    if not path.is_file():
        return Rejected(path.name, "is no ordinary file; leave it out")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return Rejected(path.name, "cannot be opened; check that you may read it")
    reason = _reason_against(head)
    if in_folder and head.startswith(b"PK\x03\x04"):
        reason = "is a zip within the folder; load it by itself"
    return Rejected(path.name, reason) if reason else Candidate(path.name, path)


def _reason_against(head: bytes) -> str | None:
    if not head:
        return "is empty (0 bytes); copy it again from its source"
    if _looks_like_dicom(head):
        return None
    if head.startswith(b"\x1f\x8b"):
        return "is compressed with gzip; unpack it first"
    if head.startswith(b"PK\x03\x04"):
        return "is a damaged zip; copy it again from its source"
    return NOT_DICOM


def _looks_like_dicom(head: bytes) -> bool:
    """Whether a file has the DICM mark, or begins with an element of group 2 or 8 as files without it do."""
    if head[128:132] == b"DICM":
        return True
    return len(head) >= 8 and head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")


def _from_zip(path: Path) -> Iterator[Candidate | Rejected]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check_zip(members)
            unpacked = 0
            for member in sorted(members, key=lambda member: member.filename):
                parts = PurePosixPath(member.filename.replace("\\", "/")).parts
                if any(_is_clutter(part) for part in parts):
                    continue
                found, count = _from_member(archive, member, parts[-1], MAX_ZIP_BYTES - unpacked)
                unpacked += count
                yield found
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        raise ZipRefused("is a damaged zip; copy it again from its source") from None


def _check_zip(members: list[zipfile.ZipInfo]) -> None:
    """Refuse a zip by what its own table of contents says, before anything is unpacked."""
    # orig_filename: Python's filename already has the backslashes of some systems replaced.
    if any(_OUTWARD.search(member.orig_filename) for member in members):
        raise ZipRefused("holds a file name that points outside of the zip (absolute, or with ..); pack it again")
    if len(members) > MAX_ZIP_MEMBERS:
        raise ZipRefused(f"holds {len(members):,} files, more than {MAX_ZIP_MEMBERS:,}; load the scan's folder instead")
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if unpacked > MAX_ZIP_BYTES:
        raise ZipRefused(_too_large())
    if unpacked > ZIP_RATIO_FREE_BYTES and unpacked > MAX_ZIP_RATIO * packed:
        raise ZipRefused(
            f"unpacks to more than {MAX_ZIP_RATIO} times its size, like a zip bomb; load the folder instead"
        )


def _too_large() -> str:
    return f"unpacks to more than {MAX_ZIP_BYTES / 2**30:.3g} GiB; load the scan's folder instead"


def _from_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, bytes_left: int
) -> tuple[Candidate | Rejected, int]:
    """Read one member, never more of it than is left to unpack, whatever its header says."""
    if member.flag_bits & 0x1:
        return Rejected(name, "is locked with a password; unlock the zip first"), 0
    try:
        with archive.open(member) as file:
            head = file.read(_HEAD_BYTES)
            reason = _reason_against(head)
            if head.startswith(b"PK\x03\x04"):
                reason = "is a zip within a zip; unpack it first"
            if reason:
                return Rejected(name, reason), len(head)
            chunks, count = [head], len(head)
            while chunk := file.read(_CHUNK_BYTES):
                count += len(chunk)
                if count > bytes_left:
                    raise ZipRefused(_too_large())
                chunks.append(chunk)
            return Candidate(name, b"".join(chunks)), count
    except ZipRefused:
        raise
    except Exception:  # zlib, bz2 and lzma each have their own error
        return Rejected(name, "is damaged within the zip; pack it again"), 0
