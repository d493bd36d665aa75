"""The nouns of the project: small immutable records that every other folder takes and returns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lesiondash.errors import BoxError

LESION_TYPES: tuple[str, ...] = (
    "bone",
    "abdomen",
    "mediastinum",
    "liver",
    "lung",
    "kidney",
    "soft tissue",
    "pelvis",
)
"""DeepLesion's coarse lesion types; `LESION_TYPES[code - 1]` for codes 1 to 8 (Yan et al. 2018)."""
UNLABELLED = "unlabelled"
SPLITS: tuple[str, ...] = ("train", "validation", "test")
"""DeepLesion's official split codes 1, 2, 3 in order."""

SearchScope = Literal["all", "same", "cross"]
SCOPES: tuple[SearchScope, ...] = ("all", "same", "cross")

Formula = Literal["promotion", "strict", "objectness", "skimage"]

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Window:
    """A CT display window, in HU."""

    center_hu: float
    width_hu: float

    @property
    def low_hu(self) -> float:
        """HU shown as black."""
        return self.center_hu - self.width_hu / 2

    @property
    def high_hu(self) -> float:
        """HU shown as white."""
        return self.center_hu + self.width_hu / 2

    def apply(self, hu: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Map HU linearly to [0, 1], clipped; same shape, float32."""
        values = (np.asarray(hu, dtype=np.float32) - self.low_hu) / self.width_hu
        return np.asarray(np.clip(values, 0, 1), dtype=np.float32)


WINDOWS: dict[str, Window] = {
    "lung": Window(-600, 1500),
    "soft tissue": Window(40, 400),
    "liver": Window(60, 150),
    "bone": Window(400, 1800),
    "brain": Window(40, 80),
}


@dataclass(frozen=True)
class Box:
    """A rectangle on a slice, in pixels: x to the right, y down, edges (not centres), x0 < x1 and y0 < y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not all(np.isfinite([self.x0, self.y0, self.x1, self.y1])):
            raise BoxError(f"The box {self.text} is not made of four numbers; give x0,y0,x1,y1 in pixels.")
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise BoxError(f"The box {self.text} has no area; x1 must exceed x0, and y1 exceed y0.")

    @property
    def text(self) -> str:
        """The four edges as `x0,y0,x1,y1`."""
        return f"{self.x0:g},{self.y0:g},{self.x1:g},{self.y1:g}"

    @property
    def center(self) -> tuple[float, float]:
        """The centre (x, y) in pixels."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        return self.x1 - self.x0, self.y1 - self.y0

    def inside(self, height: int, width: int) -> Box:
        """Return the box clipped to an image; raises `BoxError` when it lies outside of it entirely."""
        if self.x0 >= width or self.y0 >= height or self.x1 <= 0 or self.y1 <= 0:
            raise BoxError(
                f"The box {self.text} lies outside the image of {width} × {height} pixels; draw it over the image."
            )
        return Box(max(self.x0, 0), max(self.y0, 0), min(self.x1, width), min(self.y1, height))


@dataclass(frozen=True)
class HeaderItem:
    """One element of a header that may be shown: tag as `(0018,0060)`, name, VR, and its value as text."""

    tag: str
    name: str
    vr: str
    value: str
    private: bool = False


@dataclass(frozen=True)
class Source:
    """What names and places the slices of a series in DICOM, every UID re-mapped: what a report or mask refers to.

    sop_instance_uids, frame_numbers (from 1) and origins_mm (x, y, z of the first pixel, patient coordinates) have an
    entry for each slice; orientation is six direction cosines, row then column. None is what the files lack.
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]
    frame_numbers: tuple[int, ...]
    orientation: tuple[float, ...] | None
    origins_mm: tuple[tuple[float, float, float], ...] | None


@dataclass(frozen=True, eq=False)
class Series:
    """One series: slices sorted along the normal, in HU where it is CT.

    hu: (z, y, x) int16 or float32; spacing_mm: (z, y, x); positions_mm: (z,) along the normal, ascending. unit says
    what hu holds: "HU", or "values" in MR and XA, which have none. uid is a one-way hash of the SeriesInstanceUID: no
    identifier of a person is kept. header: what of the files' headers may be shown; removed: names of the elements
    that were not kept. frame_rate_hz: of a multi-frame run meant to be played.
    """

    uid: str
    description: str
    modality: str
    hu: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]
    positions_mm: tuple[float, ...]
    notes: tuple[str, ...] = ()
    unit: Literal["HU", "values"] = "HU"
    source: Source | None = None
    header: tuple[HeaderItem, ...] = ()
    removed: tuple[str, ...] = ()
    frame_rate_hz: float | None = None

    def __len__(self) -> int:
        return int(self.hu.shape[0])


AnnotationKind = Literal["box", "length", "recist", "ellipse", "arrow", "text"]


@dataclass(frozen=True)
class Annotation:
    """One mark on a slice, as a hand drew it.

    slice_index counts from 0; points_px are (x, y) pixels, edges as in `Box`: a box's and an ellipse's two opposite
    corners, a length's two ends, RECIST's long axis (two ends) then short axis (two ends), an arrow's tail and head,
    a text's place. label is a lesion type or the reader's own word, note a free text.
    """

    id: str
    kind: AnnotationKind
    series_uid: str
    slice_index: int
    points_px: tuple[tuple[float, float], ...]
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class Lesion:
    """One annotated lesion on its key slice, as in a row of DeepLesion's `DL_info.csv`.

    lesion_id is unique in its collection. spacing_mm is (z, y, x); diameters_mm the RECIST long and short axes;
    normalized_location the relative (x, y, z) in the body, each in [0, 1].
    """

    lesion_id: str
    patient_id: str
    study_id: str
    series_id: str
    slice_index: int
    box: Box
    type: str
    split: str
    diameters_mm: tuple[float, float]
    spacing_mm: tuple[float, float, float]
    normalized_location: tuple[float, float, float]
    slice_range: tuple[int, int]
    image_path: Path

    @property
    def may_teach(self) -> bool:
        """Whether its type may be learned from: it has one, and is not of the test split, which is only asked."""
        return self.type != UNLABELLED and self.split != "test"


DEFAULT_SIGMAS: tuple[float, ...] = tuple(round(1 + k * 0.2, 10) for k in range(41))
"""The paper's scale sweep: 1 to 9 in steps of 0.2, both ends included (41 scales)."""


@dataclass(frozen=True)
class FrangiParams:
    """Parameters of the modified multi-scale Frangi filter (Qi et al. 2023, Appendix A).

    alpha, beta: sensitivity to R_A and R_B (no unit). gamma: sensitivity to the structure norm S, in units of the
    [0, 1] image. sigmas: scales in pixels, or in mm where a spacing is given. rho in [0, 1]: 0 is the printed
    formula, 1 promotes λ1 and λ2 to the next higher eigenvalue. polarity: which structures respond.
    normalise divides by the largest value that alpha allows. formula: how the eigenvalues make the response, see
    `lesiondash.frangi.response`; "objectness" has no use for rho and normalise, "skimage" none either. Numbers are
    kept as Python's floats, sigmas as a tuple; values are checked by `frangi_filter`, and named settings are in
    `lesiondash.frangi.presets`.
    """

    alpha: float = 1.0
    beta: float = 0.6
    gamma: float | Literal["auto"] = 0.0444
    sigmas: tuple[float, ...] = DEFAULT_SIGMAS
    rho: float = 1.0
    polarity: Literal["bright", "dark", "both"] = "bright"
    normalise: bool = False
    formula: Formula = "promotion"

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1):
                plain: object = tuple(map(_plain, value))
            else:
                plain = _plain(value)
            object.__setattr__(self, each.name, plain)


def _plain(value: object) -> object:
    """Return a number as a Python float, a truth as a bool and a text as a str; anything else as it is."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | float | np.integer | np.floating):
        try:
            return float(value)
        except OverflowError:
            return value
    return str(value) if isinstance(value, str) else value


@dataclass(frozen=True, eq=False)
class FrangiResult:
    """Response and winning scale of the filter.

    response: float, shape of the image, in [0, 1]; scale_index: int, same shape, index into sigmas of the largest
    response (first on ties, 0 where the response is 0). responses: that of each scale, (scales, *image), on request.
    """

    response: FloatArray
    scale_index: npt.NDArray[np.integer[Any]]
    sigmas: tuple[float, ...]
    responses: FloatArray | None = None


@dataclass(frozen=True)
class Hit:
    """One retrieved lesion: its rank from 1, its row in the index, and its cosine similarity to the query."""

    rank: int
    row: int
    lesion_id: str
    patient_id: str
    type: str
    similarity: float


@dataclass(frozen=True)
class AugmentSettings:
    """Strengths of the augmentation; 0 switches each off.

    shift: largest shift as a fraction of the view's side. rotation_deg: largest angle. flip_x, flip_y:
    probabilities of a mirror image along x (left–right) and y. scale: zoom drawn from exp(±scale).
    window_shift: largest shift of a window as a fraction of its width, and window_scale: width drawn from
    exp(±window_scale), both for each sample and channel ("colour distortion"). blur_sigma_px: largest
    Gaussian blur. noise_hu: largest standard deviation of noise.
    """

    shift: float = 0.25
    rotation_deg: float = 45.0
    flip_x: float = 0.0
    flip_y: float = 0.0
    scale: float = 0.4
    window_shift: float = 0.05
    window_scale: float = 0.15
    blur_sigma_px: float = 1.0
    noise_hu: float = 20.0


DEFAULT_AUGMENTATION = AugmentSettings()
"""Measured on generated lesions: wide shifts and zooms teach most; mirroring would merge left and right."""
NO_AUGMENTATION = AugmentSettings(0, 0, 0, 0, 0, 0, 0, 0, 0)
