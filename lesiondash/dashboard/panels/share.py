"""Share: the link that reopens what the page shows, and the Python that does the same."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import LESION_UID, Case, Scan, Store
from lesiondash.dashboard.view_link import CodeOf, ViewLink, from_query, to_code, to_query
from lesiondash.errors import LinkError

K = 9


class SharePanel:
    """Writes the state that the page's address asks for, and the address of the state; has no widget of its own.

    Made before the other panels, which begin with the window, the scope and the filters of the address; `open` shows
    its scan once the page has been painted.
    """

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self._awaited: ViewLink | None = None
        try:
            self._asked = from_query(os.environ.get("QUERY_STRING", ""))  # voila hands the address on
        except LinkError as error:
            self._asked = ViewLink()
            state.say(str(error), "error")
        state.window = self._asked.window or state.window
        state.scope = self._asked.scope or state.scope
        state.where = self._asked.where or state.where

    @tells_errors
    def open(self) -> None:
        """Show the scan of the page's address; one that has to be dropped first is shown when it comes."""
        asked = self._asked
        if asked.scan is None:
            return
        case = next((case for case in self.store.cases if case.name == asked.scan), None)
        if case is not None and case.series_uid not in self.store.scans:
            self.store.load([case.folder])
        lesion_id = asked.scan.removeprefix(LESION_UID)
        if lesion_id != asked.scan:
            if lesion_id not in self.store.by_id:
                raise LinkError(f"The link is to lesion {lesion_id[:60]!r}, which is not in this collection.")
            self.store.open_lesion(lesion_id)
        asked = replace(asked, scan=case.series_uid if case else asked.scan)
        if asked.scan in self.store.scans:
            self._show(asked)
            return
        self._awaited = asked
        self.state.observe(self._follow_focus, "focus")
        self.state.say("The link is to a scan that is not here: drop it, and it opens where the link points.")

    def _follow_focus(self, _: Any) -> None:
        awaited, focus = self._awaited, self.state.focus
        if awaited is not None and focus is not None and focus.series_uid == awaited.scan:
            self._awaited = None
            self._show(awaited)

    @tells_errors
    def _show(self, asked: ViewLink) -> None:
        assert asked.scan is not None
        series = self.store.scans[asked.scan].series
        number = asked.slice_number or (len(series) + 1) // 2
        if number > len(series):
            raise LinkError(f"The link is to slice {number}; this series has slices 1 to {len(series)}.")
        box = None if asked.box is None else asked.box.inside(*series.hu.shape[1:])
        self.state.show(asked.scan, number - 1, box)

    def said(self) -> dict[str, str]:
        """Return the link and the Python of what is shown; where there is no box, no Python, and why."""
        view, scan = self._view()
        said = {"link": to_query(view, self.state.params), "code": "", "why": ""}
        try:
            said["code"] = self.code(view, scan)
        except LinkError as error:
            said["why"] = str(error)
        return said

    def code(self, view: ViewLink, scan: Scan | None) -> str:
        """Return the Python of a view; raises `LinkError` for one without a box."""
        if scan is None or view.box is None or view.slice_number is None:
            raise LinkError("Draw a box first; then its search can be had as Python.")
        known = self.store.known_lesion(scan, view.slice_number - 1, view.box)
        partial = ", partial=True" if self.store.partial else ""
        where = CodeOf(
            collection=f"DeepLesion({str(self.store.collection.root)!r}{partial})",
            series=self._series_expression(scan),
            query_id=known.lesion_id if known else None,
            patient_id=scan.patient_id,
        )
        return to_code(view, self.state.params, where, K)

    def _view(self) -> tuple[ViewLink, Scan | None]:
        """Return what is shown: the box's slice where there is a box on it, else the slice alone."""
        state, focus = self.state, self.state.focus
        scan = None if focus is None else self.store.scans.get(focus.series_uid)
        if scan is None:
            return ViewLink(window=state.window, scope=state.scope, where=state.where), None
        case = self._case(scan)
        region = state.region if state.region is not None and state.region.series_uid == scan.uid else None
        index = state.slice_index if region is None else region.slice_index
        name = case.name if case else scan.uid
        box = None if region is None else region.box
        return ViewLink(name, index + 1, box, state.window, state.scope, state.where), scan

    def _case(self, scan: Scan) -> Case | None:
        """Return the demonstration case that a scan is, if it is one."""
        return next((case for case in self.store.cases if case.series_uid == scan.uid), None)

    def _series_expression(self, scan: Scan) -> str:
        """Return the Python that reads a scan; where its files are is known for those of the collection alone."""
        if scan.uid.startswith(LESION_UID):
            lesion = self.store.by_id[scan.uid.removeprefix(LESION_UID)]
            if self.store.images_of(lesion) is self.store.collection:
                return (
                    f"next(collection.series(lesion.series_id, lesion) for lesion in collection.lesions"
                    f" if lesion.lesion_id == {lesion.lesion_id!r})"
                )
        case = self._case(scan)
        folder = str(case.folder) if case else "THE SCAN'S FOLDER"
        return f"next(series for series in read_dicom({folder!r}) if series.uid == {scan.uid!r})"
