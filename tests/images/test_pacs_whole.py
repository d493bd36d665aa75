"""A series from a PACS comes whole or not at all, whichever way a server falls short of it."""

from __future__ import annotations

import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from ct_files import SERIES_UID, ct_dataset
from orthanc import Orthanc, free_ports, orthanc
from pydicom.dataset import FileDataset
from pydicom.uid import (
    CTImageStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
    UltrasoundMultiFrameImageStorage,
)
from pynetdicom import AE, evt

from lesiondash.errors import FetchStopped, PacsError
from lesiondash.images.pacs import MAX_SERIES, PacsQuery, PacsSettings, SeriesFound, connect
from lesiondash.images.pacs_classes import _CLASSES, classes_of

__all__ = ["orthanc"]
STUDY_UID, FETCHED_UID = f"{SERIES_UID}.7", f"{SERIES_UID}.8"
UNCOUNTED = SeriesFound("u", 1, 0, "CT", "", 1, 0, STUDY_UID, FETCHED_UID)
"""A series whose server does not say how many images it has."""
JSON = "application/dicom+json"
PARTS = 'multipart/related; type="application/dicom"; boundary=b'


def image(number: int) -> FileDataset:
    dataset = ct_dataset(np.full((16, 24), number), 3.0 * number, number)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY_UID, FETCHED_UID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{SERIES_UID}.9.{number}"
    return dataset


def part(number: int) -> bytes:
    file = io.BytesIO()
    image(number).save_as(file, enforce_file_format=True)
    return b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n" + file.getvalue()


@contextmanager
def web(answer: Callable[[str], tuple[int, str, bytes]]) -> Iterator[str]:
    """A web server that answers each address, and ends each body by closing: no length is told."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, kind, body = answer(self.path)
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/web"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "end", "words"),
    [(200, b"", "broke off before the end"), (206, b"\r\n--b--", "only a part"), (200, part(3)[:400], "broke off")],
)
def test_web_body_that_is_not_whole(tmp_path: Path, code: int, end: bytes, words: str) -> None:
    with web(lambda _: (code, PARTS, part(1) + part(2) + end)) as url, pytest.raises(PacsError, match=words):
        connect(PacsSettings(url, timeout_s=5)).fetch(UNCOUNTED, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_web_body_that_is_whole(tmp_path: Path) -> None:
    with web(lambda _: (200, PARTS, part(1) + part(2) + b"\r\n--b--\r\n")) as url:
        assert len(connect(PacsSettings(url, timeout_s=5)).fetch(UNCOUNTED, tmp_path)) == 2


def test_web_body_without_an_end_is_given_up_at_the_limit(tmp_path: Path) -> None:
    body = part(1)[:400] + bytes(5_000_000)
    with web(lambda _: (200, PARTS, body)) as url, pytest.raises(PacsError, match="larger than"):
        connect(PacsSettings(url, timeout_s=5, max_bytes=3_000_000)).fetch(UNCOUNTED, tmp_path)


def test_stop_within_one_image(tmp_path: Path) -> None:
    stop = threading.Event()

    def answer(_: str) -> tuple[int, str, bytes]:
        stop.set()
        return 200, PARTS, part(1) + b"\r\n--b--"

    with web(answer) as url, pytest.raises(FetchStopped):
        connect(PacsSettings(url, timeout_s=5)).fetch(UNCOUNTED, tmp_path, stop=stop)
    assert list(tmp_path.iterdir()) == []


def paged(count: int, size: int, *, knows_pages: bool = True) -> Callable[[str], tuple[int, str, bytes]]:
    """One study of `count` series, of which one answer holds `size`."""

    def answer(path: str) -> tuple[int, str, bytes]:
        address = urlsplit(path)
        first = int(parse_qs(address.query).get("offset", ["0"])[0]) if knows_pages else 0
        study = {"0020000D": {"vr": "UI", "Value": [STUDY_UID]}}
        rows = [study]
        if address.path.endswith("/series"):
            rows = [{**study, "0020000E": {"vr": "UI", "Value": [f"{SERIES_UID}.{k}"]}} for k in range(count)]
        return 200, JSON, json.dumps(rows[first : first + size]).encode()

    return answer


def test_every_page_of_an_answer_is_read() -> None:
    with web(paged(7, 3)) as url:
        assert len({each.uid for each in connect(PacsSettings(url)).search(PacsQuery("P"))}) == 7
    with web(paged(7, 3, knows_pages=False)) as url:
        assert len(connect(PacsSettings(url)).search(PacsQuery("P"))) == 3
    with web(paged(MAX_SERIES + 1, 200)) as url, pytest.raises(PacsError, match="accession number"):
        connect(PacsSettings(url)).search(PacsQuery("P"))


@contextmanager
def dimse(*sent: Any) -> Iterator[str]:
    """A DIMSE server that sends what it is given to whoever asks by C-GET."""

    def handle(_: Any) -> Iterator[Any]:
        yield len(sent)
        for dataset in sent:
            yield 0xFF00, dataset

    entity = AE("SENDER")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.3")
    entity.add_supported_context(CTImageStorage, ExplicitVRLittleEndian, scu_role=True, scp_role=True)
    port = free_ports(1)[0]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_GET, handle)])
    try:
        yield f"dicom://SENDER@127.0.0.1:{port}"
    finally:
        server.shutdown()


def test_dimse_server_that_fails_at_one_image(tmp_path: Path) -> None:
    with dimse(image(1), image(2)) as url:
        assert len(connect(PacsSettings(url, timeout_s=5)).fetch(UNCOUNTED, tmp_path)) == 2
    for path in tmp_path.iterdir():
        path.unlink()
    unsent = image(3)
    unsent.SOPClassUID = unsent.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    with dimse(image(1), unsent) as url, pytest.raises(PacsError, match="only a part of the series"):
        connect(PacsSettings(url, timeout_s=5)).fetch(UNCOUNTED, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("modality", "sop_class"),
    [("PT", PositronEmissionTomographyImageStorage), ("US", UltrasoundMultiFrameImageStorage)],
)
@pytest.mark.parametrize("way", ["get", "move"])
def test_images_of_other_kinds_come_by_dimse(
    orthanc: Orthanc, tmp_path: Path, modality: str, sop_class: str, way: str
) -> None:
    kept, patient = image(1), f"OF-{modality}"
    kept.SOPClassUID = kept.file_meta.MediaStorageSOPClassUID = sop_class
    kept.Modality, kept.PatientID = modality, patient
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        kept[name].value = f"{kept[name].value}.{sum(map(ord, modality))}"
    kept.file_meta.MediaStorageSOPInstanceUID = kept.SOPInstanceUID
    kept.save_as(tmp_path / "kept", enforce_file_format=True)
    orthanc.keep([tmp_path / "kept"])
    (tmp_path / "came").mkdir()
    pacs = connect(PacsSettings(orthanc.dimse, move_port=orthanc.move_port if way == "move" else None))
    [found] = pacs.search(PacsQuery(patient))
    assert found.modality == modality
    assert len(pacs.fetch(found, tmp_path / "came")) == 1


def test_classes_fit_into_an_association() -> None:
    for modality in (*_CLASSES, "", "OT"):
        assert len(classes_of(modality)) * 10 + 1 <= 128, modality


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"timeout_s": float("nan")}, {"move_port": 70_000}])
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(PacsError, match="must be"):
        connect(PacsSettings("dicom://A@b:1", **wrong))
