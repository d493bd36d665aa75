"""PACS: search a server of scans by whom the person names, fetch one series, and show it like a dropped one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import PacsList
from lesiondash.errors import FetchStopped, PacsError
from lesiondash.images.dicom import DicomReading
from lesiondash.images.pacs import Pacs, PacsQuery, PacsSettings, SeriesFound, connect, read_series

TELL_S = 0.15


class PacsPanel:
    """Asks the server beside the page's own work; what was typed is kept in memory only, and shown nowhere.

    Where LESIONDASH_PACS_URL names a server, the page asks that one and no other: its login leaves the kernel for it
    alone, and nobody at the page can have another host asked.
    """

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self._found: dict[str, SeriesFound] = {}
        self._pacs: Pacs | None = None
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None
        self._told = 0.0
        self._given: PacsSettings | PacsError | None
        try:
            self._given = PacsSettings.from_environment()
        except PacsError as error:
            self._given = error
        self.widget = PacsList(self.act, given=self._given is not None)

    @tells_errors
    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did: search, fetch or stop."""
        kind = message["type"]
        if kind == "search":
            names = ("patient_id", "accession_number")
            query = PacsQuery(*(str(message[name]).strip() for name in names), str(message["modality"]).strip().upper())
            self.search(query, _settings(message["server"]))
        elif kind == "fetch":
            self.fetch(str(message["uid"]))
        elif kind == "stop":
            self._stop.set()

    def search(self, query: PacsQuery, settings: PacsSettings | None = None) -> None:
        """List the series of a patient or an accession number; settings count where the page has none of its own."""
        if isinstance(self._given, PacsError):
            raise self._given
        settings = self._given or settings
        if settings is None:
            raise PacsError("Give the address of a server, or set LESIONDASH_PACS_URL before the page starts.")
        pacs = connect(settings)
        self._start("search", lambda: (pacs, pacs.search(query, self._stop)), self._list)

    def fetch(self, uid: str) -> None:
        """Fetch one series of the list, and show it."""
        pacs, found = self._pacs, self._found.get(uid)
        if pacs is None or found is None:
            raise PacsError("This series is not in the list any more; search again.")
        self.widget.progress = [0, found.instances]
        self._start("fetch", lambda: read_series(pacs, found, self._tell, self._stop), self._show)

    def wait(self) -> None:
        """Wait until the search or the fetch under way has ended."""
        if self._worker is not None:
            self._worker.join()

    def _start(self, kind: str, ask: Callable[[], Any], take: Callable[[Any], None]) -> None:
        if self.widget.running:
            raise PacsError("A search or a fetch is under way; stop it first.")
        self._stop.clear()
        self.widget.status = ""
        self.widget.running = kind
        arguments = (ask, take, _to_this_thread())
        self._worker = threading.Thread(target=self._work, args=arguments, daemon=True)
        self._worker.start()

    def _work(self, ask: Callable[[], Any], take: Callable[[Any], None], hand_over: Callable[..., Any]) -> None:
        try:
            answer = ask()
        except Exception as error:  # a thread's error would vanish: the page says it
            answer = error
        hand_over(self._take, answer, take)

    @tells_errors
    def _take(self, answer: Any, take: Callable[[Any], None]) -> None:
        """End what was under way, in the page's own thread, which alone touches its state."""
        self.widget.running = ""
        if isinstance(answer, FetchStopped):
            self.widget.status = str(answer)
        elif isinstance(answer, Exception):
            self.widget.status = "That did not work; the page says why at its top."
            raise answer
        else:
            take(answer)

    def _list(self, answer: tuple[Pacs, list[SeriesFound]]) -> None:
        self._pacs, found = answer
        self._found = {each.uid: each for each in found}
        names = ("uid", "study", "days", "modality", "body_part", "number", "instances")
        self.widget.found = [{name: getattr(each, name) for name in names} for each in found]
        count = len(found)
        self.widget.status = f"{count} series found." if count else "The server has no series of this one."

    def _show(self, reading: DicomReading) -> None:
        scans = self.store.add(reading.series)
        left_out = len(reading.rejected)
        self.widget.status = "Fetched." if not left_out else f"Fetched; {left_out} images could not be read."
        self.state.show(scans[0].uid, len(scans[0].series) // 2)

    def _tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_S or done == total:
            self._told = now
            self.widget.progress = [done, total]


def _settings(typed: dict[str, Any]) -> PacsSettings | None:
    """Return the server that was typed, or None where none was."""
    if not str(typed.get("url", "")).strip():
        return None
    port = typed.get("move_port")
    return PacsSettings(
        str(typed["url"]).strip(),
        str(typed.get("user", "")),
        str(typed.get("password", "")),
        str(typed.get("ae_title") or PacsSettings.ae_title),
        None if port is None else int(port),
    )


def _to_this_thread() -> Callable[..., Any]:
    """Return what calls a function in this thread's event loop; without one (in a test), where it is called."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        return lambda action, *args: action(*args)
