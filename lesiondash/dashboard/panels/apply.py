"""The filter's setting applied to the whole collection, in a thread, with progress and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.frangi.apply import kept_or_applied


class CollectionFilter:
    """Filters every crop of the collection with the present setting and window; one run at a time."""

    def __init__(self, state: State, store: Store, tell: Callable[[bool, str], object]) -> None:
        self.state, self.store, self._tell = state, store, tell
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._worker is not None and self._worker.is_alive()

    def toggle(self) -> None:
        """Start, or stop what runs."""
        if self.running:
            self._stop.set()
            return
        self._stop.clear()
        self._worker = threading.Thread(target=self._run, args=(self.state.params, self.state.window), daemon=True)
        self._worker.start()

    def wait(self) -> None:
        """Wait until the run has ended."""
        if self._worker is not None:
            self._worker.join()

    @tells_errors
    def _run(self, params: Any, window: Any) -> None:
        gallery, folder = self.store.gallery, self.store.filtered_folder
        ids = tuple(lesion.lesion_id for lesion in gallery.lesions)
        text = ""
        try:
            filtered, before = kept_or_applied(
                folder,
                gallery.crops,
                ids,
                params,
                window,
                progress=lambda done, total: self._tell(True, f"{done:,} of {total:,} lesions"),
                stop=self._stop.is_set,
                compile=False,  # the kernels would cost the page 160 MB
            )
            text = "stopped; nothing was kept"
            if before:
                text = "this setting was applied before"
            elif filtered is not None:
                text = f"{len(ids):,} responses kept in {filtered.path(folder).name}"
        finally:
            self._tell(False, text)
