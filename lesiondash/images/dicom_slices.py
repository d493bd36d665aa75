"""One DICOM file decoded into CT slices in HU, or rejected with a reason."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lesiondash.images.dicom_files import NOT_DICOM, Candidate

AIR_HU = -1024
MAX_PIXELS_BYTES = 4 * 2**30
"""Largest image that one file may decode to."""
_DICOMDIR = "1.2.840.10008.1.3.10"
_CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_WITHOUT_IMAGE = {
    "RTPLAN": "a radiotherapy plan",
    "RTSTRUCT": "a set of radiotherapy contours",
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a list of key images",
    "REG": "a registration",
}


class NotCT(Exception):
    """Why a file is not read as CT, in words that follow its name."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One decoded slice, hu (y, x) int16 or float32, and what places it; None is what the file lacks."""

    name: str
    series_instance_uid: str
    sop_instance_uid: str
    instance_number: int
    hu: npt.NDArray[Any]
    orientation: tuple[float, ...] | None
    position_mm: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    thickness_mm: float | None
    spacing_between_mm: float | None
    tilt_deg: float
    notes: tuple[str, ...]


_quiet_lock = threading.Lock()
_quiet_readers = 0
_quiet_stack = contextlib.ExitStack()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom, whose warnings and logs may print values of a person; threads may share it."""
    global _quiet_readers
    logger = logging.getLogger("pydicom")
    with _quiet_lock:
        _quiet_readers += 1
        if _quiet_readers == 1:  # the first one in silences, the last one out restores
            _quiet_stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _quiet_stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_readers -= 1
            if _quiet_readers == 0:
                _quiet_stack.close()


def read_slices(candidate: Candidate) -> list[Slice]:
    """Decode every CT slice of a file (several if it is multi-frame). Raises `NotCT` with the reason."""
    try:
        dataset = pydicom.dcmread(candidate.open(), force=True)
        _name_transfer_syntax(dataset)
        readable = len(dataset) > 0
    except Exception:  # pydicom raises whatever its parser trips over
        raise NotCT("is damaged: its header cannot be read; copy it again from its source") from None
    if not readable:
        raise NotCT(NOT_DICOM)
    try:
        _check_kind(dataset)
        pixels = _decode(dataset)
        return list(_slices(candidate.name, dataset, pixels))
    except NotCT:
        raise
    except Exception:
        raise NotCT("is damaged: values in its header make no sense; copy it again from its source") from None


def _name_transfer_syntax(dataset: Any) -> None:
    """Give a file without meta information the transfer syntax that pydicom found when it read it."""
    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _check_kind(dataset: Any) -> None:
    sop_class = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    modality = str(dataset.get("Modality") or ("CT" if sop_class in _CT_CLASSES else ""))
    if sop_class == _DICOMDIR or "DirectoryRecordSequence" in dataset:
        raise NotCT("is the index of a disc (DICOMDIR), not an image; load the folder beside it")
    if modality in _WITHOUT_IMAGE:
        raise NotCT(f"is {_WITHOUT_IMAGE[modality]} ({modality}), not an image; leave it out")
    if not any(key in dataset for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise NotCT("holds no image; leave it out, or copy it again if it should")
    if not modality:
        raise NotCT("does not say what kind of image it is (no Modality); export it again as CT")
    if modality != "CT":
        # the code is free text in a broken file: a real one has at most 16 capitals
        code = modality if modality.isalnum() and modality.isupper() and len(modality) <= 8 else "something else"
        raise NotCT(f"is {code}, not CT; lesiondash reads CT")
    kind = [str(value).strip().upper() for value in _listed(dataset.get("ImageType"))]
    if "LOCALIZER" in kind or "SCOUT" in kind:
        raise NotCT("is a localizer (an overview image), not a slice; leave it out")
    samples, photometric = (
        dataset.get("SamplesPerPixel", 1),
        str(dataset.get("PhotometricInterpretation", "")),
    )
    if samples != 1 or photometric == "PALETTE COLOR":
        raise NotCT("is a colour image, which holds no HU; load the original slices")
    if sop_class.startswith("1.2.840.10008.5.1.4.1.1.7") and "ImagePositionPatient" not in dataset:
        raise NotCT("is a picture of a screen (secondary capture), which holds no HU; load the original slices")


def _decode(dataset: Any) -> npt.NDArray[Any]:
    """Return the stored values as (frame, y, x)."""
    rows, columns, frames = (
        int(dataset.get(key) or default) for key, default in (("Rows", 0), ("Columns", 0), ("NumberOfFrames", 1))
    )
    if rows < 1 or columns < 1 or frames < 1:
        raise NotCT("is damaged: it does not say how large its image is; copy it again from its source")
    if rows * columns * frames * int(dataset.get("BitsAllocated") or 16) / 8 > MAX_PIXELS_BYTES:
        raise NotCT("claims to hold an impossibly large image; copy it again from its source")
    syntax: UID = dataset.file_meta.TransferSyntaxUID
    syntax_name = f"{syntax.name}" if syntax.is_transfer_syntax else "an unknown transfer syntax"
    try:
        pixels = np.asarray(dataset.pixel_array)
    except NotImplementedError:
        raise NotCT(f"is compressed as {syntax_name}, which cannot be decoded here; export it uncompressed") from None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the panic of a decoder written in Rust is no Exception
        if not syntax.is_compressed and "less than expected" in str(error):
            raise NotCT("is cut short: part of its pixel data is missing; copy it again from its source") from None
        raise NotCT(
            f"has pixel data that cannot be decoded ({syntax_name}); copy it again, or export it uncompressed"
        ) from None
    return pixels.reshape(frames, rows, columns)


def _slices(name: str, dataset: Any, pixels: npt.NDArray[Any]) -> Iterator[Slice]:
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    per_frame = _listed(dataset.get("PerFrameFunctionalGroupsSequence"))
    for number, stored in enumerate(pixels):
        groups = [per_frame[number] if number < len(per_frame) else None, shared]
        measures = _group(groups, "PixelMeasuresSequence", dataset)
        position = _group(groups, "PlanePositionSequence", dataset)
        orientation = _group(groups, "PlaneOrientationSequence", dataset)
        hu, notes = _to_hu(stored, dataset, _group(groups, "PixelValueTransformationSequence", dataset))
        spacing = _floats(measures, "PixelSpacing", 2)
        # without functional groups nothing says where the further frames lie
        placed = bool(per_frame) or len(pixels) == 1
        yield Slice(
            name=name,
            series_instance_uid=str(dataset.get("SeriesInstanceUID") or ""),
            sop_instance_uid=f"{dataset.get('SOPInstanceUID') or name}#{number}",
            instance_number=number if len(pixels) > 1 else _integer(dataset.get("InstanceNumber")),
            hu=hu,
            orientation=_floats(orientation, "ImageOrientationPatient", 6),
            position_mm=_floats(position, "ImagePositionPatient", 3) if placed else None,
            pixel_spacing_mm=spacing if spacing and min(spacing) > 0 else None,
            thickness_mm=_positive(measures, "SliceThickness"),
            spacing_between_mm=_positive(measures, "SpacingBetweenSlices"),
            tilt_deg=(_floats(dataset, "GantryDetectorTilt", 1) or (0.0,))[0],
            notes=notes,
        )


def _to_hu(stored: npt.NDArray[Any], dataset: Any, transform: Any) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Apply the modality LUT, set padding to air; int16 where the values are whole and fit, else float32."""
    notes: list[str] = []
    slope, intercept = _floats(transform, "RescaleSlope", 1), _floats(transform, "RescaleIntercept", 1)
    if _first(dataset, "ModalityLUTSequence") is not None:
        hu = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    elif slope and slope[0] != 0:
        hu = _rescaled(stored, slope[0], intercept[0] if intercept else 0.0)
    else:
        hu = _rescaled(stored, 1.0, 0.0)
        notes.append("The files give no rescale slope and intercept; their values are taken as HU.")
    unit = str(transform.get("RescaleType") or "HU").strip().upper()
    if unit not in ("HU", "HU_MOD"):
        notes.append("The files do not say that their values are HU; they may be another measure.")
    hu[_padding(stored, dataset)] = AIR_HU
    if not np.all(np.isfinite(hu)):
        hu = np.nan_to_num(hu, nan=AIR_HU, posinf=AIR_HU, neginf=AIR_HU)
    limits = np.iinfo(np.int16)
    fits = hu.min() >= limits.min and hu.max() <= limits.max
    whole = hu.dtype.kind == "i" or bool(np.array_equal(np.rint(hu), hu))
    return hu.astype(np.int16 if fits and whole else np.float32), tuple(notes)


def _rescaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    """Return slope × stored + intercept, in whole numbers where that is exact: it is several times faster."""
    small = stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2 and abs(slope) < 2**14
    if small and slope.is_integer() and intercept.is_integer() and abs(intercept) < 2**30:
        return stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    return np.asarray(stored * np.float64(slope) + intercept)


def _padding(stored: npt.NDArray[Any], dataset: Any) -> npt.NDArray[np.bool_]:
    """Where pixels are padding, in stored values (PS3.3 C.7.5.1.1.2); the limit makes it a range."""
    ends = [dataset.get(key) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    whole = [int(end) for end in ends if isinstance(end, int)]
    if not whole or stored.dtype.kind not in "iu" or not isinstance(ends[0], int):
        return np.zeros(stored.shape, dtype=np.bool_)
    # a value with the wrong sign for the pixels means the same bits
    low, high = np.sort(np.array([whole[0], whole[-1]], dtype=np.int64).astype(stored.dtype))
    mask: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return mask


def _group(groups: list[Any], key: str, dataset: Any) -> Any:
    """Return a functional group: the frame's own, else the shared one, else the file itself."""
    found = (_first(group, key) for group in groups if group is not None)
    return next((item for item in found if item is not None), dataset)


def _first(dataset: Any, key: str) -> Any:
    return next(iter(_listed(dataset.get(key))), None)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, (str, int, float, Dataset)) else list(value)


def _floats(dataset: Any, key: str, count: int) -> tuple[float, ...] | None:
    """Return an element's numbers, or None when it is absent, of another length, or not finite."""
    try:
        values = tuple(float(value) for value in _listed(dataset.get(key)))
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def _positive(dataset: Any, key: str) -> float | None:
    """Return a length; its sign, which SpacingBetweenSlices may carry, says nothing here."""
    values = _floats(dataset, key, 1)
    return abs(values[0]) if values and values[0] != 0 else None


def _integer(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
