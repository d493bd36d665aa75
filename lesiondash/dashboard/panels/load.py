"""Load: scans by drop, choice or from the demonstration, listed with what could not be read and why."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Scan, Store
from lesiondash.dashboard.widgets import DropZone
from lesiondash.errors import ScanError
from lesiondash.records import WINDOWS

THUMBNAIL_PX = 48


class LoadPanel:
    """Receives files in chunks, reads them, and offers scans and demonstration cases to look at."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self._folder: Path | None = None
        self.widget = DropZone(
            self.receive,
            cases=[{"name": case.name, "title": case.title} for case in store.cases],
        )
        state.observe(self._follow_focus, "focus")

    def receive(self, message: dict[str, Any], chunk: bytes) -> dict[str, Any] | None:
        """Answer one message of the drop zone: begin, chunk (acknowledged), end, cancel, show, case."""
        kind = message.get("type")
        if kind == "begin":
            self.cancel()
            self._folder = Path(tempfile.mkdtemp(prefix="lesiondash-"))
        elif kind == "chunk":
            return self._append(message, chunk)
        elif kind == "end":
            self.finish()
        elif kind == "cancel":
            self.cancel()
        elif kind == "show":
            self.show(str(message["uid"]))
        elif kind == "case":
            self.open_case(str(message["name"]))
        return None

    def _append(self, message: dict[str, Any], chunk: bytes) -> dict[str, Any]:
        """Append to one file of the drop; the folder tells files of one name apart, the name is never a path."""
        if self._folder is None:
            return {"type": "refused"}
        number = int(message["file"])
        name = PurePosixPath(str(message["name"]).replace("\\", "/")).name or "file"
        path = self._folder / f"{number:05d}" / name[-100:]
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            if file.tell() != int(message["offset"]):
                self.cancel()
                self.state.say("The transfer was interrupted; drop the files again.", "error")
                return {"type": "refused"}
            file.write(chunk)
        return {"type": "ack", "file": number}

    def cancel(self) -> None:
        """Forget a drop that was not finished."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def finish(self) -> None:
        """Read the finished drop, whole or not at all, and empty its folder."""
        folder, self._folder = self._folder, None
        if folder is None:
            return
        try:
            self.load(sorted(path for path in folder.rglob("*") if path.is_file()))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @tells_errors
    def load(self, paths: list[Path]) -> None:
        """Read files, folders or zips and show the first series."""
        self.widget.busy = "Reading the scan …"
        self.widget.rejected = []
        try:
            scans, rejected = self.store.load(paths)
        finally:
            self.widget.busy = ""
        self.widget.rejected = [{"name": item.name, "reason": item.reason} for item in rejected]
        self._list()
        if not scans:
            raise ScanError("No CT series was found; drop DICOM files, a folder or a zip of them.")
        self.show(scans[0].uid)

    @tells_errors
    def open_case(self, name: str) -> None:
        """Load a demonstration case and show its first lesion, searched for."""
        case = next(case for case in self.store.cases if case.name == name)
        if case.series_uid not in self.store.scans:
            self.store.load([case.folder])
            self._list()
        if case.lesions:
            lesion = case.lesions[0]
            self.state.show(case.series_uid, lesion.slice_index - case.first_slice_index, lesion.box)
        else:
            self.show(case.series_uid)

    @tells_errors
    def show(self, uid: str) -> None:
        """Show a loaded series at its middle slice."""
        self.state.show(uid, len(self.store.scans[uid].series) // 2)

    def _follow_focus(self, _: Any) -> None:
        if self.state.focus is not None:
            self.widget.active = self.state.focus.series_uid

    def _list(self) -> None:
        self.widget.scans = [
            {
                "uid": scan.uid,
                "title": scan.title,
                "text": scan.series.description,
                "notes": list(scan.series.notes),
                "thumbnail": _thumbnail(scan),
            }
            for scan in self.store.scans.values()
            if not scan.uid.startswith("lesion ")
        ]


def _thumbnail(scan: Scan) -> list[int]:
    """The middle slice, sampled to a small square of grey levels."""
    hu = scan.series.hu[len(scan.series) // 2]
    rows = np.linspace(0, hu.shape[0] - 1, THUMBNAIL_PX).astype(int)
    columns = np.linspace(0, hu.shape[1] - 1, THUMBNAIL_PX).astype(int)
    return list(map(int, (WINDOWS["soft tissue"].apply(hu[np.ix_(rows, columns)]) * 255).ravel()))
