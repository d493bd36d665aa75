"""Lesions that people added to a collection: each in a folder of its own, joined to the gallery when it is opened."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from lesiondash.errors import CollectionError
from lesiondash.images.crops import CROP_PX, crop, crop_slices
from lesiondash.records import Box, Lesion, Series

if TYPE_CHECKING:
    from lesiondash.learning.encoder import Encoder

FORMAT = 1
SPLIT = "added"
REACH_MM = 15.0
"""How far above and below the lesion's slice its neighbours are kept, at most `REACH_SLICES` each way."""
REACH_SLICES = 15
_DAMAGED = (OSError, ValueError, KeyError, EOFError, BadZipFile)
_NAME = re.compile(r"added-(\d{5})-[0-9a-f]{8}")


@dataclass(frozen=True, eq=False)
class Added:
    """An added lesion with what a gallery needs of it.

    crop: (64, 64) int16 HU; vector: (d,) float32, unit norm, of the encoder with that fingerprint. origin: the series
    uid and the annotation id that it was made of.
    """

    lesion: Lesion
    crop: npt.NDArray[np.int16]
    vector: npt.NDArray[np.float32]
    encoder: str
    first_slice_index: int
    origin: tuple[str, str]


class AddedLesions:
    """The added lesions of one collection, in the order in which they were added; also reads their slices.

    A lesion is a folder with `lesion.json`, `slices.npz` (the slices around it), `crop.npy` and `embedding.npz`; it is
    there whole or not at all. Folders that cannot be read are left out, and named in `problems`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self._by_id: dict[str, Added] = {}
        for path in sorted(folder.glob("added-*")) if folder.is_dir() else ():
            try:
                self._by_id[path.name] = _read(path)
            except (*_DAMAGED, TypeError):
                self.problems.append(f"The added lesion {path.name} is damaged and left out; delete its folder.")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_id)

    def all(self) -> tuple[Added, ...]:
        """Return them in the order in which they were added."""
        return tuple(self._by_id.values())

    def of_encoder(self, fingerprint: str) -> tuple[Added, ...]:
        """Return those whose vectors an encoder made."""
        return tuple(one for one in self._by_id.values() if one.encoder == fingerprint)

    def __contains__(self, lesion_id: object) -> bool:
        """Whether a lesion, or a series, is one of them."""
        return lesion_id in self._by_id

    def made_of(self, series_uid: str, annotation_id: str) -> str | None:
        """Return the id of the lesion that was made of an annotation, None where it was not added."""
        found = (each for each, one in self._by_id.items() if one.origin == (series_uid, annotation_id))
        return next(found, None)

    def add(
        self,
        series: Series,
        slice_index: int,
        box: Box,
        encoder: Encoder,
        *,
        type: str,
        patient_id: str,
        study_id: str,
        diameters_mm: tuple[float, float] | None = None,
        origin: tuple[str, str] = ("", ""),
    ) -> Added:
        """Keep a lesion of a series; diameters_mm default to the sides of its box.

        Raises `BoxError` for a box outside of the image, `CollectionError` where the disk refuses.
        """
        box = box.inside(*series.hu.shape[1:])
        low, high = _around(series, slice_index)
        width_mm, height_mm = box.size[0] * series.spacing_mm[2], box.size[1] * series.spacing_mm[1]
        number = max((int(name[6:11]) for name in self._by_id), default=0) + 1
        lesion_id = f"added-{number:05d}-{uuid.uuid4().hex[:8]}"
        lesion = Lesion(
            lesion_id=lesion_id,
            patient_id=patient_id,
            study_id=study_id,
            series_id=lesion_id,
            slice_index=slice_index,
            box=box,
            type=type,
            split=SPLIT,
            diameters_mm=diameters_mm or (max(width_mm, height_mm), min(width_mm, height_mm)),
            spacing_mm=series.spacing_mm,
            normalized_location=(math.nan, math.nan, math.nan),
            slice_range=(low, high - 1),
            image_path=self.folder / lesion_id / "slices.npz",
        )
        stack = _int16(series.hu[low:high])
        small = _int16(crop(stack[slice_index - low], box, spacing_mm=series.spacing_mm[1:]))
        vector = _embed(encoder, stack, slice_index - low, lesion)
        added = Added(lesion, small, vector, encoder.fingerprint, low, origin)
        try:
            _write(added, stack, self.folder)
        except OSError as error:
            raise CollectionError(
                f"The lesion could not be kept on disk ({error.strerror}); make room there."
            ) from error
        self._by_id[lesion_id] = added
        return added

    def remove(self, lesion_id: str) -> None:
        """Take a lesion out, from the disk as well; raises `CollectionError` for one that is not there."""
        if lesion_id not in self._by_id:
            raise CollectionError("This lesion was not added, or is removed already.")
        gone = self.folder / f".gone-{uuid.uuid4().hex[:8]}"
        try:
            (self.folder / lesion_id).rename(gone)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise CollectionError(f"The lesion could not be removed from disk ({error.strerror}).") from error
        shutil.rmtree(gone, ignore_errors=True)
        del self._by_id[lesion_id]

    def embed_anew(self, encoder: Encoder) -> int:
        """Embed those of another encoder by this one; returns how many there were."""
        stale = [one for one in self._by_id.values() if one.encoder != encoder.fingerprint]
        for one in stale:
            stack = self._stack(one.lesion.lesion_id)
            vector = _embed(encoder, stack, one.lesion.slice_index - one.first_slice_index, one.lesion)
            new = replace(one, vector=vector, encoder=encoder.fingerprint)
            _write_embedding(self.folder / one.lesion.lesion_id, new)
            self._by_id[one.lesion.lesion_id] = new
        return len(stale)

    def slice_indices(self, series_id: str) -> tuple[int, ...]:
        """Return the kept slices of a lesion's series, by their index there."""
        low, high = self._by_id[series_id].lesion.slice_range
        return tuple(range(low, high + 1))

    def slice_hu(self, series_id: str, slice_index: int) -> npt.NDArray[np.int16]:
        """Return one of these slices, (y, x) int16."""
        return np.asarray(self._stack(series_id)[slice_index - self._by_id[series_id].first_slice_index])

    def series(self, series_id: str, around: Lesion | None = None) -> Series:
        """Return these slices as a series."""
        one = around or self._by_id[series_id].lesion
        stack, z_mm = self._stack(series_id), one.spacing_mm[0]
        positions = tuple(index * z_mm for index in self.slice_indices(series_id))
        description = f"CT, {len(stack)} slices round an added lesion"
        return Series(series_id, description, "CT", stack, one.spacing_mm, positions)

    def _stack(self, lesion_id: str) -> npt.NDArray[np.int16]:
        try:
            with np.load(self.folder / lesion_id / "slices.npz", allow_pickle=False) as kept:
                return np.asarray(kept["hu"], np.int16)
        except _DAMAGED:
            raise CollectionError("The slices of this added lesion are gone or damaged; remove it.") from None


def _around(series: Series, slice_index: int) -> tuple[int, int]:
    z_mm = series.spacing_mm[0]
    reach = min(REACH_SLICES, math.ceil(REACH_MM / z_mm)) if z_mm > 0 else REACH_SLICES
    return max(0, slice_index - reach), min(len(series), slice_index + reach + 1)


def _embed(encoder: Encoder, stack: npt.NDArray[np.int16], index: int, lesion: Lesion) -> npt.NDArray[np.float32]:
    slices = encoder.architecture.slices
    seen = crop_slices(stack, index, lesion.box, spacing_mm=lesion.spacing_mm, slices=slices)
    return np.asarray(encoder.embed(seen)[0], np.float32)


def _int16(hu: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    return hu if hu.dtype == np.int16 else np.clip(np.rint(hu), -32768, 32767).astype(np.int16)


def _write(added: Added, stack: npt.NDArray[np.int16], folder: Path) -> None:
    """Write beside its place, then move there."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".part-{uuid.uuid4().hex[:8]}"
    fresh.mkdir()
    try:
        _write_file(fresh / "slices.npz", lambda file: np.savez_compressed(file, hu=stack))
        _write_file(fresh / "crop.npy", lambda file: np.save(file, added.crop, allow_pickle=False))
        _write_embedding(fresh, added)
        record = asdict(added.lesion)
        for name in ("lesion_id", "series_id", "image_path", "normalized_location"):
            del record[name]
        header = {"format": FORMAT, "lesion": record, "origin": added.origin}
        _write_file(fresh / "lesion.json", lambda file: file.write(json.dumps(header, indent=1).encode()))
        fresh.rename(folder / added.lesion.lesion_id)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write_embedding(folder: Path, added: Added) -> None:
    part = folder / f".embedding-{uuid.uuid4().hex[:8]}"
    _write_file(part, lambda file: np.savez(file, vector=added.vector, encoder=np.array(added.encoder)))
    os.replace(part, folder / "embedding.npz")


def _write_file(path: Path, write: Callable[[Any], object]) -> None:
    with path.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> Added:
    """Read one lesion but for its slices; raises what a damaged one brings."""
    header = json.loads((path / "lesion.json").read_text(encoding="utf-8"))
    if header["format"] != FORMAT or not _NAME.fullmatch(path.name) or not (path / "slices.npz").is_file():
        raise ValueError
    record: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in header["lesion"].items()
    }
    lesion = Lesion(
        **record
        | {
            "lesion_id": path.name,
            "series_id": path.name,
            "image_path": path / "slices.npz",
            "normalized_location": (math.nan, math.nan, math.nan),
            "box": Box(**record["box"]),
        }
    )
    with np.load(path / "embedding.npz", allow_pickle=False) as kept:
        vector, encoder = np.asarray(kept["vector"], np.float32), str(kept["encoder"])
    small = np.load(path / "crop.npy", allow_pickle=False)
    if small.shape != (CROP_PX, CROP_PX) or vector.ndim != 1 or not np.isclose(np.linalg.norm(vector), 1, atol=1e-3):
        raise ValueError
    series_uid, annotation_id = header["origin"]
    return Added(lesion, small, vector, encoder, lesion.slice_range[0], (series_uid, annotation_id))
