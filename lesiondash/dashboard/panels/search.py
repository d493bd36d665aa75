"""Search: the nine nearest lesions of the region, exact, in the scope asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from lesiondash.dashboard.state import Region, State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Tiles
from lesiondash.errors import SearchError
from lesiondash.images.crops import crop, crop_slices
from lesiondash.records import SCOPES, Hit
from lesiondash.retrieval.chance import random_pair_similarities, share_below
from lesiondash.retrieval.projection import place

SCOPE_TITLES = {"all": "All", "same": "Same patient", "cross": "Other patients"}
TILES = 9
TYPES = 3
MAX_SELECTED = 45


class SearchPanel:
    """Searches when the region changes; shows a selection of the map in the same tiles."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        gallery = store.gallery
        self._background = random_pair_similarities(gallery.vectors, [i.patient_id for i in gallery.lesions])
        self.widget = Tiles(
            self.act,
            scope=state.scope,
            scopes=[{"scope": scope, "title": SCOPE_TITLES[scope]} for scope in SCOPES],
            window=[state.window.center_hu, state.window.width_hu],
        )
        self._vector: np.ndarray | None = None
        self._identity: tuple[str | None, str | None] = (None, None)
        state.observe(self._follow_region, "region")
        state.observe(self._follow_window, "window")
        state.observe(self._follow_selection, "selection")

    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did on the tiles: another scope, or a tile opened."""
        if message["type"] == "scope":
            self.choose_scope(message["scope"])
        elif message["type"] == "open":
            self.open(message["lesion_id"])
        elif message["type"] == "back":
            self._show_hits()

    @tells_errors
    def search(self, region: Region) -> None:
        """Embed the region and show its nine nearest lesions."""
        scan = self.store.scans[region.series_uid]
        series, encoder = scan.series, self.store.encoder
        hu = crop(series.hu[region.slice_index], region.box, spacing_mm=series.spacing_mm[1:])
        known = self.store.known_lesion(scan, region.slice_index, region.box)
        self._vector = encoder.embed(
            crop_slices(
                series.hu,
                region.slice_index,
                region.box,
                spacing_mm=series.spacing_mm,
                slices=encoder.architecture.slices,
            )
        )[0]
        self._identity = (known.lesion_id if known else None, scan.patient_id)
        with self.widget.hold_sync():
            self.widget.query = _bytes(hu)
            self.widget.types = self._likely_types()
        self._rank()

    @tells_errors
    def choose_scope(self, scope: str) -> None:
        """Search again among all lesions, the same patient's, or other patients'."""
        if scope not in SCOPES:
            raise SearchError(f"There is no scope {scope!r}; choose all, same or cross.")
        self.state.scope = scope
        self.widget.scope = scope
        if self._vector is not None:
            self._rank()

    @tells_errors
    def open(self, lesion_id: str) -> None:
        """Show a result in its own slice, with its box, the nine left as they are."""
        scan, index = self.store.open_lesion(lesion_id)
        self.widget.opened = lesion_id
        self.state.show(scan.uid, index, self.store.by_id[lesion_id].box, search=False)

    def _likely_types(self) -> list[list[Any]]:
        """Return the most likely types of the query, those above a tenth, with their probabilities."""
        classifier = self.store.gallery.classifier
        if classifier is None or self._vector is None:
            return []
        found = sorted(
            zip(classifier.probabilities(self._vector).tolist(), classifier.types, strict=True), reverse=True
        )
        return [[name, round(share, 4)] for share, name in found[:TYPES] if share > 0.1]

    def _rank(self) -> None:
        assert self._vector is not None
        query_id, patient_id = self._identity
        index, scope = self.store.gallery.index, self.state.scope
        similarities = index.similarities(self._vector)
        self.state.query_xy = place(similarities, self.store.gallery.xy)
        try:
            hits = index.search(self._vector, TILES, scope, query_id=query_id, patient_id=patient_id)
            count = len(index.candidates(scope, query_id=query_id, patient_id=patient_id))
        except SearchError as error:
            if scope != "same":
                raise
            self.widget.status = str(error)
            self.state.hits = ()
            self._fill(())
            return
        self.state.hits = tuple(hits)
        self.widget.status = f"{count:,} candidates"
        self._show_hits()

    def _show_hits(self) -> None:
        self.widget.title = ""
        self._fill(self.state.hits)

    def _fill(self, hits: tuple[Hit, ...]) -> None:
        gallery = self.store.gallery
        with self.widget.hold_sync():
            self.widget.opened = ""
            self.widget.crops = b"".join(_bytes(gallery.crops[hit.row]) for hit in hits)
            self.widget.hits = [self._describe(hit) for hit in hits]

    def _describe(self, hit: Hit) -> dict[str, Any]:
        lesion = self.store.by_id[hit.lesion_id]
        above = share_below(hit.similarity, self._background)
        return {
            "rank": hit.rank,
            "lesion_id": hit.lesion_id,
            "patient_id": hit.patient_id,
            "type": hit.type,
            "size_mm": round(max(lesion.diameters_mm), 1),
            "similarity": None if np.isnan(hit.similarity) else round(hit.similarity, 5),
            "top_percent": round(100 * (1 - above), 2),
        }

    def _follow_region(self, change: Any) -> None:
        if change.new is not None and change.new.search:
            self.search(change.new)

    def _follow_window(self, _: Any) -> None:
        self.widget.window = [self.state.window.center_hu, self.state.window.width_hu]

    @tells_errors
    def _follow_selection(self, _: Any) -> None:
        """Show the lasso's lesions as tiles, nearest to the query first where there is one."""
        if not self.state.selection:
            self._show_hits()
            return
        similarities = None if self._vector is None else self.store.gallery.index.similarities(self._vector)
        rows = [self.store.row_of[lesion_id] for lesion_id in self.state.selection]
        if similarities is not None:
            rows.sort(key=lambda row: -similarities[row])
        chosen = tuple(
            Hit(
                rank,
                row,
                self.store.gallery.lesions[row].lesion_id,
                self.store.gallery.lesions[row].patient_id,
                self.store.gallery.lesions[row].type,
                float("nan") if similarities is None else float(similarities[row]),
            )
            for rank, row in enumerate(rows[:MAX_SELECTED], start=1)
        )
        shown = "" if len(rows) <= MAX_SELECTED else f", the first {MAX_SELECTED} shown"
        self.widget.title = f"{len(rows):,} selected on the map{shown}"
        self._fill(chosen)


def _bytes(hu: np.ndarray) -> bytes:
    return np.clip(np.rint(hu), -32768, 32767).astype("<i2").tobytes()
