"""Many boxes searched for in one go: the same answers for the command line and for the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from lesiondash.dashboard.store import Scan, Store
from lesiondash.errors import LesionDashError, SearchError
from lesiondash.images.crops import crop_slices, searchable_hu
from lesiondash.records import Box, Hit, SearchScope, Series
from lesiondash.retrieval.index import check_k
from lesiondash.retrieval.table import Where

AT_ONCE = 32
"""So many crops are embedded together: six times as fast as one by one, and progress is told after each lot."""
OF_HIT = ("rank", "lesion_id", "patient_id", "type", "similarity")
COLUMNS = ("annotation", "scan", "slice", "label", *OF_HIT, "error")


@dataclass(frozen=True)
class Asked:
    """A box on a slice, counted from 1, of a scan, or of one that could not be read, with the reason in its place.

    number: its place in the list, from 1; scan_name and label are what the list calls them.
    """

    number: int
    scan: Scan | LesionDashError
    slice_number: int
    box: Box
    scan_name: str = ""
    label: str = ""


@dataclass(frozen=True, eq=False)
class _Cut:
    """What is kept of a box that is asked for: not its scan, which may be large. crops is None where error says why."""

    named: dict[str, Any]
    crops: np.ndarray | None = None
    query_id: str | None = None
    patient_id: str | None = None
    error: str = ""


def search_boxes(
    store: Store,
    asked: Iterable[Asked],
    top: int,
    scope: SearchScope,
    *,
    where: Where | None = None,
    progress: Callable[[int], object] = lambda done: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Return a row, with the names of COLUMNS, for each box and lesion found, in the order asked for.

    A box that lies on a lesion of the collection does not find it. One that cannot be answered has a single row, with
    no lesion and the reason as its error; in the others error is None. No scan is kept here once its boxes are cut:
    where asked reads them one after another, one at a time is in memory. progress is called with the number of boxes
    done; where stop() turns true, what was answered so far is returned. Raises `SearchError` for a top that the
    index cannot answer, and what is wrong with the encoder.
    """
    check_k(top, len(store.gallery.index))
    rows: list[dict[str, Any]] = []
    coming, done = map(partial(_cut, store), asked), 0
    while lot := list(islice(coming, AT_ONCE)):
        rows += _answered(store, lot, top, scope, where)
        done += len(lot)
        progress(done)
        if stop():
            break
    return rows


def region_of(series: Series, slice_number: int, box: Box) -> Box:
    """Return the part of a box inside its slice; raises for a series, a slice or a box that cannot be searched for."""
    searchable_hu(series)
    if not 1 <= slice_number <= len(series):
        raise SearchError(f"There is no slice {slice_number}; this series has slices 1 to {len(series)}.")
    return box.inside(*series.hu.shape[1:])


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


def _cut(store: Store, item: Asked) -> _Cut:
    named = {"annotation": item.number, "scan": item.scan_name, "slice": item.slice_number, "label": item.label}
    try:
        if isinstance(item.scan, LesionDashError):
            raise item.scan
        series, index = item.scan.series, item.slice_number - 1
        box = region_of(series, item.slice_number, item.box)
        crops = crop_slices(
            searchable_hu(series),
            index,
            box,
            spacing_mm=series.spacing_mm,
            slices=store.encoder.architecture.slices,
        )
        known = store.known_lesion(item.scan, index, box)
        return _Cut(named, crops, known.lesion_id if known else None, item.scan.patient_id)
    except LesionDashError as error:
        return _Cut(named, error=str(error))


def _answered(
    store: Store, lot: Sequence[_Cut], top: int, scope: SearchScope, where: Where | None
) -> list[dict[str, Any]]:
    crops = [one.crops for one in lot if one.crops is not None]
    vectors = iter(store.encoder.embed(np.stack(crops)) if crops else ())
    rows: list[dict[str, Any]] = []
    for one in lot:
        try:
            if one.crops is None:
                raise SearchError(one.error)
            whose = {"query_id": one.query_id, "patient_id": one.patient_id}
            hits = store.gallery.index.search(next(vectors), top, scope, where=where, **whose)
            rows += [_row(one, _of_hit(hit)) for hit in hits]
        except SearchError as error:
            rows.append(_row(one, {"error": str(error)}))
    return rows


def _row(one: _Cut, values: dict[str, Any]) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS), **one.named, **values}


def _of_hit(hit: Hit) -> dict[str, Any]:
    return {name: getattr(hit, name) for name in OF_HIT} | {"similarity": round(hit.similarity, 6)}
