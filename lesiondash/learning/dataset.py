"""What training sees: crops of unlabelled lesions in memory, with the filter's response and patches without lesions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lesiondash.errors import TrainingError
from lesiondash.frangi.response import frangi_filter
from lesiondash.images.collection import collect_stacks
from lesiondash.images.crops import crop_side_mm, slice_offsets
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.images.followups import lesion_numbers
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.augment import MARGIN, MARGIN_PX
from lesiondash.learning.settings import PretrainSettings
from lesiondash.records import UNLABELLED, Box, Lesion

FILTERED_AT_ONCE = 128
BODY_HU = -300
TRIES = 20
PROBE_LESIONS = 256
Crops = npt.NDArray[np.int16]
Responses = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class LabelledCrops:
    """Crops whose lesions have a type: to measure vectors on, or to fine-tune with.

    hu: (n, slices, 96, 96) int16 HU; responses: as of `TrainingCrops`; labels, patients: (n,) int64 from 0.
    """

    hu: Crops
    responses: Responses | None
    labels: npt.NDArray[np.int64]
    patients: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrainingCrops:
    """Crops to learn from, cut with 1.5 × the view's field so that there is room to shift and rotate.

    hu: (n, slices, 96, 96) int16 HU; patients, lesions: (n,) int64 from 0, whose and of which lesion each is;
    responses: (n, slices, 96, 96) float16 of the filter, where the network sees it; background, (m, slices, 96, 96),
    and background_responses: patches without a lesion, further negatives; source: said in the encoder's file. Raises
    `TrainingError` for arrays that do not go together, or fewer than two patients.
    """

    hu: Crops
    patients: npt.NDArray[np.int64]
    lesions: npt.NDArray[np.int64]
    responses: Responses | None = None
    background: Crops | None = None
    background_responses: Responses | None = None
    probe: LabelledCrops | None = None
    source: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name, crops in (("crops", self.hu), ("background", self.background)):
            if crops is None:
                continue
            if crops.ndim != 4 or crops.shape[2:] != (MARGIN_PX, MARGIN_PX) or crops.dtype != np.int16:
                raise TrainingError(
                    f"Training takes int16 {name} (n, slices, {MARGIN_PX}, {MARGIN_PX}) in HU; "
                    f"these are {crops.dtype} {crops.shape}."
                )
        for crops, responses in ((self.hu, self.responses), (self.background, self.background_responses)):
            if responses is not None and (crops is None or responses.shape != crops.shape):
                raise TrainingError(f"Responses {responses.shape} do not go with their crops.")
        if self.patients.shape != (len(self.hu),) or self.lesions.shape != (len(self.hu),):
            raise TrainingError(f"There are {len(self.hu)} crops; give one patient, and one lesion, for each of them.")
        if len(np.unique(self.patients)) < 2:
            raise TrainingError("Training needs lesions of at least two patients; prepare a larger collection.")

    @classmethod
    def of_arrays(
        cls,
        hu: npt.NDArray[np.int16],
        patients: npt.ArrayLike,
        lesions: npt.ArrayLike | None = None,
        *,
        architecture: Architecture | None = None,
        background: npt.NDArray[np.int16] | None = None,
        source: tuple[tuple[str, str], ...] = (),
    ) -> TrainingCrops:
        """Take crops (n, 96, 96) or (n, slices, 96, 96) as they are; patients and lesions may be any labels.

        architecture says whether the filter's response is needed. Without lesions each crop is a lesion of its own.
        """
        crops, extra = (each if each is None or each.ndim != 3 else each[:, None] for each in (hu, background))
        assert crops is not None
        numbers = np.arange(len(crops)) if lesions is None else np.unique(np.asarray(lesions), return_inverse=True)[1]
        whose = np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.int64)
        data = cls(crops, whose, numbers.astype(np.int64), background=extra, source=source)
        if architecture is None or architecture.frangi == "none":
            return data
        return replace(
            data,
            responses=responses_of(crops, architecture),
            background_responses=None if extra is None else responses_of(extra, architecture),
        )

    @cached_property
    def fingerprint(self) -> str:
        """Twelve digits that change with any crop, lesion or patient: what a training resumes on must be the same."""
        digest = hashlib.sha256()
        for array in (self.hu, self.patients, self.lesions, self.responses, self.background):
            if array is not None:
                digest.update(str(array.shape).encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:12]


def training_crops(
    collection: DeepLesion, settings: PretrainSettings, *, progress: Callable[[int, int], None] | None = None
) -> TrainingCrops:
    """Cut what there is to learn from in a collection's training split, as the settings say.

    A lesion's slices are its own and `neighbours` on each side; two views are drawn from any two. A background patch
    without an annotated lesion comes from each key slice, where the settings want any. The probe is of the validation
    split's labelled lesions, up to 256 of them. progress(done, total) counts rounds over the slices. Raises
    `TrainingError` where there is too little to learn from.
    """
    architecture, lesions = settings.architecture, training_lesions(collection)
    known = [item for item in collection.lesions if item.split == "validation" and item.type != UNLABELLED]
    probed = [known[k] for k in np.unique(np.linspace(0, len(known) - 1, min(PROBE_LESIONS, len(known))).astype(int))]
    offsets = range(-settings.neighbours, settings.neighbours + 1)
    total = len(offsets) + 1
    parts = []
    for done, offset in enumerate(offsets, start=1):
        parts.append(_cut(collection, lesions, architecture.slices, offset))
        if progress:
            progress(done, total)
    places = _patches(collection, lesions, architecture.slices) if settings.background else []
    data = TrainingCrops.of_arrays(
        np.concatenate(parts),
        [lesion.patient_id for lesion in lesions] * len(offsets),
        np.tile(_numbers(lesions, settings), len(offsets)),
        architecture=architecture,
        background=_cut(collection, places, architecture.slices) if settings.background else None,
        source=(("collection", collection.root.name), ("split", "train")),
    )
    probe = labelled_crops(collection, probed, architecture) if len(probed) > 1 else None
    if progress:
        progress(total, total)
    return replace(data, probe=probe)


def labelled_crops(collection: DeepLesion, lesions: Sequence[Lesion], architecture: Architecture) -> LabelledCrops:
    """Cut lesions with their types, numbered in alphabetical order, and patients."""
    crops = _cut(collection, lesions, architecture.slices)
    return LabelledCrops(
        crops,
        None if architecture.frangi == "none" else responses_of(crops, architecture),
        np.unique([lesion.type for lesion in lesions], return_inverse=True)[1].astype(np.int64),
        np.unique([lesion.patient_id for lesion in lesions], return_inverse=True)[1].astype(np.int64),
    )


def finetuning_crops(collection: DeepLesion, architecture: Architecture) -> LabelledCrops:
    """Cut every lesion with a type outside of the test split, which is kept to measure on.

    Raises `TrainingError` where there are fewer than two.
    """
    known = [item for item in collection.lesions if item.may_teach]
    if len(known) < 2:
        raise TrainingError(
            f"{collection.root.name} has no lesions with a type outside of its test split to tune with."
        )
    return labelled_crops(collection, known, architecture)


def training_lesions(collection: DeepLesion) -> list[Lesion]:
    """Return the lesions of the training split, labelled or not."""
    return [lesion for lesion in collection.lesions if lesion.split == "train"]


def steps_of_epochs(collection: DeepLesion, settings: PretrainSettings, epochs: int) -> int:
    """Return how many steps show every lesion `epochs` times, the last few of each round left out."""
    count = len(np.unique(_numbers(training_lesions(collection), settings)))
    return max(1, epochs * (count // min(settings.batch, max(1, count))))


def _numbers(lesions: Sequence[Lesion], settings: PretrainSettings) -> npt.NDArray[np.int64]:
    return lesion_numbers(lesions) if settings.follow_ups else np.arange(len(lesions))


def responses_of(crops_hu: Crops, architecture: Architecture) -> Responses:
    """Return the response to crops (n, slices, h, w) in HU, of the architecture's setting: float16, same shape."""
    planes = crops_hu.reshape(-1, *crops_hu.shape[2:])
    responses = np.empty(planes.shape, np.float16)
    for start in range(0, len(planes), FILTERED_AT_ONCE):
        part = slice(start, start + FILTERED_AT_ONCE)
        seen = architecture.filter_window.apply(planes[part])
        responses[part] = frangi_filter(seen, architecture.filter, dtype=np.float32).response
    return responses.reshape(crops_hu.shape)


def _cut(collection: DeepLesion, lesions: Sequence[Lesion], slices: int, offset: int = 0) -> Crops:
    return collect_stacks(collection, lesions, slices, slice_offset=offset, size_px=MARGIN_PX, margin=MARGIN)


def _patches(collection: DeepLesion, lesions: Sequence[Lesion], slices: int) -> list[Lesion]:
    """Return boxes inside of the body on the lesions' key slices, whose crops no annotated lesion reaches into."""
    random = np.random.default_rng(0)
    by_series: dict[str, list[Lesion]] = {}
    for lesion in collection.lesions:
        by_series.setdefault(lesion.series_id, []).append(lesion)
    patches = []
    for (series_id, index), first in {(item.series_id, item.slice_index): item for item in lesions}.items():
        hu = collection.slice_hu(series_id, index)
        near = _around(by_series[series_id], first, slices)
        half_px = crop_side_mm(first.box, first.spacing_mm[1:]) * MARGIN / 2 / np.array(first.spacing_mm[:0:-1])
        rows, columns = np.nonzero(hu > BODY_HU)
        for _ in range(TRIES if len(rows) else 0):
            pick = int(random.integers(len(rows)))
            x, y = float(columns[pick]), float(rows[pick])
            if not any(_overlap(x, y, half_px, box) for box in near):
                width, height = first.box.size
                box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
                patches.append(replace(first, box=box, type=UNLABELLED))
                break
    return patches


def _around(lesions: Sequence[Lesion], patch: Lesion, slices: int) -> list[Box]:
    """Return the boxes of a series' lesions that reach the slices of a patch: an annotation has one, a lesion several.

    A lesion is taken to reach as far along z as half of its longer side.
    """
    spacing_z, *spacing_yx = patch.spacing_mm
    own_mm = max(slice_offsets(slices, spacing_z)) * spacing_z
    boxes = []
    for lesion in lesions:
        width, height = lesion.box.size
        reach_mm = max(width * spacing_yx[1], height * spacing_yx[0]) / 2
        if abs(lesion.slice_index - patch.slice_index) * spacing_z <= reach_mm + own_mm:
            boxes.append(lesion.box)
    return boxes


def _overlap(x: float, y: float, half_px: npt.NDArray[np.float64], box: Box) -> bool:
    """Whether a crop round a pixel, of half a side in (x, y), meets a box."""
    away = np.abs(np.array(box.center) - (x, y))
    return bool((away < half_px + np.array(box.size) / 2).all())
