"""DICOMweb: QIDO-RS to search, WADO-RS to fetch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lesiondash.errors import PacsError
from lesiondash.images.dicom_slices import quiet
from lesiondash.images.pacs import (
    MAX_SERIES,
    PacsQuery,
    PacsSettings,
    Progress,
    Receiver,
    SeriesFound,
    listed,
    stop_if,
    too_large,
)

# A DICOMweb answer to a series level search: what is asked for beyond the keys themselves.
_FIELDS = ["Modality", "SeriesNumber", "BodyPartExamined", "NumberOfSeriesRelatedInstances"]
_AS_STORED = (("application/dicom", "*"),)  # no transcoding: the same pixels as in the files
_TAIL = 4096  # bytes at the end of a body in which its last boundary must lie


class DicomWeb:
    """A DICOMweb server; see `lesiondash.images.pacs.Pacs`."""

    def __init__(self, url: str, user: str, password: str, settings: PacsSettings) -> None:
        self.url, self.settings = url, settings
        self._login = (user, password) if user else None
        self._name = urlsplit(url).netloc

    def search(self, query: PacsQuery, stop: threading.Event | None = None) -> list[SeriesFound]:
        """Return the series of a patient or an accession number, by study and number."""
        wanted = {"PatientID": query.patient_id.strip(), "AccessionNumber": query.accession_number.strip()}
        filters = {name: value for name, value in wanted.items() if value}
        rows = []
        with self._client(stop) as client:
            studies = partial(client.search_for_studies, search_filters=filters, fields=["StudyDate"])
            for study in _pages(studies, "0020000D"):
                study_uid = _text(study, "0020000D")
                kind = {"Modality": query.modality} if query.modality else {}
                asked = partial(client.search_for_series, study_uid, search_filters=kind, fields=_FIELDS)
                for series in _pages(asked, "0020000E"):
                    if _text(series, "0020000D") in ("", study_uid):
                        rows.append(_row(study_uid, study, series))
            return listed(rows)

    def fetch(
        self, series: SeriesFound, folder: Path, progress: Progress | None = None, stop: threading.Event | None = None
    ) -> list[Path]:
        """Write every instance of a series as a file into `folder` and return the files, all or none."""
        with self._client(stop) as client, Receiver(series, folder, self.settings.max_bytes, progress) as receiver:
            for dataset in client.iter_series(series.study_uid, series.series_uid, media_types=_AS_STORED):
                stop_if(stop)
                receiver.take(str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID), dataset.save_as)
            return receiver.finish()

    @contextmanager
    def _client(self, stop: threading.Event | None) -> Iterator[Any]:
        """A client whose every failure becomes one sentence, without address path, login or what was asked."""
        import requests
        from dicomweb_client.api import DICOMwebClient

        for name in ("dicomweb_client", "urllib3.connectionpool", "retrying"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # they log the query: the patient's ID
        try:
            with quiet(), requests.Session() as session:
                session.auth = self._login
                session.hooks["response"].append(_watched(self.settings.max_bytes, stop))
                session.trust_env = self._login is None  # a .netrc must not replace the login that was given
                client = DICOMwebClient(self.url, session=session, timeout=self.settings.timeout_s)
                client.set_http_retry_params(retry=False)
                yield client
        except (PacsError, MemoryError):
            raise
        except requests.HTTPError as error:
            raise PacsError(self._refusal(error.response)) from None
        except requests.exceptions.SSLError:
            raise PacsError(
                f"The server {self._name} could not prove who it is (TLS); check its certificate and the address."
            ) from None
        except requests.Timeout:
            raise PacsError(
                f"The server {self._name} did not answer within {self.settings.timeout_s:g} s; check that it runs."
            ) from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            raise PacsError(
                f"The server {self._name} cannot be reached or broke off; check the address, and that it runs."
            ) from None
        except Exception:  # the client meets garbage with whatever its parsers raise
            raise PacsError(
                f"The server {self._name} answered what is not DICOMweb; check the path of the address."
            ) from None

    def _refusal(self, response: Any) -> str:
        code = 0 if response is None else int(response.status_code)
        if code in (401, 403):
            return f"The server {self._name} refused the login (HTTP {code}); check user and password."
        if code == 404:
            return f"The server {self._name} knows nothing at this address (HTTP 404); check its path."
        if code >= 500:
            return f"The server {self._name} failed (HTTP {code}); try again later, or ask who runs it."
        return f"The server {self._name} refused the request (HTTP {code}); check the address."


def _watched(max_bytes: int, stop: threading.Event | None) -> Callable[..., None]:
    """Return what has the body of every answer counted, ended on a stop, and refused where it is not whole.

    The client itself reads a body of any size, and takes one that broke off between two images for a whole one.
    """

    def watch(response: Any, **_: Any) -> None:
        stop_if(stop)
        if response.status_code == 206:
            raise PacsError("The server sent only a part of the series (HTTP 206); nothing was loaded. Try again.")
        boundary = response.raw.headers.get("Content-Type", "").partition("boundary=")[2].partition(";")[0].strip(' "')
        read = response.iter_content

        def chunks(*how: Any, **named: Any) -> Iterator[bytes]:
            count, tail = 0, b""
            for chunk in read(*how, **named):
                stop_if(stop)
                count += len(chunk)
                if count > max_bytes:
                    raise too_large(max_bytes)
                tail = (tail + chunk[-_TAIL:])[-_TAIL:]
                yield chunk
            if boundary and response.ok and f"--{boundary}--".encode() not in tail:
                raise PacsError("The server broke off before the end of the series; nothing was loaded. Try again.")

        response.iter_content = chunks

    return watch


def _pages(search: Callable[..., list[Any]], key: str) -> list[Any]:
    """Return every row of a search: a server may give them in pages of a size of its own.

    A page without a new row ends it, so that a server which knows no pages is not asked for ever.
    """
    rows: dict[str, Any] = {}
    count = 0
    while len(rows) <= MAX_SERIES:
        page = search(**({"offset": count} if count else {}))
        count += len(page)
        new = {_text(row, key): row for row in page if _text(row, key) not in rows}
        if not new:
            break
        rows.update(new)
    return list(rows.values())


def _row(study_uid: str, study: Any, series: Any) -> dict[str, Any]:
    return {
        "study_uid": study_uid,
        "series_uid": _text(series, "0020000E"),
        "date": _text(study, "00080020"),
        "modality": _text(series, "00080060"),
        "body_part": _text(series, "00180015"),
        "number": _text(series, "00200011"),
        "instances": _text(series, "00201209"),
    }


def _text(item: dict[str, Any], tag: str) -> str:
    """Return the first value of an element of DICOM JSON as text."""
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0]).strip()
