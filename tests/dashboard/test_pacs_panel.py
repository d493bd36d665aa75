"""The PACS panel against a real Orthanc: from a patient ID to a scan that is shown."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from orthanc import PASSWORD, USER, Orthanc, orthanc

from lesiondash.dashboard.panels.pacs import PacsPanel
from lesiondash.dashboard.state import State
from lesiondash.dashboard.store import Store
from lesiondash.images.dicom import load_dicom
from lesiondash.paths import chosen_collection, encoder_path, gallery_dir

__all__ = ["orthanc"]


@pytest.fixture
def store(in_demonstration: Path) -> Store:
    folder = chosen_collection()
    return Store(folder, gallery_dir(folder), encoder_path())


def act(panel: PacsPanel, **message: Any) -> None:
    # In a thread of its own: once a browser test ran, this one has a loop that is said to run and never does.
    hand = threading.Thread(target=panel.act, args=(message,))
    hand.start()
    hand.join()
    panel.wait()


def search(panel: PacsPanel, patient_id: str, **server: Any) -> None:
    act(panel, type="search", server=server, patient_id=patient_id, accession_number="", modality="")


def test_from_a_patient_to_a_scan_shown(orthanc: Orthanc, store: Store, shared_dicom: Path) -> None:
    files = sorted((shared_dicom / "ge_thorax_3slice").iterdir())
    orthanc.keep(files)
    patient_id = str(pydicom.dcmread(files[0], stop_before_pixels=True).PatientID)
    state = State()
    panel = PacsPanel(state, store)
    search(panel, patient_id, url=orthanc.web, user=USER, password=PASSWORD)
    dropped = load_dicom(files).series[0]
    assert dropped.uid in {row["uid"] for row in panel.widget.found}
    act(panel, type="fetch", uid=dropped.uid)
    assert panel.widget.progress == [3, 3]
    assert state.focus is not None
    assert state.focus.series_uid == dropped.uid
    np.testing.assert_array_equal(store.scans[dropped.uid].series.hu, dropped.hu)
    told = json.dumps({name: value for name, value in panel.widget.get_state().items() if not name.startswith("_")})
    for secret in (patient_id, USER, PASSWORD, str(pydicom.dcmread(files[0]).SeriesInstanceUID)):
        assert secret not in told


def test_the_page_of_a_server_asks_no_other(orthanc: Orthanc, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("URL", orthanc.web), ("USER", USER), ("PASSWORD", PASSWORD)):
        monkeypatch.setenv(f"LESIONDASH_PACS_{name}", value)
    panel = PacsPanel(State(), store)
    assert panel.widget.given
    search(panel, "NOBODY", url="http://127.0.0.1:9/elsewhere")
    assert panel.state.notice is None
    assert panel.widget.status == "The server has no series of this one."


@pytest.mark.parametrize(
    ("patient_id", "server", "words"),
    [
        ("", {"url": "http://127.0.0.1:9/web"}, "Give a patient ID"),
        ("P-1", {}, "Give the address"),
        ("P-1", {"url": "http://127.0.0.1:9/web"}, "cannot be reached"),
        ("P-1", {"url": "dicom://A@127.0.0.1:9", "ae_title": "MUCH TOO LONG A TITLE"}, "AE title"),
    ],
)
def test_what_is_wrong_is_said(store: Store, patient_id: str, server: dict[str, str], words: str) -> None:
    panel = PacsPanel(State(), store)
    search(panel, patient_id, **server)
    assert panel.state.notice is not None
    assert words in panel.state.notice.text
    assert panel.widget.running == ""
    assert "P-1" not in panel.state.notice.text


def test_a_series_that_is_not_listed(store: Store) -> None:
    panel = PacsPanel(State(), store)
    act(panel, type="fetch", uid="unknown")
    assert panel.state.notice is not None
    assert "search again" in panel.state.notice.text
