"""Many boxes searched for in one go: the same answers for the command line and for the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesiondash.dashboard.store import Scan, Store
from lesiondash.errors import SearchError
from lesiondash.images.crops import crop_slices, searchable_hu
from lesiondash.records import Box, SearchScope

AT_ONCE = 32
"""So many crops are embedded together: six times as fast as one by one, and progress is told after each lot."""
COLUMNS = ("annotation", "scan", "slice", "label", "rank", "lesion_id", "patient_id", "type", "similarity")


@dataclass(frozen=True)
class Asked:
    """A box on a slice, counted from 1, of a loaded scan; scan_name and label are what a list calls them."""

    scan: Scan
    slice_number: int
    box: Box
    scan_name: str = ""
    label: str = ""


def search_boxes(
    store: Store,
    asked: Sequence[Asked],
    top: int,
    scope: SearchScope,
    *,
    progress: Callable[[int, int], object] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Return a row, with the names of COLUMNS, for each box and lesion found, in the order asked for.

    A box that lies on a lesion of the collection does not find it. progress is called with (done, total); where stop()
    turns true, what was answered so far is returned. Raises `SearchError` as `Index.search`, with the box's number.
    """
    rows: list[dict[str, Any]] = []
    for start in range(0, len(asked), AT_ONCE):
        lot = asked[start : start + AT_ONCE]
        vectors = store.encoder.embed(np.stack([_crops(store, item) for item in lot]))
        for number, (item, vector) in enumerate(zip(lot, vectors, strict=True), start=start + 1):
            named = {
                "annotation": number,
                "scan": item.scan_name,
                "slice": item.slice_number,
                "label": item.label,
            }
            try:
                rows += [{**named, **hit} for hit in _found(store, item, vector, top, scope)]
            except SearchError as error:
                where = f"Box {number} of {len(asked)}, slice {item.slice_number}: " if len(asked) > 1 else ""
                raise SearchError(f"{where}{error}") from error
        progress(min(start + AT_ONCE, len(asked)), len(asked))
        if stop():
            break
    return rows


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a JSON list."""
    return json.dumps(list(rows), indent=2)


def as_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """Return rows as a table with a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _crops(store: Store, item: Asked) -> np.ndarray:
    series = item.scan.series
    return crop_slices(
        searchable_hu(series),
        item.slice_number - 1,
        item.box,
        spacing_mm=series.spacing_mm,
        slices=store.encoder.architecture.slices,
    )


def _found(store: Store, item: Asked, vector: np.ndarray, top: int, scope: SearchScope) -> list[dict[str, Any]]:
    known = store.known_lesion(item.scan, item.slice_number - 1, item.box)
    hits = store.gallery.index.search(
        vector, top, scope, query_id=known.lesion_id if known else None, patient_id=item.scan.patient_id
    )
    return [
        {
            "rank": hit.rank,
            "lesion_id": hit.lesion_id,
            "patient_id": hit.patient_id,
            "type": hit.type,
            "similarity": round(hit.similarity, 6),
        }
        for hit in hits
    ]
