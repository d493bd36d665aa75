"""Search: the nearest lesions of the region, exact, in the scope asked for; steered by what is liked and not."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from lesiondash.dashboard.state import Region, State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Tiles
from lesiondash.errors import SearchError
from lesiondash.images.collection import collect_stacks
from lesiondash.images.crops import crop, crop_slices, searchable_hu
from lesiondash.records import SCOPES, SPLITS, UNLABELLED, Hit, Lesion
from lesiondash.retrieval.chance import random_pair_similarities, share_below
from lesiondash.retrieval.feedback import Feedback, moved, refine
from lesiondash.retrieval.gallery import Gallery
from lesiondash.retrieval.projection import place
from lesiondash.retrieval.rankings import COSINE, Rankings
from lesiondash.retrieval.table import Where
from lesiondash.retrieval.votes import VoteRecord, vote

SCOPE_TITLES = {"all": "All", "same": "Same patient", "cross": "Other patients"}
KS = (9, 15, 25, 45)
TYPES = 3
MAX_SELECTED = 45


class SearchPanel:
    """Searches when the region changes; shows a selection of the map in the same tiles.

    Its actions are `search`, `choose_scope`, `narrow`, `choose_k`, `choose_ranking`, `more`, `less`, `undo`, `reset`,
    `explain`, `open`.
    """

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        gallery = store.gallery
        self._background = random_pair_similarities(gallery.vectors, [i.patient_id for i in gallery.lesions])
        self._rankings = Rankings(gallery.index)
        self.widget = Tiles(
            self.act,
            scope=state.scope,
            filters=_filters(state.where),
            scopes=[{"scope": scope, "title": SCOPE_TITLES[scope]} for scope in SCOPES],
            ks=list(KS),
            known_types=sorted({lesion.type for lesion in gallery.lesions} - {UNLABELLED}),
            known_splits=[name for name in SPLITS if any(lesion.split == name for lesion in gallery.lesions)],
            rankings=list(self._rankings.ways),
            window=[state.window.center_hu, state.window.width_hu],
        )
        self._vector: np.ndarray | None = None
        self._crops: np.ndarray | None = None
        self._feedback = Feedback()
        self._counted: Gallery | None = None
        self._records: dict[int, VoteRecord] = {}
        self._counter: threading.Thread | None = None
        self._voting = threading.Lock()
        self._identity: tuple[str | None, str | None] = (None, None)
        state.observe(self._follow_region, "region")
        state.observe(self._follow_window, "window")
        state.observe(self._follow_selection, "selection")
        state.observe(self._follow_collection, "collection_version")

    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did on the tiles."""
        kind, lesion_id = message["type"], message.get("lesion_id", "")
        actions = {
            "scope": lambda: self.choose_scope(message["scope"]),
            "filter": lambda: self.narrow(message["types"], message["size_mm"], message["splits"]),
            "ranking": lambda: self.choose_ranking(message["ranking"]),
            "k": lambda: self.choose_k(message["k"]),
            "open": lambda: self.open(lesion_id),
            "more": lambda: self.more(lesion_id),
            "less": lambda: self.less(lesion_id),
            "why": lambda: self.explain(lesion_id),
            "undo": self.undo,
            "reset": self.reset,
            "back": self._show_hits,
        }
        actions[kind]()

    @tells_errors
    def search(self, region: Region) -> None:
        """Embed the region and show its nine nearest lesions."""
        scan = self.store.scans[region.series_uid]
        series, volume = scan.series, searchable_hu(scan.series)
        encoder = self.store.encoder
        hu = crop(volume[region.slice_index], region.box, spacing_mm=series.spacing_mm[1:])
        known = self.store.known_lesion(scan, region.slice_index, region.box)
        self._crops = crop_slices(
            volume,
            region.slice_index,
            region.box,
            spacing_mm=series.spacing_mm,
            slices=encoder.architecture.slices,
        )
        self._vector, self._feedback = encoder.embed(self._crops)[0], Feedback()
        self._identity = (known.lesion_id if known else None, scan.patient_id)
        with self.widget.hold_sync():
            self.widget.query = _bytes(hu)
            self.widget.types = self._likely_types()
            self.widget.feedback = {}
            self.widget.timeline = self._timeline(known.lesion_id) if known else []
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
        """Show a result in its own slice, with its box, beside the query; the nine are left as they are."""
        scan, index = self.store.open_lesion(lesion_id)
        self.widget.opened = lesion_id
        self.state.show_beside(scan.uid, index, self.store.by_id[lesion_id].box)

    def _likely_types(self) -> list[list[Any]]:
        """Return the most likely types of the query, those above a tenth, with their probabilities."""
        classifier = self.store.gallery.classifier
        if classifier is None or self._vector is None:
            return []
        found = sorted(
            zip(classifier.probabilities(self._vector).tolist(), classifier.types, strict=True), reverse=True
        )
        return [[name, round(share, 4)] for share, name in found[:TYPES] if share > 0.1]

    @tells_errors
    def narrow(self, types: list[str] | None, size_mm: list[float | None], splits: list[str] | None = None) -> None:
        """Search again among lesions of some types, sizes, (smallest, largest) in mm, and splits; None allows any."""
        low, high = size_mm
        limits = None if low is None and high is None else (low or 0.0, np.inf if high is None else high)
        self.state.where = Where(types=types, size_mm=limits, splits=splits)
        self.widget.filters = _filters(self.state.where)
        if self._vector is not None:
            self._rank()

    @tells_errors
    def choose_k(self, k: int) -> None:
        """Show another number of tiles."""
        if k not in KS:
            raise SearchError(f"There are no {k} tiles; choose one of {', '.join(map(str, KS))}.")
        self.widget.k = k
        if self._vector is not None:
            self._rank()

    @tells_errors
    def choose_ranking(self, ranking: str) -> None:
        """Rank in another way, to compare; raises `SearchError` for one that is not there."""
        if ranking not in self._rankings.ways:
            raise SearchError(f"There is no ranking {ranking!r}; choose one of {', '.join(self._rankings.ways)}.")
        self.widget.ranking = ranking
        if self._vector is not None:
            self._rank()

    @tells_errors
    def more(self, lesion_id: str) -> None:
        """Search again for more like a result as well."""
        self._steer(self._feedback.more(lesion_id))

    @tells_errors
    def less(self, lesion_id: str) -> None:
        """Search again for less like a result, and without it."""
        self._steer(self._feedback.less(lesion_id))

    @tells_errors
    def undo(self) -> None:
        """Take the last like or dislike back."""
        self._steer(self._feedback.undo())

    @tells_errors
    def reset(self) -> None:
        """Search by the box alone again."""
        self._steer(Feedback())

    def _steer(self, feedback: Feedback) -> None:
        if self._vector is None:
            raise SearchError("Draw a box first; then say which results should count more or less.")
        before = [hit.lesion_id for hit in self.state.hits]
        self._feedback = feedback
        self._rank()
        new, shifted = moved(before, [hit.lesion_id for hit in self.state.hits])
        counts = f"{len(feedback.liked)} wanted, {len(feedback.disliked)} not: " if feedback else ""
        said = f"{counts}{new} of {len(self.state.hits)} new, {shifted} at another rank."
        self.widget.feedback = {
            "liked": feedback.liked,
            "disliked": feedback.disliked,
            "said": said if feedback else "",
        }

    @tells_errors
    def explain(self, lesion_id: str) -> None:
        """Show where in both crops a result's similarity sits; the same one again hides it."""
        from lesiondash.learning.agreement import agreement

        if self._crops is None or self.widget.why.get("lesion_id") == lesion_id:
            self.widget.why = {}
            return
        encoder = self.store.encoder
        lesion = self.store.by_id[lesion_id]
        other = collect_stacks(self.store.images_of(lesion), [lesion], encoder.architecture.slices)[0]
        found = agreement(encoder, self._crops, other)
        self.widget.why = {
            "lesion_id": lesion_id,
            "similarity": found.similarity,
            "first": found.first.tolist(),
            "second": found.second.tolist(),
        }

    def _timeline(self, lesion_id: str) -> list[dict[str, Any]]:
        """Return the likely annotations of one lesion in all studies, in their order; none where it has but one."""
        again = self.store.follow_ups(lesion_id)
        return [
            {
                "lesion_id": lesion.lesion_id,
                "text": f"study {_study(lesion)}: {max(lesion.diameters_mm):.0f} mm",
                "now": lesion.lesion_id == lesion_id,
            }
            for lesion in again
            if len(again) > 1
        ]

    def _query(self) -> np.ndarray:
        """Return the vector that is searched for: the box's, moved by what is liked and not."""
        vectors, row_of = self.store.gallery.vectors, self.store.row_of
        sides = ([row_of[each] for each in ids] for ids in (self._feedback.liked, self._feedback.disliked))
        return refine(self._vector, *(vectors[rows] for rows in sides)) if self._feedback else self._vector

    def _rank(self) -> None:
        query_id, patient_id = self._identity
        index, query = self.store.gallery.index, self._query()
        among: dict[str, Any] = {
            "query_id": query_id,
            "patient_id": patient_id,
            "where": self.state.where,
            "exclude": self._feedback.disliked,  # what is not wanted does not come back
        }
        self.state.query_xy = place(index.similarities(query), self.store.gallery.xy)
        ranking, k = self.widget.ranking, min(self.widget.k, len(index))
        try:
            hits = tuple(self._rankings.search(ranking, query, k, self.state.scope, **among))
            said = f"{len(index.candidates(self.state.scope, **among)):,} candidates"
            if ranking != COSINE:
                plain = [hit.lesion_id for hit in index.search(query, k, self.state.scope, **among)]
                new, shifted = moved(plain, [hit.lesion_id for hit in hits])
                said += f"; by {ranking} {new} of {len(hits)} are new, {shifted} at another rank than by cosine"
            self.widget.status = said
        except SearchError as error:
            hits, self.widget.status = (), str(error)
        self.state.hits = hits
        self._show_hits()

    def wait(self) -> None:
        """Wait until the votes of known lesions are counted."""
        if self._counter is not None:
            self._counter.join()

    def _say_vote(self) -> None:
        with self._voting:
            self.widget.vote = self._vote_said()

    def _vote_said(self) -> str:
        """Return what the tiles' types amount to and, in a search as those counted, how often as many were right.

        Nothing of a lasso's tiles, which no search found, nor of a type that was asked for.
        """
        hits, where = self.state.hits, self.state.where
        told = None
        if not self.widget.title and where.types is None:
            plain = where.size_mm is None and where.splits is None and not self._feedback
            plain = plain and self.state.scope == "cross" and self.widget.ranking == COSINE
            told = vote([hit.type for hit in hits], self._record(len(hits)) if plain and hits else None)
        if told is None:
            return ""
        right = "" if told.right is None else f" As many were right in {100 * told.right:.0f} % of known cases."
        return f"{told.count} of {told.of} are {told.type}.{right}"

    def _record(self, k: int) -> VoteRecord | None:
        """Return the record of k neighbours, None until it is counted: that takes seconds in a large collection."""
        gallery = self.store.gallery
        if self._counted is not gallery:
            self._counted, self._records = gallery, {}
            self._counter = threading.Thread(target=self._count, args=(gallery,), daemon=True)
            self._counter.start()
        return self._records.get(k)

    @tells_errors
    def _count(self, gallery: Gallery) -> None:
        records = VoteRecord.of(gallery.index, gallery.lesions, KS)
        with self._voting:
            if self._counted is gallery:  # else lesions came or went meanwhile, and it is counted anew
                self._records = records
                self.widget.vote = self._vote_said()

    def _show_hits(self) -> None:
        self.widget.title = ""
        self._fill(self.state.hits)
        self._say_vote()

    def _fill(self, hits: tuple[Hit, ...]) -> None:
        gallery = self.store.gallery
        with self.widget.hold_sync():
            self.widget.opened = ""
            self.widget.why = {}
            self.widget.crops = b"".join(_bytes(gallery.crops[hit.row]) for hit in hits)
            self.widget.hits = [self._describe(hit, hits[:place]) for place, hit in enumerate(hits)]

    def _describe(self, hit: Hit, above_it: tuple[Hit, ...]) -> dict[str, Any]:
        lesion = self.store.by_id[hit.lesion_id]
        again = {other.lesion_id for other in self.store.follow_ups(hit.lesion_id)}
        above = share_below(hit.similarity, self._background)
        return {
            "rank": hit.rank,
            "lesion_id": hit.lesion_id,
            "patient_id": hit.patient_id,
            "study": _study(lesion),
            "type": hit.type,
            "size_mm": round(max(lesion.diameters_mm), 1),
            "similarity": None if np.isnan(hit.similarity) else round(hit.similarity, 5),
            "top_percent": round(100 * (1 - above), 2),
            "same_as": next((other.rank for other in above_it if other.lesion_id in again), None),
        }

    def _follow_region(self, change: Any) -> None:
        if change.new is not None and change.new.search:
            self.search(change.new)

    @tells_errors
    def _follow_collection(self, _: Any) -> None:
        """Search again when lesions were added or removed; a steering by one that is gone ends."""
        self._rankings = Rankings(self.store.gallery.index)
        self.state.hits = ()  # their rows are of the collection as it was
        if not set(self._feedback.liked) | set(self._feedback.disliked) <= set(self.store.row_of):
            self._feedback, self.widget.feedback = Feedback(), {}
        if self._vector is not None:
            self._rank()

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
        self._say_vote()


def _bytes(hu: np.ndarray) -> bytes:
    return np.clip(np.rint(hu), -32768, 32767).astype("<i2").tobytes()


def _study(lesion: Lesion) -> str:
    """Return a study as the tiles name it: its number, where DeepLesion's ids have one."""
    return lesion.study_id.removeprefix(f"{lesion.patient_id}_").lstrip("0") or lesion.study_id


def _filters(where: Where) -> dict[str, Any]:
    """Return what the tiles' controls show of a restriction; no largest size is None there."""
    low, high = where.size_mm or (None, None)
    size_mm = [low, None if high is None or np.isinf(high) else high]
    return {"types": where.types, "size_mm": size_mm, "splits": where.splits}
