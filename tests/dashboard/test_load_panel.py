"""A drop through the panel: chunks, a reading beside the page, its progress and its end; and that it names nobody."""

from __future__ import annotations

import io
import json
import logging
import threading
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pytest
from ct_files import ct_dataset
from marked_files import marked_dataset, marks_in
from pydicom.dataset import FileDataset

from lesiondash.dashboard.panels.load import LoadPanel
from lesiondash.dashboard.panels.search import SearchPanel
from lesiondash.dashboard.panels.view import ViewPanel
from lesiondash.dashboard.spool import Spool
from lesiondash.dashboard.state import State
from lesiondash.dashboard.store import Store
from lesiondash.paths import encoder_path, gallery_dir
from lesiondash.records import Box


@pytest.fixture
def panels(in_demonstration: Path) -> Any:
    root = in_demonstration / "demo"
    state, store = State(), Store(root, gallery_dir(root), encoder_path())
    return LoadPanel(state, store), ViewPanel(state, store), SearchPanel(state, store)


def content_of(dataset: FileDataset) -> bytes:
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def send(panel: LoadPanel, files: dict[str, bytes], chunk: int = 1500) -> None:
    panel.receive({"type": "begin"}, b"")
    parts = [
        (
            {"file": number, "name": name, "offset": at, "length": len(content[at : at + chunk])},
            content[at : at + chunk],
        )
        for number, (name, content) in enumerate(files.items())
        for at in range(0, len(content), chunk)
    ]
    for k in range(0, len(parts), 3):  # a message may hold the end of one file and the beginning of the next
        some = parts[k : k + 3]
        message = {"type": "chunk", "parts": [part for part, _ in some]}
        assert panel.receive(message, memoryview(b"".join(piece for _, piece in some))) == {"type": "ack"}
    panel.receive({"type": "end"}, b"")


def slices(count: int, side: int = 32, **changes: Any) -> dict[str, bytes]:
    stored = np.arange(side * side).reshape(side, side) % 1500
    return {f"{k}.dcm": content_of(ct_dataset(stored, float(k), k + 1, **changes)) for k in range(count)}


def test_a_drop_is_read_and_shown(panels: Any) -> None:
    panel, view, _ = panels
    send(panel, slices(3))
    panel.wait()
    (scan,) = panel.widget.scans
    assert scan["text"].startswith("CT, 3 slices")
    assert view.widget.scan["count"] == 3
    assert panel.widget.reading == []


def test_progress_is_told_and_a_stop_leaves_nothing(panels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    panel, _, _ = panels
    monkeypatch.setattr("lesiondash.dashboard.panels.load.TELL_S", 0.0)
    told: list[list[int]] = []
    half, go_on = threading.Event(), threading.Event()

    def watch(change: Any) -> None:
        told.append(change.new)
        if change.new and change.new[0] > change.new[1] / 2 > 1:
            half.set()
            assert go_on.wait(20)

    panel.widget.observe(watch, "reading")
    send(panel, slices(8))
    assert half.wait(20), "the page's own thread is free meanwhile"
    panel.receive({"type": "cancel"}, b"")
    go_on.set()
    panel.wait()
    assert told[0] == [0, 1]
    assert told[-1] == []
    assert panel.widget.scans == []
    assert panel.store.scans == {}
    assert panel.state.notice.text == "Reading was stopped; nothing was loaded."
    panel.widget.unobserve_all()
    send(panel, slices(2))
    panel.wait()
    assert len(panel.widget.scans) == 1


def test_what_cannot_be_read_is_said(panels: Any) -> None:
    panel, _, _ = panels
    send(panel, {"letter.txt": b"Dear colleague, " * 30})
    panel.wait()
    assert panel.state.notice.kind == "error"
    assert panel.state.notice.text.startswith("letter.txt is not a DICOM file")
    send(panel, {"letter.txt": b"Dear colleague, " * 30, **slices(1)})
    panel.wait()
    assert [item["name"] for item in panel.widget.rejected] == ["letter.txt"]


def test_a_series_without_hu_is_shown_but_not_searched(panels: Any) -> None:
    panel, view, _ = panels
    send(panel, slices(2, Modality="MR", RescaleSlope=None, RescaleIntercept=None))
    panel.wait()
    (scan,) = panel.widget.scans
    assert scan["text"].startswith("MR, 2 slices")
    assert len(set(scan["thumbnail"])) > 100, "its own range of values is shown"
    panel.state.show(scan["uid"], 0, Box(4, 4, 20, 20))
    assert panel.state.notice.kind == "error"
    assert "holds no HU" in panel.state.notice.text
    assert panel.state.hits == ()
    assert view.widget.scan["count"] == 2


def test_no_panel_names_anybody(panels: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    panel, view, search = panels
    whole = content_of(marked_dataset())
    send(panel, {"a.dcm": whole, "b.dcm": content_of(marked_dataset(1.0, 2)), "cut.dcm": whole[:-700]}, 100_000)
    panel.wait()
    uid = panel.widget.scans[0]["uid"]
    panel.state.show(uid, 0, Box(10, 10, 40, 40))
    assert len(panel.state.hits) == 9
    shown = ""
    for widget in (panel.widget, view.widget, search.widget):
        assert isinstance(widget, ipywidgets.DOMWidget)
        shown += json.dumps(widget.get_state(), default=str)
    scan = panel.store.scans[uid]
    assert marks_in(shown + repr(scan) + repr(scan.series.header) + caplog.text) == []
    assert [item["name"] for item in panel.widget.rejected] == ["cut.dcm"]


def test_a_spool_gives_back_what_came_in_and_refuses_what_does_not_follow() -> None:
    spool = Spool()
    assert spool.append(0, "b/..\\x.dcm", 0, b"abc")
    assert spool.append(0, "x.dcm", 3, b"def")
    assert not spool.append(0, "x.dcm", 3, b"def")
    assert spool.append(1, "../../a.dcm", 0, b"")
    assert spool.append(2, "c.dcm", 0, b"123456789")
    assert not spool.append(0, "x.dcm", 6, b"late")
    files = {file.name: file.read() for file in spool.files()}
    assert files == {"a.dcm": b"", "c.dcm": b"123456789", "x.dcm": b"abcdef"}
    spool.close()
