"""Scans from a PACS: search and fetch by DICOMweb or DIMSE, behind one small interface."""

from __future__ import annotations

import math
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from lesiondash.errors import FetchStopped, PacsError
from lesiondash.images.dicom import DicomReading, load_dicom
from lesiondash.images.dicom_series import series_uid_hash

Progress = Callable[[int, int], object]
"""Told how many instances have come, and how many are expected (0 where the server does not say)."""

SCHEMES = ("http", "https", "dicom", "dicoms")
MAX_BYTES = 8 * 2**30
MAX_SERIES = 500
MAX_TIMEOUT_S = 3600.0
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")


@dataclass(frozen=True)
class PacsSettings:
    """Where a server is and how to speak to it.

    url is `http(s)://host/path` for DICOMweb, or `dicom://AETITLE@host:port` for DIMSE (`dicoms` with TLS). ae_title is
    our own. move_port, where given, fetches by C-MOVE to a receiver of our own on that port instead of by C-GET: the
    server must know our AE title at this address. A text form shows neither user nor password.
    """

    url: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ae_title: str = "LESIONDASH"
    move_port: int | None = None
    timeout_s: float = 20.0
    max_bytes: int = MAX_BYTES

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> PacsSettings | None:
        """Return what LESIONDASH_PACS_URL, _USER, _PASSWORD, _AE_TITLE, _MOVE_PORT and _TIMEOUT_S say, if any."""
        given = {
            name: environment[f"LESIONDASH_PACS_{name.upper()}"]
            for name in ("url", "user", "password", "ae_title", "move_port", "timeout_s")
            if environment.get(f"LESIONDASH_PACS_{name.upper()}")
        }
        if "url" not in given:
            return None
        try:
            move_port = int(given["move_port"]) if "move_port" in given else None
            timeout_s = float(given.get("timeout_s", cls.timeout_s))
        except ValueError:
            raise PacsError("LESIONDASH_PACS_MOVE_PORT and LESIONDASH_PACS_TIMEOUT_S must be numbers.") from None
        ae_title = given.get("ae_title", cls.ae_title)
        return cls(given["url"], given.get("user", ""), given.get("password", ""), ae_title, move_port, timeout_s)


@dataclass(frozen=True)
class PacsQuery:
    """Whose scans to look for: a whole patient ID or accession number; an empty modality means any."""

    patient_id: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    modality: str = ""

    def __post_init__(self) -> None:
        for name, text in (("patient ID", self.patient_id), ("accession number", self.accession_number)):
            if re.search(r"[*?\\\x00-\x1f]", text) or len(text) > 64:
                raise PacsError(f"The {name} must be whole, of at most 64 characters, without * ? or \\.")
        if not (self.patient_id.strip() or self.accession_number.strip()):
            raise PacsError("Give a patient ID or an accession number to search for.")
        if self.modality and not _CODE.fullmatch(self.modality):
            raise PacsError("The modality is a short code such as CT or MR; correct it or leave it out.")


@dataclass(frozen=True)
class SeriesFound:
    """One series of an answer, in words that name nobody.

    uid is the one-way hash that the loaded `Series` will have; study counts from 1 in order of date, days from the
    earliest study of the answer (None where undated); instances is 0 where the server does not say. The server's own
    UIDs are kept to fetch with, and no text form shows them. Descriptions are not kept: people type names into them.
    """

    uid: str
    study: int
    days: int | None
    modality: str
    body_part: str
    number: int | None
    instances: int
    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)


class Pacs(Protocol):
    """A server of scans; its methods block, and raise `PacsError` for whatever goes wrong."""

    def search(self, query: PacsQuery, stop: threading.Event | None = None) -> list[SeriesFound]:
        """Return the series of a patient or an accession number, by study and number."""

    def fetch(
        self, series: SeriesFound, folder: Path, progress: Progress | None = None, stop: threading.Event | None = None
    ) -> list[Path]:
        """Write every instance of a series as a file into `folder` and return the files, all or none."""


def connect(settings: PacsSettings) -> Pacs:
    """Return the server that settings name; nothing is sent yet.

    Raises `PacsError` for an address that names none, and for a time or a port that cannot be.
    """
    if not (math.isfinite(settings.timeout_s) and 0 < settings.timeout_s <= MAX_TIMEOUT_S):
        raise PacsError(f"The time to wait for the server must be above 0 s, and {MAX_TIMEOUT_S:g} s at most.")
    if settings.move_port is not None and not 0 < settings.move_port < 2**16:
        raise PacsError("The port to receive on must be from 1 to 65535; correct it, or leave it out.")
    address = _address(settings.url)
    if address.scheme in ("http", "https"):
        from lesiondash.images.pacs_dicomweb import DicomWeb

        bare = address._replace(netloc=_host(address))
        user, password = settings.user, settings.password
        if address.username is not None and not user:
            user, password = unquote(address.username), unquote(address.password or "")
        return DicomWeb(urlunsplit(bare), user, password, settings)
    from lesiondash.images.pacs_dimse import Dimse

    if not address.username or address.port is None:
        raise PacsError("A DIMSE server is written dicom://AETITLE@host:port; the AE title or the port is missing.")
    return Dimse(
        unquote(address.username), str(address.hostname), address.port, settings, tls=address.scheme == "dicoms"
    )


def read_series(
    pacs: Pacs, found: SeriesFound, progress: Progress | None = None, stop: threading.Event | None = None
) -> DicomReading:
    """Fetch one series and read it like dropped files; nothing of it stays on the disk. Raises `ScanError`."""
    with tempfile.TemporaryDirectory(prefix="lesiondash-") as folder:
        return load_dicom(pacs.fetch(found, Path(folder), progress, stop))


def stop_if(stop: threading.Event | None) -> None:
    """Raise `FetchStopped` once somebody asked to stop."""
    if stop is not None and stop.is_set():
        raise FetchStopped("The transfer was stopped; nothing of it is kept.")


def too_large(max_bytes: int) -> PacsError:
    """Return the error for more bytes than settings allow."""
    return PacsError(f"The series is larger than {max_bytes / 2**30:g} GiB; fetch a smaller one.")


class Receiver:
    """Writes instances as they come, and checks that they are of the series asked for, in number and size."""

    def __init__(self, found: SeriesFound, folder: Path, max_bytes: int, progress: Progress | None) -> None:
        self.found, self.folder, self.max_bytes, self.progress = found, folder, max_bytes, progress
        self.files: dict[str, Path] = {}
        self.bytes = 0

    def take(self, series_uid: str, instance_uid: str, write: Callable[[Path], object]) -> None:
        """Keep one instance; raises `PacsError` for one of another series, or too many bytes."""
        if series_uid != self.found.series_uid:
            raise PacsError("The server sent a scan that was not asked for; nothing was loaded. Try another server.")
        path = self.files.setdefault(instance_uid, self.folder / f"{len(self.files):06d}.dcm")
        write(path)
        self.bytes += path.stat().st_size
        if self.bytes > self.max_bytes:
            raise too_large(self.max_bytes)
        if self.progress is not None:
            self.progress(len(self.files), self.found.instances)

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            for path in self.files.values():
                path.unlink(missing_ok=True)

    def finish(self, *, whole: bool = True) -> list[Path]:
        """Return the files; raises `PacsError` where fewer came than the server had said.

        whole is whether the server says that it sent all: what counts where it had told no number.
        """
        count, told = len(self.files), self.found.instances
        if not count or count < told or not (told or whole):
            came = f"{count} of {told} images" if told else "only a part of the series" if count else "no image"
            raise PacsError(f"The server sent {came}; nothing was loaded. Try again, or ask who runs it.")
        return list(self.files.values())


def listed(rows: Iterable[Mapping[str, Any]]) -> list[SeriesFound]:
    """Return rows of an answer (study_uid, series_uid, date, modality, body_part, number, instances) as series."""
    rows = [row for row in rows if row["study_uid"] and row["series_uid"]]
    if len(rows) > MAX_SERIES:
        raise PacsError(f"The server found more than {MAX_SERIES} series; search by accession number instead.")
    dates = {row["study_uid"]: _date(row["date"]) for row in rows}
    order = sorted(dates, key=lambda uid: (dates[uid] or date.max, uid))
    first = min((day for day in dates.values() if day is not None), default=None)
    found = []
    for row in rows:
        day = dates[row["study_uid"]]
        found.append(
            SeriesFound(
                uid=series_uid_hash(row["series_uid"]),
                study=order.index(row["study_uid"]) + 1,
                days=None if day is None or first is None else (day - first).days,
                modality=_code(row["modality"]),
                body_part=_code(row["body_part"]),
                number=_number(row["number"]),
                instances=_number(row["instances"]) or 0,
                study_uid=row["study_uid"],
                series_uid=row["series_uid"],
            )
        )
    return sorted(found, key=lambda each: (each.study, each.number if each.number is not None else 10**9, each.uid))


def _address(url: str) -> SplitResult:
    try:
        address = urlsplit(url.strip())
        known = address.scheme in SCHEMES and bool(address.hostname) and address.port != 0
    except ValueError:
        known = False
    if not known:
        raise PacsError("The server's address must be like http://host/dicom-web or dicom://AETITLE@host:port.")
    return address


def _host(address: SplitResult) -> str:
    host = str(address.hostname)
    host = f"[{host}]" if ":" in host else host
    return host if address.port is None else f"{host}:{address.port}"


def _date(text: Any) -> date | None:
    digits = str(text or "").strip()
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if len(digits) == 8 else None
    except ValueError:
        return None


def _code(text: Any) -> str:
    """Return a code string, or nothing where it is not one: free text could name a person."""
    code = str(text or "").strip().upper()
    return code if _CODE.fullmatch(code) else ""


def _number(value: Any) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None
