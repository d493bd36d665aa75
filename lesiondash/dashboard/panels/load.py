"""Load: scans by drop, choice or from the demonstration, listed with what could not be read and why."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lesiondash.dashboard.spool import Spool
from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import LESION_UID, Scan, Store
from lesiondash.dashboard.widgets import DropZone
from lesiondash.errors import LesionDashError, ScanError, ScanStopped
from lesiondash.images.dicom import DicomReading
from lesiondash.images.dicom_files import Given
from lesiondash.records import WINDOWS, Window

THUMBNAIL_PX = 48
TELL_S = 0.15
_NOTHING_FOUND = "No image series was found; drop DICOM files, a folder or a zip of them."


class LoadPanel:
    """Receives files in chunks, reads them beside the page's own work, and offers scans and demonstration cases."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self._spool: Spool | None = None
        self._reader: threading.Thread | None = None
        self._stop = threading.Event()
        self._told = 0.0
        self.widget = DropZone(
            self.receive,
            cases=[{"name": case.name, "title": case.title} for case in store.cases],
        )
        state.observe(self._follow_focus, "focus")

    @tells_errors
    def receive(self, message: dict[str, Any], chunk: bytes | memoryview) -> dict[str, Any] | None:
        """Answer one message of the drop zone: begin, chunk (acknowledged), end, cancel, show, beside, case.

        A chunk's parts say of which files it holds which bytes: file, name, offset, length.
        """
        kind = message.get("type")
        if kind == "begin":
            self.cancel()
            self._spool = Spool()
        elif kind == "chunk":
            return self._append(message, chunk)
        elif kind == "end":
            self.finish()
        elif kind == "cancel":
            self.cancel()
        elif kind == "show":
            self.show(str(message["uid"]))
        elif kind == "beside":
            self.show_beside(str(message["uid"]))
        elif kind == "case":
            self.open_case(str(message["name"]))
        return None

    def _append(self, message: dict[str, Any], chunk: bytes | memoryview) -> dict[str, Any]:
        """Append to the files of the drop."""
        if self._spool is None:
            return {"type": "refused"}
        try:
            kept, at = True, 0
            for part in message["parts"]:
                end = at + int(part["length"])
                piece, at = chunk[at:end], end
                kept = kept and self._spool.append(int(part["file"]), str(part["name"]), int(part["offset"]), piece)
            words = "The transfer was interrupted; drop the files again."
        except OSError:
            kept, words = False, "There is no room on this machine's disk for these files; drop fewer at a time."
        if not kept:
            self.cancel()
            self.state.say(words, "error")
            return {"type": "refused"}
        return {"type": "ack"}

    def cancel(self) -> None:
        """Forget a drop that was not finished, and stop reading one that was."""
        self._stop.set()
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def finish(self) -> None:
        """Read the finished drop, whole or not at all, in a thread of its own, so that the page stays alive."""
        spool, self._spool = self._spool, None
        if spool is None:
            return
        self.wait()
        self._stop = threading.Event()
        self.widget.rejected = []
        self.widget.reading = [0, 1]
        self._reader = threading.Thread(target=self._read, args=(spool, self._stop, _to_this_thread()), daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Wait until a drop that is being read is read or stopped."""
        if self._reader is not None:
            self._reader.join()

    def _read(self, spool: Spool, stop: threading.Event, hand_over: Callable[..., None]) -> None:
        """Read a drop and hand what was found over to the page's own thread, which alone touches its state."""
        found: DicomReading | Exception
        try:
            found = self.store.read(spool.files(), progress=self._tell, stop=stop.is_set)
        except Exception as error:  # a thread's error would vanish: the page says it
            found = error
        finally:
            spool.close()
        hand_over(self._take, found)

    def _tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_S:
            self._told = now
            self.widget.reading = [done, total]

    @tells_errors
    def load(self, given: Iterable[Given]) -> None:
        """Read files, folders or zips at once, and show the first series."""
        self.widget.rejected = []
        try:
            found: DicomReading | Exception = self.store.read(given)
        except LesionDashError as error:
            found = error
        self._take(found)

    @tells_errors
    def _take(self, found: DicomReading | Exception) -> None:
        """Keep what was read, list it with what was not, and show the first series."""
        self.widget.reading = []
        if isinstance(found, ScanStopped):
            self.state.say(str(found))
            return
        if isinstance(found, Exception):
            raise found
        scans = self.store.add(found.series)
        self.widget.rejected = [{"name": item.name, "reason": item.reason} for item in found.rejected]
        self._list()
        if not scans:
            raise ScanError(_NOTHING_FOUND)
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

    @tells_errors
    def show_beside(self, uid: str) -> None:
        """Show a loaded series beside the one that is shown."""
        self.state.show_beside(uid, len(self.store.scans[uid].series) // 2)

    def _follow_focus(self, _: Any) -> None:
        if self.state.focus is not None:
            self.widget.active = self.state.focus.series_uid
            if self.widget.active not in {scan["uid"] for scan in self.widget.scans}:
                self._list()  # loaded by another panel

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
            if not scan.uid.startswith(LESION_UID)
        ]


def _to_this_thread() -> Callable[..., None]:
    """Return what calls a function in this thread's event loop; without one (in a test), where it is called."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe  # type: ignore[return-value]
    except RuntimeError:
        return lambda action, *args: action(*args)


def _thumbnail(scan: Scan) -> list[int]:
    """The middle slice, sampled to a small square of grey levels."""
    hu = scan.series.hu[len(scan.series) // 2]
    rows = np.linspace(0, hu.shape[0] - 1, THUMBNAIL_PX).astype(int)
    columns = np.linspace(0, hu.shape[1] - 1, THUMBNAIL_PX).astype(int)
    small = hu[np.ix_(rows, columns)]
    return list(map(int, (_thumbnail_window(scan, small).apply(small) * 255).ravel()))


def _thumbnail_window(scan: Scan, values: np.ndarray) -> Window:
    if scan.series.unit == "HU":
        return WINDOWS["soft tissue"]
    low, high = np.percentile(values, (1, 99))
    return Window(float(low + high) / 2, max(float(high - low), 1.0))
