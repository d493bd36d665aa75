"""A collection made searchable: its crops, embeddings and map on disk, opened in a moment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from filelock import Timeout

from lesiondash.errors import CollectionError, LesionDashError, SearchError, TrainingError
from lesiondash.images.collection import collect_crops, collect_stacks
from lesiondash.images.crops import CROP_PX
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.classifier import LesionClassifier
from lesiondash.records import Lesion
from lesiondash.retrieval.added import Added
from lesiondash.retrieval.index import Index, check_encoder
from lesiondash.retrieval.projection import place, project
from lesiondash.retrieval.storage import keep, mapped_array, sync, write_array

if TYPE_CHECKING:
    from lesiondash.learning.encoder import Encoder

FORMAT = 4
IN_PLACE = 3
"""An older program's: its files lie in the folder itself, not in a state of it."""
HEADER, INDEX, CLASSIFIER = "gallery.json", "index", "classifier.safetensors"
CROPS, MAP = "crops.npy", "xy.npy"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Header:
    """Which gallery a folder holds: where its files are, whose vectors, of which lesions, with a classifier or not."""

    place: Path
    encoder: str
    lesion_ids: tuple[str, ...]
    classifier: bool


@dataclass(frozen=True, eq=False)
class Gallery:
    """Everything that a search in one collection needs.

    crops: (n, 64, 64) int16 HU, memory-mapped; vectors: (n, d) float32, unit norm; xy: (n, 2) float32, the map;
    lesions[i], crops[i], vectors[i] and xy[i] belong together. classifier: of types, None where too few are labelled.
    """

    collection: DeepLesion
    lesions: tuple[Lesion, ...]
    index: Index
    crops: npt.NDArray[np.int16]
    vectors: npt.NDArray[np.float32]
    xy: npt.NDArray[np.float32]
    encoder_fingerprint: str
    classifier: LesionClassifier | None = None

    @classmethod
    def build(
        cls, collection: DeepLesion, encoder: Encoder, folder: Path, *, progress: Progress | None = None
    ) -> Gallery:
        """Crop, embed and project a collection, and keep the result in `folder`; an older one there is replaced."""

        def say(step: str, done: int, total: int) -> None:
            if progress:
                progress(step, done, total)

        crops = collect_crops(collection, progress=lambda done, total: say("Cut crops", done, total))
        slices = encoder.architecture.slices
        seen = crops if slices == 1 else collect_stacks(collection, collection.lesions, slices)
        vectors = np.empty((len(crops), encoder.dimensions), dtype=np.float32)
        for start in range(0, len(crops), 128):
            vectors[start : start + 128] = encoder.embed(seen[start : start + 128])
            say("Embed crops", min(start + 128, len(crops)), len(crops))
        say("Draw the map", 0, 1)
        xy = project(vectors)
        say("Draw the map", 1, 1)
        classifier = fit_classifier(vectors, collection.lesions, encoder.fingerprint)
        index = Index(vectors, columns(collection.lesions), encoder=encoder.fingerprint)
        _save(folder, collection, index, crops, xy, classifier)
        return cls.open(collection, folder)

    @classmethod
    def open(cls, collection: DeepLesion, folder: Path) -> Gallery:
        """Open a gallery built from this collection.

        Raises `CollectionError` where there is none, or it is another's or damaged: `prepare` makes it anew.
        """
        ids = tuple(lesion.lesion_id for lesion in collection.lesions)
        while True:
            header = read_header(folder)
            if header is None or header.lesion_ids != ids:
                raise CollectionError(
                    f"The search index of {collection.root.name} is missing or does not fit its table; "
                    "run `lesiondash prepare` for this collection."
                )
            try:
                return cls._opened(collection, header)
            except (LesionDashError, OSError) as error:
                # Between the two readings another process may have made it anew: then the header has moved on.
                if read_header(folder) == header:
                    said = f"{Path(error.filename or '').name} is missing." if isinstance(error, OSError) else error
                    raise CollectionError(
                        f"The search index of {collection.root.name} cannot be used; run `lesiondash prepare` for this "
                        f"collection, which makes it anew. {said}"
                    ) from error

    @classmethod
    def _opened(cls, collection: DeepLesion, header: Header) -> Gallery:
        count = len(collection.lesions)
        index = Index.load(header.place / INDEX, encoder=header.encoder)
        if len(index) != count:
            raise SearchError(f"The index is damaged: it holds {len(index)} lesions, not {count}.")
        classifier = LesionClassifier.load(header.place / CLASSIFIER) if header.classifier else None
        if classifier is not None and classifier.weights.shape[1] != index.dimension:
            raise SearchError(f"{CLASSIFIER} is of vectors of another length.")
        return cls(
            collection=collection,
            lesions=collection.lesions,
            index=index,
            crops=mapped_array(header.place / CROPS, np.int16, (count, CROP_PX, CROP_PX)),
            vectors=index.vectors,
            xy=np.array(mapped_array(header.place / MAP, np.float32, (count, 2))),
            encoder_fingerprint=header.encoder,
            classifier=classifier,
        )

    def joined(self, added: Sequence[Added]) -> Gallery:
        """Return this gallery with added lesions below its own; it itself stays as it is.

        Each lies on the map where a query like it would. Raises `SearchError` for vectors of another encoder.
        """
        if not added:
            return self
        lesions = [one.lesion for one in added]
        for one in added:
            check_encoder(self.index.encoder, one.encoder)
        index = copy(self.index)  # what an index holds is never changed, only exchanged: a shallow copy is its own
        index.add(np.stack([one.vector for one in added]), columns(lesions))
        places = [place(self.index.similarities(one.vector), self.xy) for one in added]
        return replace(
            self,
            lesions=(*self.lesions, *lesions),
            index=index,
            crops=np.concatenate([self.crops, [one.crop for one in added]]),
            vectors=index.vectors,
            xy=np.concatenate([self.xy, np.array(places, np.float32)]),
        )


def fit_classifier(
    vectors: npt.NDArray[np.float32], lesions: Sequence[Lesion], encoder_fingerprint: str
) -> LesionClassifier | None:
    """Fit a classifier of types to the labelled lesions outside of the test split; None where they are too few."""
    rows = [k for k, lesion in enumerate(lesions) if lesion.may_teach]
    try:
        return LesionClassifier.fit(
            vectors[rows],
            [lesions[k].type for k in rows],
            [lesions[k].patient_id for k in rows],
            encoder=encoder_fingerprint,
        )
    except TrainingError:
        return None


def columns(lesions: Sequence[Lesion]) -> dict[str, list[Any]]:
    """Return the table of an index of lesions, as lists; size_mm is the RECIST long axis."""
    # Lists, not a table of pandas: that would cost every open page 40 MB.
    return {
        "lesion_id": [lesion.lesion_id for lesion in lesions],
        "patient_id": [lesion.patient_id for lesion in lesions],
        "study_id": [lesion.study_id for lesion in lesions],
        "type": [lesion.type for lesion in lesions],
        "split": [lesion.split for lesion in lesions],
        "size_mm": [max(lesion.diameters_mm) for lesion in lesions],
    }


def read_header(folder: Path) -> Header | None:
    """Return a gallery's header, or None where there is no gallery that this program reads."""
    try:
        found = json.loads((folder / HEADER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    found = found if isinstance(found, dict) else {}
    state, encoder, ids = found.get("state"), found.get("encoder_fingerprint"), found.get("lesion_ids")
    if not isinstance(encoder, str) or not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        return None
    if found.get("format") == IN_PLACE:
        return Header(folder, encoder, tuple(ids), (folder / CLASSIFIER).exists())
    sound = isinstance(state, str) and Path(state).name == state and state.startswith("state-")
    if found.get("format") != FORMAT or not sound:
        return None
    return Header(folder / str(state), encoder, tuple(ids), found.get("classifier") is True)


def _save(
    folder: Path,
    collection: DeepLesion,
    index: Index,
    crops: npt.NDArray[np.int16],
    xy: npt.NDArray[np.float32],
    classifier: LesionClassifier | None,
) -> None:
    """Write a new state, then point to it: the gallery before is there until then, and what lies beside it stays."""

    def write(fresh: Path) -> dict[str, Any]:
        write_array(fresh / CROPS, crops)
        write_array(fresh / MAP, xy)
        index.save(fresh / INDEX)
        if classifier is not None:
            classifier.save(fresh / CLASSIFIER)
            sync(fresh / CLASSIFIER)
        return {
            "format": FORMAT,
            "encoder_fingerprint": index.encoder,
            "classifier": classifier is not None,
            "lesion_ids": [lesion.lesion_id for lesion in collection.lesions],
        }

    name = collection.root.name
    try:
        keep(folder, HEADER, write)
        _remove_older(folder)
    except Timeout as error:
        raise CollectionError(f"Another process is preparing {name}; try again when it has ended.") from error
    except OSError as error:
        raise CollectionError(
            f"The search index of {name} could not be saved in {folder.name} ({error.strerror}); it is as it was."
        ) from error


def _remove_older(folder: Path) -> None:
    """Remove what older programs left: a gallery in the folder itself, and beside it those that were killed midway."""
    for name in (CROPS, MAP, CLASSIFIER):
        (folder / name).unlink(missing_ok=True)
    for old in (folder / INDEX, *folder.parent.glob(f"{escape(folder.name)}.*.part")):
        shutil.rmtree(old, ignore_errors=True)
