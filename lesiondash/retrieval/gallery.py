"""A collection made searchable: its crops, embeddings and map on disk, opened in a moment."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import CollectionError, TrainingError
from lesiondash.images.collection import collect_crops, collect_stacks
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.classifier import LesionClassifier
from lesiondash.records import UNLABELLED, Lesion
from lesiondash.retrieval.added import Added
from lesiondash.retrieval.index import Index, check_encoder
from lesiondash.retrieval.projection import place, project

if TYPE_CHECKING:
    from lesiondash.learning.encoder import Encoder

FORMAT = 3
INDEX = "index"
CLASSIFIER = "classifier.safetensors"
Progress = Callable[[str, int, int], None]


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
        """Open a gallery built from this collection; raises `CollectionError` when there is none or it is another's."""
        header = read_header(folder)
        ids = [lesion.lesion_id for lesion in collection.lesions]
        if header is None or header["lesion_ids"] != ids:
            raise CollectionError(
                f"The search index of {collection.root.name} is missing or does not fit its table; "
                "run `lesiondash prepare` for this collection."
            )
        index = Index.load(folder / INDEX, encoder=str(header["encoder_fingerprint"]))
        return cls(
            collection=collection,
            lesions=collection.lesions,
            index=index,
            crops=np.load(folder / "crops.npy", mmap_mode="r"),
            vectors=index.vectors,
            xy=np.load(folder / "xy.npy"),
            encoder_fingerprint=str(header["encoder_fingerprint"]),
            classifier=LesionClassifier.load(folder / CLASSIFIER) if (folder / CLASSIFIER).is_file() else None,
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
    rows = [k for k, lesion in enumerate(lesions) if lesion.type != UNLABELLED and lesion.split != "test"]
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


def read_header(folder: Path) -> dict[str, Any] | None:
    """Return a gallery's header, or None where there is no complete gallery of this version."""
    try:
        header = json.loads((folder / "gallery.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) and header.get("format") == FORMAT else None


def _save(
    folder: Path,
    collection: DeepLesion,
    index: Index,
    crops: npt.NDArray[np.int16],
    xy: npt.NDArray[np.float32],
    classifier: LesionClassifier | None,
) -> None:
    """Write beside the folder, then swap: a gallery is whole or not there."""
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    fresh.mkdir(parents=True)
    try:
        for name, array in (("crops", crops), ("xy", xy)):
            np.save(fresh / f"{name}.npy", array)
        index.save(fresh / INDEX)
        if classifier is not None:
            classifier.save(fresh / CLASSIFIER)
        header = {
            "format": FORMAT,
            "encoder_fingerprint": index.encoder,
            "lesion_ids": [lesion.lesion_id for lesion in collection.lesions],
        }
        (fresh / "gallery.json").write_text(json.dumps(header), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
