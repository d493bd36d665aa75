"""Many at once: every known lesion or drawn box of a scan, or a list of boxes, searched for in one go."""

from __future__ import annotations

import math
import threading
from typing import Any

from lesiondash.dashboard import batch
from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Scan, Store
from lesiondash.dashboard.widgets import Many
from lesiondash.errors import LesionDashError, SearchError
from lesiondash.images.box_list import ListedBox, parse_box_list
from lesiondash.records import Annotation, Box
from lesiondash.retrieval.table import Where
from lesiondash.retrieval.votes import vote

TOP = 9
SOURCES = {"drawn": "the boxes drawn on this scan", "known": "this scan's known lesions"}


class ManyPanel:
    """Searches in a thread, so that the page stays alive, in the scope and with the filters of the nine.

    A line opens what it stands for.

    Its actions are `start`, `start_list`, `stop`, `show`, `export`.
    """

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self.rows: list[dict[str, Any]] = []
        self._asked: list[batch.Asked] = []
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None
        self.widget = Many(self.act, status="Open a scan first.")
        state.observe(self._follow, ["focus", "annotations"])

    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did: start, take a list, stop, show a line, save."""
        kind = message["type"]
        if kind == "start":
            self.start(message["source"])
        elif kind == "list":
            self.start_list(message["name"], message["text"])
        elif kind == "stop":
            self.stop()
        elif kind == "show":
            self.show(int(message["number"]))
        elif kind in ("csv", "json"):
            self.widget.send({"type": kind, "text": self.export(kind)})

    @tells_errors
    def start(self, source: str) -> None:
        """Search for the "drawn" boxes or the "known" lesions of the scan shown."""
        if source not in SOURCES:
            raise SearchError(f"There is no {source!r} to search for; choose one of {', '.join(SOURCES)}.")
        scan = self._shown()
        self._begin(self._drawn(scan) if source == "drawn" else self._known(scan))

    @tells_errors
    def start_list(self, name: str, text: str) -> None:
        """Search for every box of a list, the text of a CSV or JSON file, on the scans that are loaded."""
        self._begin([self._listed(row, item, name) for row, item in enumerate(parse_box_list(name, text), start=1)])

    def stop(self) -> None:
        """End the search; what was answered stays."""
        self._stop.set()

    def wait(self) -> None:
        """Wait until the search has ended."""
        if self._worker is not None:
            self._worker.join()

    @tells_errors
    def show(self, number: int) -> None:
        """Show a box, counted from 1, in its slice, and search for it."""
        item = self._asked[number - 1]
        self.state.show(item.scan.uid, item.slice_number - 1, item.box)

    def export(self, kind: str) -> str:
        """Return all that was found as "csv" or "json"."""
        return batch.as_csv(self.rows) if kind == "csv" else batch.as_json(self.rows)

    def _begin(self, asked: list[batch.Asked]) -> None:
        if self.widget.running:
            raise SearchError("A search for many is running; stop it first.")
        if not asked:
            raise SearchError("There is no box to search for; draw one, or open a list.")
        self._asked, self.rows = asked, []
        self._stop.clear()
        with self.widget.hold_sync():
            self.widget.lines, self.widget.done, self.widget.total = [], 0, len(asked)
            self.widget.running, self.widget.status = True, f"{len(asked):,} boxes …"
        arguments = (asked, self.state.scope, self.state.where)
        self._worker = threading.Thread(target=self._run, args=arguments, daemon=True)
        self._worker.start()

    @tells_errors
    def _run(self, asked: list[batch.Asked], scope: Any, where: Where) -> None:
        said = f"nothing was found{_narrowed(where)}"
        try:
            self.rows = batch.search_boxes(
                self.store,
                asked,
                TOP,
                scope,
                where=where,
                progress=lambda done: self._tell(done, len(asked)),
                stop=self._stop.is_set,
            )
            lines = self._lines(typed=where.types is not None)
            self.widget.lines = lines
            wrong = [line for line in lines if line["error"]]
            if len(wrong) == len(lines):
                raise SearchError(f"Box {wrong[0]['number']} of {len(asked)}: {wrong[0]['error']}")
            said = f"{len(lines) - len(wrong):,} of {len(asked):,} boxes answered{_narrowed(where)}"
            said += ", stopped" if len(lines) < len(asked) else ""
        finally:
            with self.widget.hold_sync():
                self.widget.running, self.widget.status = False, said

    def _tell(self, done: int, total: int) -> None:
        with self.widget.hold_sync():
            self.widget.done, self.widget.status = done, f"{done:,} of {total:,} boxes"

    def _lines(self, typed: bool) -> list[dict[str, Any]]:
        """Return a line for each box; typed: only lesions of some types were searched, so theirs tells nothing."""
        by_box: dict[int, list[dict[str, Any]]] = {}
        for row in self.rows:
            by_box.setdefault(row["annotation"], []).append(row)
        return [self._line(number, found, typed) for number, found in by_box.items()]

    def _line(self, number: int, found: list[dict[str, Any]], typed: bool) -> dict[str, Any]:
        item, first = self._asked[number - 1], found[0]
        told = vote([row["type"] for row in found if row["type"]]) if not typed else None
        return {
            "number": number,
            "scan": item.scan.title,
            "slice": item.slice_number,
            "label": item.label,
            "likely": told.type if told else "",
            "vote": f"{told.count} of {told.of}" if told else "",
            "nearest": first["lesion_id"] or "",
            "cosine": "" if first["error"] else f"{first['similarity']:.4f}",
            "error": first["error"] or "",
        }

    def _shown(self) -> Scan:
        if self.state.focus is None:
            raise SearchError("No scan is shown; open one first.")
        return self.store.scans[self.state.focus.series_uid]

    def _drawn(self, scan: Scan) -> list[batch.Asked]:
        boxes = [item for item in self.store.annotations.of(scan.uid) if item.kind in ("box", "recist", "ellipse")]
        return [
            batch.Asked(number, scan, item.slice_index + 1, _bounds(item), scan.title, item.label)
            for number, item in enumerate(boxes, start=1)
        ]

    def _known(self, scan: Scan) -> list[batch.Asked]:
        first, count = scan.first_slice_index, len(scan.series)
        lesions = [
            lesion
            for lesion in self.store.gallery.lesions
            if scan.collection_series_id == lesion.series_id and 0 <= lesion.slice_index - first < count
        ]
        return [
            batch.Asked(number, scan, lesion.slice_index - first + 1, lesion.box, scan.title, lesion.type)
            for number, lesion in enumerate(lesions, start=1)
        ]

    def _listed(self, row: int, item: ListedBox, name: str) -> batch.Asked:
        try:
            scan = self._shown() if not item.scan else self._titled(item.scan)
            box = batch.region_of(scan.series, item.slice_number, item.box)
        except LesionDashError as error:
            raise SearchError(f"{name}, row {row}: {error}") from error
        return batch.Asked(row, scan, item.slice_number, box, item.scan or scan.title, item.label)

    def _titled(self, title: str) -> Scan:
        for scan in self.store.scans.values():
            if title in (scan.title, scan.uid):
                return scan
        raise SearchError(f"No scan with the title {title!r} is loaded; drop it first, or leave scan empty.")

    def _follow(self, _: Any) -> None:
        if self.state.focus is None:
            return
        scan = self._shown()
        counts = {"drawn": len(self._drawn(scan)), "known": len(self._known(scan))}
        self.widget.sources = [[name, f"{SOURCES[name]} ({count})"] for name, count in counts.items() if count]
        if not self.widget.running and not self.widget.lines:
            self.widget.status = ""


def _narrowed(where: Where) -> str:
    """Return which lesions alone were searched among, "" for all."""
    low, high = where.size_mm or (0.0, math.inf)
    sizes = [f"{low:g} mm or more" if math.isinf(high) else f"{low:g} to {high:g} mm"] if where.size_mm else []
    parts = [" or ".join(where.types or ()), *sizes, " or ".join(where.splits or ())]
    said = ", ".join(filter(None, parts))
    return f"; among {said} only" if said else ""


def _bounds(item: Annotation) -> Box:
    """The smallest box round a mark's points; one that is a line gets a pixel of width."""
    xs, ys = zip(*item.points_px, strict=True)
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    return Box(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))
