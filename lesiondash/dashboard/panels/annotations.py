"""Annotations: what was drawn on the series shown, listed, labelled, searched by, saved and read back."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from typing import Any

from lesiondash.annotations.deephealth import from_deephealth, is_deephealth
from lesiondash.annotations.document import parse, read_json, restore, to_document
from lesiondash.annotations.measure import Measures, bounds, measures
from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Scan, Store
from lesiondash.dashboard.widgets import Annotations
from lesiondash.errors import AnnotationError
from lesiondash.records import LESION_TYPES, UNLABELLED, Annotation

NAMES = {
    "box": "Box",
    "length": "Length",
    "recist": "RECIST",
    "ellipse": "Ellipse",
    "arrow": "Arrow",
    "text": "Text",
}
FORMATS = ("json", "csv", "sr", "seg")
MAX_TEXT = 8_000_000
SEARCHED = ("box", "recist", "ellipse")


class AnnotationsPanel:
    """Asks the viewer for every change of an annotation, so that it can be undone there; it draws nothing itself.

    Its actions are `show`, `search`, `label`, `delete`, `save`, `take`, `add` and `remove`.
    """

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self._uid = ""
        self._bringing_over = threading.Lock()
        self.widget = Annotations(self.act, labels=list(LESION_TYPES), added=self._added())
        state.observe(self._follow_focus, "focus")
        state.observe(self._follow_annotations, "annotations")
        state.observe(self._follow_slice, "slice_index")

    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did in the list."""
        mark_id = str(message.get("id", ""))
        actions = {
            "show": lambda: self.show(mark_id),
            "search": lambda: self.search(mark_id),
            "label": lambda: self.label(mark_id, str(message["label"]), str(message["note"])),
            "delete": lambda: self.delete(mark_id),
            "add": lambda: self.add(mark_id),
            "remove": lambda: self.remove(mark_id),
            "open_added": lambda: self.open_added(mark_id),
            "remove_added": lambda: self.remove_added(mark_id),
            "save": lambda: self.save(str(message["format"])),
            "take": lambda: self.take(str(message["text"])),
        }
        actions[message["type"]]()

    @property
    def scan(self) -> Scan:
        """The scan whose annotations are listed; raises `AnnotationError` where none is shown."""
        scan = self.store.scans.get(self._uid)
        if scan is None:
            raise AnnotationError("There is no scan yet; load one, then draw on it.")
        return scan

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """What is drawn on it, in the order of drawing."""
        return self.store.annotations.of(self.scan.uid)

    @tells_errors
    def show(self, mark_id: str) -> None:
        """Show an annotation's slice, with its box where it is one; the nine stay as they are."""
        one = self._find(mark_id)
        box = bounds(one) if one.kind == "box" else None
        self.state.show(self.scan.uid, one.slice_index, box, search=False)

    @tells_errors
    def search(self, mark_id: str) -> None:
        """Search for lesions like the one in the rectangle round an annotation."""
        one = self._find(mark_id)
        self.state.show(self.scan.uid, one.slice_index, self._box(one), search=True)

    @tells_errors
    def label(self, mark_id: str, label: str, note: str) -> None:
        """Give an annotation a label and a note."""
        one = self._find(mark_id)
        self._ask(replace(one, label=label.strip()[:200], note=note.strip()[:10_000]))

    @tells_errors
    def delete(self, mark_id: str) -> None:
        """Take an annotation away; undo in the viewer brings it back. An added lesion stays in the collection."""
        gone = self._find(mark_id)
        self.state.ask_annotations(tuple(one for one in self.annotations if one != gone))

    @tells_errors
    def save(self, form: str) -> None:
        """Send the annotations to the browser as a file: JSON, CSV, structured report or segmentation."""
        if form not in FORMATS:
            raise AnnotationError(f"There is no form {form!r}; choose one of {', '.join(FORMATS)}.")
        if not self.annotations:
            raise AnnotationError("There is nothing to save; draw an annotation first.")
        name, mime, content = self.file(form)
        self.widget.send({"type": "file", "name": name, "mime": mime}, [content])

    def file(self, form: str) -> tuple[str, str, bytes]:
        """Return name, MIME type and content of such a file; raises `AnnotationError` where it cannot be made."""
        series, drawn = self.scan.series, self.annotations
        stem = "annotations-" + re.sub(r"\W+", "-", series.uid)
        if form == "json":
            text = json.dumps(to_document(series, drawn), indent=1, ensure_ascii=False)
            return f"{stem}.json", "application/json", text.encode()
        if form == "csv":
            from lesiondash.annotations.table import to_csv

            return f"{stem}.csv", "text/csv", to_csv(series, drawn).encode()
        from lesiondash.annotations.masks import to_seg
        from lesiondash.annotations.report import to_bytes, to_sr

        dataset = to_sr(series, drawn) if form == "sr" else to_seg(series, drawn)
        return f"{stem}-{form}.dcm", "application/dicom", to_bytes(dataset)

    @tells_errors
    def take(self, text: str) -> None:
        """Put the annotations of a JSON file, ours or DeepHealth Annotate's, on the scan shown, or none of them."""
        if len(text) > MAX_TEXT:
            raise AnnotationError(f"This JSON file has more than {MAX_TEXT // 1_000_000} MB; that is no annotations.")
        taken = self._read(text)
        ids = {one.id for one in taken}
        before = tuple(one for one in self.annotations if one.id not in ids)
        self.state.ask_annotations((*before, *taken))
        count = f"{len(taken)} annotation{'s' * (len(taken) != 1)}"
        self.state.say(f"{count} taken over on {self.scan.title}." if taken else "The file holds no annotation.")

    def _read(self, text: str) -> tuple[Annotation, ...]:
        found = read_json(text)
        if is_deephealth(found):
            from lesiondash.images.deidentify import remap_uid

            return from_deephealth(found, self.scan.series, remap_uid)
        document = parse(text)
        theirs = self.store.scans.get(document["series"]["uid"])
        if theirs is not None and theirs.uid != self.scan.uid:
            raise AnnotationError(f"These annotations are of {theirs.title}; show it and drop the file again.")
        return restore(document, self.scan.series)

    @tells_errors
    def add(self, mark_id: str) -> None:
        """Add the lesion in an annotation to the collection: the next search finds it, also after a restart."""
        one = self._find(mark_id)
        if self.store.added.made_of(self.scan.uid, one.id) is not None:
            raise AnnotationError("This lesion is in the collection already; remove it first to add it anew.")
        if self.scan.series.unit != "HU":
            raise AnnotationError("Only lesions of CT can be added: the collection is in HU.")
        axes = measures(self.scan.series, one).recist
        kind = one.label.strip().lower()
        lesion = self.store.add_lesion(
            self.scan,
            one.slice_index,
            self._box(one),
            kind if kind in LESION_TYPES else UNLABELLED,
            diameters_mm=None if axes is None else (axes.long_mm, axes.short_mm),
            annotation_id=one.id,
        )
        self._collection_changed()
        untyped = "" if lesion.type != UNLABELLED else " as unlabelled: its label is no lesion type"
        self.state.say(f"The lesion is in the collection{untyped}; the next search finds it.")

    @tells_errors
    def remove(self, mark_id: str) -> None:
        """Take the lesion that was made of an annotation out of the collection again."""
        lesion_id = self.store.added.made_of(self.scan.uid, mark_id)
        if lesion_id is None:
            raise AnnotationError("This lesion is not in the collection.")
        self.remove_added(lesion_id)

    @tells_errors
    def remove_added(self, lesion_id: str) -> None:
        """Take any added lesion out of the collection, also one whose annotation is deleted."""
        self.store.remove_lesion(lesion_id)
        self._collection_changed()
        self.state.say("The lesion is out of the collection again.")

    @tells_errors
    def open_added(self, lesion_id: str) -> None:
        """Show an added lesion in the slices that are kept of it."""
        if lesion_id not in self.store.by_id:
            raise AnnotationError("This lesion is not in the collection.")
        scan, index = self.store.open_lesion(lesion_id)
        self.state.show(scan.uid, index, self.store.by_id[lesion_id].box, search=False)

    @tells_errors
    def bring_over(self) -> None:
        """Embed added lesions of an earlier encoder by the one that searches now, and say so.

        Who asks while they are being embedded returns when they are found again.
        """
        for problem in self.store.added.problems:
            self.state.say(problem, "error")
        with self._bringing_over:
            count = self.store.added.embed_anew(self.store.encoder)
            if count:
                self.store.join_added()
        if count:
            self._collection_changed()
            plural = "lesions that were added are" if count > 1 else "lesion that was added is"
            self.state.say(f"{count} {plural} embedded anew by this encoder.")

    def _collection_changed(self) -> None:
        self.state.collection_version += 1
        self.widget.added = self._added()
        self._list()

    def _added(self) -> list[dict[str, str]]:
        lesions = (one.lesion for one in self.store.added.all())
        return [
            {
                "lesion_id": lesion.lesion_id,
                "text": f"{lesion.type}, {max(lesion.diameters_mm):.1f} mm, patient {lesion.patient_id}",
            }
            for lesion in lesions
        ]

    def _find(self, mark_id: str) -> Annotation:
        for one in self.annotations:
            if one.id == mark_id:
                return one
        raise AnnotationError("This annotation is no longer there.")

    def _box(self, one: Annotation) -> Any:
        box = bounds(one) if one.kind in SEARCHED else None
        if box is None:
            raise AnnotationError("This annotation has no area; draw a box, an ellipse or RECIST axes.")
        return box.inside(*self.scan.series.hu.shape[1:])

    def _ask(self, changed: Annotation) -> None:
        self.state.ask_annotations(tuple(changed if one.id == changed.id else one for one in self.annotations))

    def _follow_focus(self, _: Any) -> None:
        if self.state.focus is not None:
            self._uid = self.state.focus.series_uid
            self._list()

    def _follow_annotations(self, _: Any) -> None:
        self._list()

    def _follow_slice(self, _: Any) -> None:
        self.widget.shown = self.state.slice_index

    @tells_errors
    def _list(self) -> None:
        scan = self.store.scans.get(self._uid)
        with self.widget.hold_sync():
            self.widget.scan = scan.title if scan else ""
            self.widget.marks = [self._describe(one) for one in self.annotations] if scan else []
        for problem in self.store.annotations.pop_problems():
            self.state.say(problem, "error")

    def _describe(self, one: Annotation) -> dict[str, Any]:
        series = self.scan.series
        found = measures(series, one)
        return {
            "id": one.id,
            "name": NAMES[one.kind],
            "kind": one.kind,
            "slice": one.slice_index,
            "size": _size(found),
            "values": _values(found, series.unit),
            "warning": _warning(found),
            "label": one.label,
            "note": one.note,
            "area": one.kind in SEARCHED and bounds(one) is not None,
            "added": self.store.added.made_of(series.uid, one.id) is not None,
        }


def _size(found: Measures) -> str:
    if found.recist is not None:
        return f"{found.recist.long_mm:.1f} × {found.recist.short_mm:.1f} mm"
    if found.size_mm is not None:
        return f"{found.size_mm[0]:.1f} × {found.size_mm[1]:.1f} mm"
    return "" if found.length_mm is None else f"{found.length_mm:.1f} mm"


def _values(found: Measures, unit: str) -> str:
    inside = found.statistics
    if inside is None or not inside.count:
        return ""
    spread = f"{inside.mean:.0f} ± {inside.sd:.0f} {'HU' if unit == 'HU' else ''}".strip()
    return f"{spread} ({inside.minimum:.0f} to {inside.maximum:.0f})".replace("-", "−")


def _warning(found: Measures) -> str:
    axes = found.recist
    return "" if axes is None or axes.perpendicular else f"axes at {axes.angle_deg:.0f}°, not 90°"
