"""Search and fetch from a real Orthanc, by DICOMweb and DIMSE; and every way in which a server can disappoint."""

from __future__ import annotations

import http.server
import logging
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from ct_files import SECRET, SERIES_UID, ct_dataset
from orthanc import PASSWORD, USER, Orthanc, free_ports, orthanc
from pydicom.uid import RLELossless
from running import run_cli

from lesiondash.errors import FetchStopped, PacsError
from lesiondash.images.dicom import load_dicom
from lesiondash.images.pacs import PacsQuery, PacsSettings, SeriesFound, connect, listed, read_series

__all__ = ["orthanc"]
PATIENT = "ID-4711"
WAYS = ("web", "get", "move")
STUDIES = [("20240105", PATIENT, "CHEST"), ("20231224", PATIENT, SECRET), ("20240101", "OTHER", "HEAD")]


def settings(server: Orthanc, way: str, **changes: Any) -> PacsSettings:
    if way == "web":
        return PacsSettings(**{"url": server.web, "user": USER, "password": PASSWORD, **changes})
    move_port = server.move_port if way == "move" else None
    return PacsSettings(**{"url": server.dimse, "move_port": move_port, **changes})


@pytest.fixture(scope="module")
def folder(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies of one patient and one of another, as files that the server keeps as well."""
    folder = tmp_path_factory.mktemp("kept")
    for study, (date, patient, part) in enumerate(STUDIES, start=1):
        for number in range(1, 6):
            stored = np.random.default_rng(10 * study + number).integers(0, 3000, (16, 24))
            dataset = ct_dataset(stored, 3.0 * number, number)
            dataset.PatientID, dataset.StudyDate, dataset.AccessionNumber = patient, date, f"ACC{study}"
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{SERIES_UID}.7.{study}", f"{SERIES_UID}.8.{study}"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{SERIES_UID}.9.{study}.{number}"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a name where the standard has a code
                dataset.BodyPartExamined, dataset.SeriesNumber = part, 3
            if study == 2:  # compressed: it must come as it is kept
                dataset.compress(RLELossless, generate_instance_uid=False)
            path = folder / f"study{study}" / f"{number}.dcm"
            path.parent.mkdir(exist_ok=True)
            dataset.save_as(path, enforce_file_format=True)
    orthanc.keep(sorted(folder.rglob("*.dcm")))
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_pacs_and_drop_give_the_same_series(orthanc: Orthanc, folder: Path, way: str) -> None:
    pacs = connect(settings(orthanc, way))
    found = pacs.search(PacsQuery(PATIENT))
    assert [(each.study, each.days, each.modality, each.number, each.instances) for each in found] == [
        (1, 0, "CT", 3, 5),
        (2, 12, "CT", 3, 5),
    ]
    for each, name in zip(found, ("study2", "study1"), strict=True):
        told: list[tuple[int, int]] = []
        series = read_series(pacs, each, lambda *counts, told=told: told.append(counts)).series
        dropped = load_dicom(folder / name).series
        assert len(series) == len(dropped) == 1
        np.testing.assert_array_equal(series[0].hu, dropped[0].hu)
        assert series[0].uid == dropped[0].uid == each.uid
        assert series[0].spacing_mm == dropped[0].spacing_mm
        assert series[0].positions_mm == dropped[0].positions_mm
        assert series[0].header == dropped[0].header
        assert told == [(count, 5) for count in range(1, 6)]


@pytest.mark.parametrize("way", WAYS)
def test_real_scan_comes_back_equal(orthanc: Orthanc, shared_dicom: Path, way: str) -> None:
    files = sorted((shared_dicom / "ge_thorax_3slice").iterdir())
    orthanc.keep(files)
    head = pydicom.dcmread(files[0], stop_before_pixels=True)
    pacs = connect(settings(orthanc, way))
    dropped = load_dicom(files).series[0]
    found = [each for each in pacs.search(PacsQuery(str(head.PatientID))) if each.uid == dropped.uid]
    assert len(found) == 1
    series = read_series(pacs, found[0]).series[0]
    np.testing.assert_array_equal(series.hu, dropped.hu)
    assert (series.uid, series.spacing_mm) == (dropped.uid, dropped.spacing_mm)


@pytest.mark.parametrize("way", ["web", "get"])
def test_search_by_accession_number_and_modality(orthanc: Orthanc, folder: Path, way: str) -> None:
    pacs = connect(settings(orthanc, way))
    assert [each.body_part for each in pacs.search(PacsQuery(accession_number="ACC3"))] == ["HEAD"]
    assert len(pacs.search(PacsQuery(PATIENT, modality="CT"))) == 2
    assert pacs.search(PacsQuery(PATIENT, modality="MR")) == []
    assert pacs.search(PacsQuery("NOBODY")) == []


@pytest.mark.parametrize("way", WAYS)
def test_no_name_in_the_list(orthanc: Orthanc, folder: Path, way: str) -> None:
    found = connect(settings(orthanc, way)).search(PacsQuery(PATIENT))
    assert found[0].body_part == "", "free text in place of a code is not shown"
    for secret in (SECRET, PATIENT, "2023", "ACC2", SERIES_UID):
        assert secret not in repr(found)


@pytest.mark.parametrize("way", WAYS)
def test_stopped_fetch_keeps_nothing(orthanc: Orthanc, folder: Path, tmp_path: Path, way: str) -> None:
    pacs = connect(settings(orthanc, way))
    found = pacs.search(PacsQuery(PATIENT))[0]
    stop = threading.Event()
    came = []

    def second(count: int, _: int) -> None:
        came.append(count)
        if count == 2:
            stop.set()

    with pytest.raises(FetchStopped, match="nothing of it is kept"):
        pacs.fetch(found, tmp_path, second, stop)
    assert came == [1, 2]
    assert list(tmp_path.iterdir()) == []
    assert len(pacs.fetch(found, tmp_path)) == 5, "the server can be asked again"


@pytest.mark.parametrize("way", WAYS)
def test_limits_and_missing_images_are_said(orthanc: Orthanc, folder: Path, tmp_path: Path, way: str) -> None:
    found = connect(settings(orthanc, way)).search(PacsQuery(PATIENT))[0]
    with pytest.raises(PacsError, match="larger than"):
        connect(settings(orthanc, way, max_bytes=1500)).fetch(found, tmp_path)
    more = SeriesFound(**{**vars(found), "instances": 9})
    with pytest.raises(PacsError, match="5 of 9 images"):
        connect(settings(orthanc, way)).fetch(more, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_refusals(orthanc: Orthanc, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    closed = free_ports(1)[0]
    cases = [
        (settings(orthanc, "web", password="guessed-pa55"), "refused the login"),
        (settings(orthanc, "web", url=orthanc.web + "/nowhere"), "answered what is not|HTTP 404|HTTP 400"),
        (settings(orthanc, "web", url=orthanc.web.replace("http:", "https:")), "prove who it is"),
        (settings(orthanc, "web", url=f"http://{USER}:{PASSWORD}@127.0.0.1:{closed}/x"), "cannot be reached"),
        (settings(orthanc, "get", ae_title="STRANGER"), "our AE title|broke off"),
        (
            settings(orthanc, "get", url=orthanc.dimse.replace("ORTHANC", "WRONG")),
            "is not called so|refused the assoc|broke off",
        ),
        (settings(orthanc, "get", url=f"dicom://ORTHANC@127.0.0.1:{closed}"), "cannot be reached"),
        (settings(orthanc, "get", url=f"dicom://ORTHANC@127.0.0.1:{orthanc.http_port}", timeout_s=2), "speak DICOM"),
        (settings(orthanc, "get", url=orthanc.dimse.replace("dicom:", "dicoms:"), timeout_s=3), "TLS"),
    ]
    for setting, words in cases:
        with pytest.raises(PacsError, match=words) as caught:
            connect(setting).search(PacsQuery(PATIENT))
        for secret in (USER, PASSWORD, "guessed", PATIENT):
            assert secret not in str(caught.value)
            assert secret not in repr(setting) or setting.url.startswith(f"http://{USER}")
    ours = [record.getMessage() for record in caplog.records]
    assert not [message for message in ours if PATIENT in message]


def test_receiving_port_in_use(orthanc: Orthanc, folder: Path, tmp_path: Path) -> None:
    found = connect(settings(orthanc, "get")).search(PacsQuery(PATIENT))[0]
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        pacs = connect(settings(orthanc, "get", move_port=taken.getsockname()[1]))
        with pytest.raises(PacsError, match="in use"):
            pacs.fetch(found, tmp_path)


@contextmanager
def answering(code: int, body: bytes, kind: str) -> Iterator[str]:
    """A web server that gives one answer to everything."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
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


FOUND = SeriesFound("u", 1, 0, "CT", "", 1, 2, f"{SERIES_UID}.7", f"{SERIES_UID}.8")
PARTS = 'multipart/related; type="application/dicom"; boundary=b'


@pytest.mark.parametrize(
    ("code", "body", "kind", "words"),
    [
        (500, b"", "text/plain", "HTTP 500"),
        (503, b"", "text/plain", "HTTP 503"),
        (404, b"", "text/plain", "HTTP 404"),
        (403, b"", "text/plain", "refused the login"),
        (200, b"<html>Welcome</html>", "text/html", "not DICOMweb"),
        (200, b"{]", "application/dicom+json", "not DICOMweb"),
        (200, b'[{"0020000D": 7}, 3]', "application/dicom+json", "not DICOMweb"),
        (200, b"\0" * 2000, PARTS, "not DICOMweb|broke off before the end"),
        (200, b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n" + b"x" * 500 + b"\r\n--b--", PARTS, "not DICOMweb"),
    ],
)
def test_garbage_from_the_web(tmp_path: Path, code: int, body: bytes, kind: str, words: str) -> None:
    with answering(code, body, kind) as url:
        pacs = connect(PacsSettings(url, timeout_s=5))
        with pytest.raises(PacsError, match=words if "multipart" not in kind else "."):
            pacs.search(PacsQuery(PATIENT))
        with pytest.raises(PacsError, match=words if "json" not in kind else "."):
            pacs.fetch(FOUND, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["http", "dicom"])
def test_silent_server_is_given_up(scheme: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"http://{host}/web" if scheme == "http" else f"dicom://SILENT@{host}"
        with pytest.raises(PacsError, match=r"did not answer within 0\.5 s|broke off"):
            connect(PacsSettings(url, timeout_s=0.5)).search(PacsQuery(PATIENT))


@pytest.mark.parametrize(
    "url", ["", "host", "ftp://host/x", "http://", "dicom://host:104", "dicom://A@host", "http://host:99999999/"]
)
def test_addresses_that_name_no_server(url: str) -> None:
    with pytest.raises(PacsError, match=r"http://host/dicom-web|dicom://AETITLE@host:port"):
        connect(PacsSettings(url))


@pytest.mark.parametrize("asked", [{}, {"patient_id": "  "}, {"patient_id": "*"}, {"accession_number": "A?"}])
def test_nobody_lists_the_whole_archive(asked: dict[str, str]) -> None:
    with pytest.raises(PacsError, match=r"whole|Give a patient ID"):
        PacsQuery(**asked)


def test_settings_from_the_environment() -> None:
    assert PacsSettings.from_environment({}) is None
    given = PacsSettings.from_environment(
        {"LESIONDASH_PACS_URL": "dicom://A@b:1", "LESIONDASH_PACS_MOVE_PORT": "11112", "LESIONDASH_PACS_PASSWORD": "s"}
    )
    assert given is not None
    assert (given.move_port, given.password, given.ae_title) == (11112, "s", "LESIONDASH")
    assert "'s'" not in repr(given)
    with pytest.raises(PacsError, match="numbers"):
        PacsSettings.from_environment({"LESIONDASH_PACS_URL": "x", "LESIONDASH_PACS_TIMEOUT_S": "soon"})


def test_undated_and_odd_answers() -> None:
    row = {"date": "", "modality": "ct", "body_part": None, "number": "x", "instances": ""}
    found = listed(
        [
            {**row, "study_uid": "2", "series_uid": "21"},
            {**row, "study_uid": "1", "series_uid": "11", "date": "20200229"},
            {**row, "study_uid": "", "series_uid": "31"},
        ]
    )
    assert [(each.study, each.days, each.modality, each.number, each.instances) for each in found] == [
        (1, 0, "CT", None, 0),
        (2, None, "CT", None, 0),
    ]


def test_fetch_command(orthanc: Orthanc, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("URL", orthanc.web), ("USER", USER), ("PASSWORD", PASSWORD)):
        monkeypatch.setenv(f"LESIONDASH_PACS_{name}", value)
    listing = run_cli("fetch", str(tmp_path / "out"), "--patient", PATIENT, "--list", data=tmp_path)
    assert listing.returncode == 0, listing.stderr
    assert "study 2, day 12  CT CHEST  5 images" in listing.stdout
    assert not (tmp_path / "out").exists()
    assert run_cli("fetch", str(tmp_path / "out"), "--accession", "ACC1", data=tmp_path).returncode == 0
    np.testing.assert_array_equal(load_dicom(tmp_path / "out").series[0].hu, load_dicom(folder / "study1").series[0].hu)
    refused = run_cli("fetch", str(tmp_path), "--patient", PATIENT, "--url", "http://127.0.0.1:9/x", data=tmp_path)
    assert refused.returncode == 2
    assert "cannot be reached" in refused.stderr
    assert PATIENT not in refused.stderr + refused.stdout
