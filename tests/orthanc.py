"""A real PACS for the tests: Orthanc on free ports, with a login, filled with the files a test hands it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "reader", "pa55-of-the-reader"


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens to, all different."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@dataclass
class Orthanc:
    """A running Orthanc: its DICOMweb and DIMSE addresses, and the port it moves to."""

    http_port: int
    dicom_port: int
    move_port: int

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    @property
    def dimse(self) -> str:
        return f"dicom://ORTHANC@127.0.0.1:{self.dicom_port}"

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        """One request of its own REST interface."""
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}", body, {"Authorization": f"Basic {login}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())

    def keep(self, files: list[Path]) -> None:
        for file in files:
            self.ask("/instances", file.read_bytes())


def missing() -> str:
    """Why Orthanc cannot be started here; empty where it can."""
    if shutil.which("Orthanc", path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
        return "Orthanc is not installed (apt-get install orthanc orthanc-dicomweb)"
    return "" if PLUGIN.is_file() else "Orthanc's DICOMweb plugin is not installed (apt-get install orthanc-dicomweb)"


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start Orthanc in a folder of its own, and end it; skips where it is not installed."""
    reason = missing()
    if reason:
        if os.environ.get("LESIONDASH_REQUIRE_ORTHANC"):
            pytest.fail(f"{reason}, and this run must not skip its tests")
        pytest.skip(reason)
    server = Orthanc(*free_ports(3))
    settings = {
        "Name": "tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": server.http_port,
        "DicomPort": server.dicom_port,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowGet": False,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowEcho": False,
        "DicomModalities": {"lesiondash": ["LESIONDASH", "127.0.0.1", server.move_port]},
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    binary = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([binary, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            wait_until_up(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(20)


def wait_until_up(server: Orthanc, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            server.ask("/system")
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("Orthanc did not start; see orthanc.log in the test's folder")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server
