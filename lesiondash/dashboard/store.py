"""Where the page's arrays live, by id: loaded scans, the gallery and the encoder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lesiondash.annotations.store import AnnotationStore
from lesiondash.errors import CollectionError, LesionDashError
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.images.dicom import DicomReading, Rejected, load_dicom, series_uid_hash
from lesiondash.images.dicom_files import Given
from lesiondash.images.followups import lesion_numbers
from lesiondash.paths import added_dir, annotations_dir
from lesiondash.records import Box, Lesion, Series
from lesiondash.retrieval.added import AddedLesions
from lesiondash.retrieval.gallery import Gallery

if TYPE_CHECKING:
    from lesiondash.learning.encoder import Encoder


LESION_UID = "lesion "
"""Before a lesion's id: the uid of the slices of the collection around it."""


@dataclass(frozen=True)
class Case:
    """A demonstration scan: its DICOM folder, and the series and lesions of the collection that it shows."""

    name: str
    title: str
    folder: Path
    patient_id: str
    series_id: str
    series_uid: str
    first_slice_index: int
    lesions: tuple[Lesion, ...]


@dataclass(frozen=True, eq=False)
class Scan:
    """A loaded series and, where it belongs to the collection, which of its series it is.

    patient_id: the collection's, or that under which lesions of a scan of nobody known are added.
    """

    series: Series
    title: str
    collection_series_id: str | None = None
    first_slice_index: int = 0
    patient_id: str | None = None

    @property
    def uid(self) -> str:
        """The id under which the store keeps the scan."""
        return self.series.uid


class Store:
    """Scans by uid, and the gallery and encoder of one collection."""

    def __init__(self, root: Path, gallery_folder: Path, encoder_path: Path, *, partial: bool = False) -> None:
        self.scans: dict[str, Scan] = {}
        self.annotations = AnnotationStore(annotations_dir())
        self.collection, self.partial = DeepLesion(root, partial=partial), partial
        self._own = Gallery.open(self.collection, gallery_folder)
        self.added = AddedLesions(added_dir(root))
        self.join_added()
        self.cases = _read_cases(root, self.collection)
        self.filtered_folder = gallery_folder / "filtered"
        self._encoder_path = encoder_path
        self._encoder: Encoder | LesionDashError | None = None
        self._warming: threading.Thread | None = None
        self._warming_up = threading.Lock()

    def join_added(self) -> None:
        """Put the added lesions below those of the collection, as they are now."""
        self.gallery = self._own.joined(self.added.of_encoder(self._own.encoder_fingerprint))
        self.by_id = {lesion.lesion_id: lesion for lesion in self.gallery.lesions}
        self.row_of = {lesion.lesion_id: row for row, lesion in enumerate(self.gallery.lesions)}
        self.__dict__.pop("_lesion_numbers", None)

    def images_of(self, lesion: Lesion) -> DeepLesion | AddedLesions:
        """Return what holds the slices of a lesion: the collection, or what was added to it."""
        return self.added if lesion.series_id in self.added else self.collection

    def warm_up(self) -> None:
        """Start loading torch and the encoder behind the page's back, after its first paint."""
        with self._warming_up:  # nobody may join a thread that is not started
            if self._warming is None:
                # Waited for at the end: torch aborts a process that ends amid its work. It takes seconds.
                self._warming = threading.Thread(target=self._load_encoder)
                self._warming.start()

    @property
    def encoder(self) -> Encoder:
        """The encoder, waited for if it is still loading; raises what went wrong with it."""
        self.warm_up()
        assert self._warming is not None
        self._warming.join()
        if isinstance(self._encoder, LesionDashError):
            raise self._encoder
        assert self._encoder is not None
        return self._encoder

    def _load_encoder(self) -> None:
        from lesiondash.learning.encoder import Encoder

        try:
            encoder = Encoder.load(self._encoder_path)
            if encoder.fingerprint != self.gallery.encoder_fingerprint:
                raise CollectionError(
                    "The search index was made by another encoder than the one on disk. Reload the page if it was "
                    "just exchanged; else run `lesiondash prepare` to bring them together."
                )
            encoder.embed(np.zeros((1, 64, 64), np.float32))  # the first pass sets up threads and buffers
            self._encoder = encoder
        except LesionDashError as error:
            self._encoder = error
        except Exception as error:  # a thread's error would vanish: keep it for whoever asks
            self._encoder = LesionDashError(f"The encoder could not be started ({type(error).__name__}).")

    def read(
        self,
        given: Iterable[Given],
        *,
        progress: Callable[[int, int], object] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> DicomReading:
        """Read DICOM files, folders or zips without keeping anything yet; may run in a thread of its own."""
        return load_dicom(given, progress=progress, stop=stop)

    def load(self, given: Iterable[Given]) -> tuple[list[Scan], tuple[Rejected, ...]]:
        """Read and keep DICOM files, folders or zips; returns the new scans and what was rejected, with its reasons."""
        reading = self.read(given)
        return self.add(reading.series), reading.rejected

    def add(self, series_read: Iterable[Series]) -> list[Scan]:
        """Keep series as scans, tied to the collection where they are known to belong to it."""
        scans = []
        for series in series_read:
            scan = self.scan_of(series)
            self.scans[series.uid] = scan
            self.annotations.know(series)
            scans.append(scan)
        return scans

    def scan_of(self, series: Series) -> Scan:
        """Return a series as the scan that `add` keeps, without keeping it."""
        case = next((case for case in self.cases if case.series_uid == series.uid), None)
        before = self.scans.get(series.uid)
        title = f"Scan {len(self.scans) + 1}" if case is None else case.title
        return Scan(
            series=series,
            title=title if before is None else before.title,
            collection_series_id=case.series_id if case else None,
            first_slice_index=case.first_slice_index if case else 0,
            patient_id=case.patient_id if case else _new_patient(series),
        )

    def open_lesion(self, lesion_id: str) -> tuple[Scan, int]:
        """Return the slices of the collection around a lesion as a scan, and the index of its key slice in it."""
        lesion = self.by_id[lesion_id]
        uid = LESION_UID + lesion_id
        if uid not in self.scans:
            images = self.images_of(lesion)
            series = images.series(lesion.series_id, lesion)
            first = lesion.slice_index - _key_offset(images, lesion, len(series))
            series = Series(uid, series.description, series.modality, series.hu, series.spacing_mm, series.positions_mm)
            title = f"Patient {lesion.patient_id} · {lesion.type}"
            self.scans[uid] = Scan(series, title, lesion.series_id, first, lesion.patient_id)
            self.annotations.know(series)
        scan = self.scans[uid]
        return scan, lesion.slice_index - scan.first_slice_index

    def add_lesion(
        self,
        scan: Scan,
        slice_index: int,
        box: Box,
        kind: str,
        *,
        diameters_mm: tuple[float, float] | None = None,
        annotation_id: str = "",
    ) -> Lesion:
        """Add a lesion of a scan to the collection; the next search finds it. A scan of nobody known is a new patient.

        Raises what the encoder, the box or the disk says against it; then nothing was added.
        """
        known = next((item for item in self._own.lesions if item.series_id == scan.collection_series_id), None)
        lesion = self.added.add(
            scan.series,
            slice_index,
            box,
            self.encoder,
            type=kind,
            patient_id=scan.patient_id or _new_patient(scan.series),
            study_id=known.study_id if known else _new_patient(scan.series),
            diameters_mm=diameters_mm,
            origin=(scan.uid, annotation_id),
        ).lesion
        self.join_added()
        return lesion

    def remove_lesion(self, lesion_id: str) -> None:
        """Take an added lesion out of the collection; raises `CollectionError` for any other."""
        self.added.remove(lesion_id)
        self.join_added()

    def follow_ups(self, lesion_id: str) -> list[Lesion]:
        """Return the likely annotations of one lesion in all studies, its own among them, in the order of studies."""
        number = self._lesion_numbers[self.row_of[lesion_id]]
        rows = np.flatnonzero(self._lesion_numbers == number)
        return sorted(
            (self.gallery.lesions[row] for row in rows), key=lambda lesion: (lesion.study_id, lesion.lesion_id)
        )

    @cached_property
    def _lesion_numbers(self) -> np.ndarray:
        return lesion_numbers(self.gallery.lesions)

    def known_lesion(self, scan: Scan, slice_index: int, box: Box) -> Lesion | None:
        """Return the collection's lesion under a box, if the scan is of the collection: it must not find itself."""
        if scan.collection_series_id is None:
            return None
        index = scan.first_slice_index + slice_index
        best, best_overlap = None, 0.1
        for lesion in self.gallery.lesions:
            if lesion.series_id != scan.collection_series_id or abs(lesion.slice_index - index) > 2:
                continue
            overlap = _overlap(lesion.box, box)
            if overlap > best_overlap:
                best, best_overlap = lesion, overlap
        return best


def _new_patient(series: Series) -> str:
    """Return whose a scan of nobody known is: the same at every load, so that lesions added of it are its own."""
    uid = (series.source.study_uid if series.source else "") or series.uid  # not every file names its study
    return f"new-{hashlib.sha256(uid.encode()).hexdigest()[:8]}"


def _key_offset(collection: DeepLesion | AddedLesions, lesion: Lesion, count: int) -> int:
    """How many slices of the lesion's contiguous run lie below its key slice."""
    present = set(collection.slice_indices(lesion.series_id))
    offset = 0
    while offset < count and lesion.slice_index - offset - 1 in present:
        offset += 1
    return offset


def _overlap(a: Box, b: Box) -> float:
    """Intersection over the smaller area: a box drawn generously round a lesion still is that lesion's."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(np.prod(a.size), np.prod(b.size))


def _read_cases(root: Path, collection: DeepLesion) -> tuple[Case, ...]:
    """Return the demonstration cases of a generated collection; a real one has none."""
    path = root / "cases.json"
    if not path.is_file():
        return ()
    by_id = {lesion.lesion_id: lesion for lesion in collection.lesions}
    return tuple(
        Case(
            name=case["case"],
            title=case["title"],
            folder=root / case["folder"],
            patient_id=case["patient_id"],
            series_id=case["series_id"],
            series_uid=series_uid_hash(case["series_instance_uid"]),
            first_slice_index=case["first_slice_index"],
            lesions=tuple(by_id[i] for i in case["lesion_ids"] if i in by_id),
        )
        for case in json.loads(path.read_text(encoding="utf-8"))
    )
