"""The filter's setting applied to the whole collection, in a thread, with progress and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.frangi.apply import InputMode, check_mode, kept_or_applied
from lesiondash.records import FrangiParams, Window


class CollectionFilter:
    """Filters every crop of the collection with the present setting and window; one run at a time."""

    def __init__(self, state: State, store: Store, tell: Callable[[bool, str, float], object]) -> None:
        self.state, self.store, self._tell = state, store, tell
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._worker is not None and self._worker.is_alive()

    def toggle(self, mode: InputMode) -> None:
        """Start, or stop what runs; raises `FilterError` for a mode that is not "replace" or "channel"."""
        if self.running:
            self._stop.set()
            return
        check_mode(mode)
        self._stop.clear()
        setting = self.state.params, self.state.window, mode
        self._worker = threading.Thread(target=self._run, args=setting, daemon=True)
        self._worker.start()

    def wait(self) -> None:
        """Wait until the run has ended."""
        if self._worker is not None:
            self._worker.join()

    @tells_errors
    def _run(self, params: FrangiParams, window: Window, mode: InputMode) -> None:
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
                mode=mode,
                progress=lambda done, total: self._tell(True, f"{done:,} of {total:,} lesions", done / total),
                stop=self._stop.is_set,
                compile=False,  # the kernels would cost the page 160 MB
            )
            text = "stopped; nothing was kept"
            if before:
                text = "this setting was applied before and is kept"
            elif filtered is not None:
                text = f"{len(ids):,} responses kept with their setting in {filtered.path(folder).name}"
        finally:
            self._tell(False, text, 0.0)
