"""Zips, and zips within zips: members opened one at a time, and bombs, links and outward names refused."""

from __future__ import annotations

import io
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from lesiondash.errors import LesionDashError
from lesiondash.images.dicom_files import (
    HEAD_BYTES,
    WHOLE_BYTES,
    Candidate,
    Refused,
    Rejected,
    is_clutter,
    looks_like_dicom,
    reason_against,
    shown_name,
)
from lesiondash.images.dicom_watch import Watch
from lesiondash.images.limits import RATIO_FREE_BYTES, bytes_text, raise_it

_CHUNK_BYTES = 2**20
_OUTWARD = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")


class Unpacked:
    """What one zip, with all zips in it, has given so far."""

    def __init__(self) -> None:
        self.files = self.bytes = 0


def members(archive_file: BinaryIO, watch: Watch, so_far: Unpacked, depth: int = 1) -> Iterator[Candidate | Rejected]:
    """Yield each file of a zip, unpacked only when its turn comes; nothing is written under its own name.

    Raises `Refused` for a zip that is dangerous, broken or past the limits.
    """
    try:
        with zipfile.ZipFile(archive_file) as archive:
            listed = [member for member in archive.infolist() if member.filename and not member.is_dir()]
            _check_table(listed, archive_file.seek(0, io.SEEK_END), watch, so_far)
            watch.expect(sum(member.file_size for member in listed))
            for member in sorted(listed, key=lambda member: member.filename):
                yield from _member(archive, member, watch, so_far, depth)
    except (Refused, LesionDashError, MemoryError, GeneratorExit):
        raise
    except Exception:  # a damaged table of contents makes zipfile trip over anything
        raise Refused("is a damaged zip; copy it again from its source") from None


def _check_table(listed: list[zipfile.ZipInfo], packed: int, watch: Watch, so_far: Unpacked) -> None:
    """Refuse a zip by what its own table of contents says, before anything is unpacked."""
    limits = watch.limits
    # orig_filename: Python's filename already has the backslashes of some systems replaced.
    if any(_OUTWARD.search(member.orig_filename) for member in listed):
        raise Refused("holds a file name that points outside of the zip (absolute, or with ..); pack it again")
    so_far.files += len(listed)
    if so_far.files > limits.max_files:
        raise Refused(f"holds {so_far.files:,} files, more than {limits.max_files:,}, {raise_it('max_files')}")
    unpacked = sum(member.file_size for member in listed)
    if so_far.bytes + unpacked > limits.max_unpacked_bytes:
        raise Refused(_too_large(watch))
    if unpacked > RATIO_FREE_BYTES and unpacked > limits.max_zip_ratio * packed:
        words = f"unpacks to more than {limits.max_zip_ratio} times its size, like a zip bomb"
        raise Refused(f"{words} ({raise_it('max_zip_ratio')})")


def _too_large(watch: Watch) -> str:
    return f"unpacks to more than {bytes_text(watch.limits.max_unpacked_bytes)}, {raise_it('max_unpacked_bytes')}"


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, watch: Watch, so_far: Unpacked, depth: int
) -> Iterator[Candidate | Rejected]:
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    name = shown_name(member.filename)
    reason = _reason_against_member(member, watch)
    if not parts or any(is_clutter(part) for part in parts):
        watch.advance(member.file_size)
        return
    unpacked = reason or _unpack(archive, member, watch, so_far)
    if isinstance(unpacked, str):
        watch.advance(member.file_size)
        yield Rejected(name, unpacked)
        return
    with unpacked:
        head = unpacked.read(HEAD_BYTES)
        unpacked.seek(0)
        if looks_like_dicom(head) or not head.startswith(b"PK\x03\x04"):
            why = reason_against(head, name)
            if why:
                watch.advance(member.file_size)
            yield Rejected(name, why) if why else Candidate(name, member.file_size, lambda: unpacked)
            return
        watch.advance(member.file_size)
        if depth >= watch.limits.max_zip_depth:
            limit = f"lies in more than {watch.limits.max_zip_depth} zips"
            yield Rejected(name, f"{limit}, {raise_it('max_zip_depth')}")
            return
        if not zipfile.is_zipfile(unpacked):
            yield Rejected(name, "is a damaged zip; copy it again from its source")
            return
        yield from members(unpacked, watch, so_far, depth + 1)


def _reason_against_member(member: zipfile.ZipInfo, watch: Watch) -> str | None:
    if member.flag_bits & 0x1:
        return "is locked with a password; unlock the zip first"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link, not a file; pack what it leads to"
    if member.file_size > watch.limits.max_file_bytes:
        return f"is larger than {bytes_text(watch.limits.max_file_bytes)}, {raise_it('max_file_bytes')}"
    return None


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, watch: Watch, so_far: Unpacked) -> BinaryIO | str:
    """Unpack a member, never past the limit whatever its header says; returns why not where it is damaged."""
    # a large one goes to a nameless file, so that it does not lie in memory beside what it decodes to
    content = tempfile.SpooledTemporaryFile(max_size=WHOLE_BYTES)  # noqa: SIM115  # its reader closes it
    try:
        with archive.open(member) as file:
            while chunk := file.read(_CHUNK_BYTES):
                watch.check()
                so_far.bytes += len(chunk)
                if so_far.bytes > watch.limits.max_unpacked_bytes:
                    raise Refused(_too_large(watch))
                content.write(chunk)
    except (Refused, LesionDashError, MemoryError):
        raise
    except Exception:  # zlib, bz2 and lzma each have their own error
        return "is damaged within the zip; pack it again"
    content.seek(0)
    return content  # type: ignore[return-value]
