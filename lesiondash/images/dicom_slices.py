"""One DICOM file decoded into slices or frames, each with what places it, or refused with a reason."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from lesiondash.errors import LesionDashError
from lesiondash.images.deidentify import Kept, keep, remap_uid, without_names
from lesiondash.images.dicom_header import Header, Parsed, parse
from lesiondash.images.dicom_kinds import burned_in_note, modality_of, sop_class_of
from lesiondash.images.dicom_pixels import frames_of, pixel_format
from lesiondash.images.dicom_values import Meaning, Unit, meaning_of, to_values
from lesiondash.images.dicom_watch import Unreadable, Watch

_NONSENSE = "is damaged: values in its header make no sense; copy it again from its source"
_CM = 3
"""PhysicalUnitsXDirection of centimetres (PS3.3 C.8.5.5.1.15)."""
_PIXEL_MM = (1e-5, 1e3)
"""Pixel spacing that an instrument can have, from a microscope's; any other is damage, and taken as absent."""
_FARTHEST_MM = 1e6
_PASSES = (
    ("AcquisitionNumber", "acquisition number"),
    ("TemporalPositionIdentifier", "moment"),
    ("EchoNumbers", "echo"),
    ("EchoTime", "echo time"),
    ("NominalPercentageOfCardiacPhase", "cardiac phase"),
    ("TriggerTime", "trigger time"),
    ("DiffusionBValue", "b-value"),
    ("ConvolutionKernel", "reconstruction kernel"),
    ("KVP", "tube voltage"),
    ("ImageType", "image type"),
    ("ContentTime", "time"),
    ("AcquisitionTime", "time"),
)
"""What may tell two slices of one series at one place apart, likeliest first."""


@dataclass(frozen=True)
class FileFacts:
    """What all frames of a file have in common; UIDs are re-mapped."""

    modality: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    kept: Kept
    frame_rate_hz: float | None
    """None where the frames are no run meant to be played."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One decoded slice: its values (y, x) int16 or float32, and what places it; None is what the file lacks."""

    name: str
    series_instance_uid: str
    key: str
    """Tells it from every other slice, and a file from its copy."""
    frame_number: int
    instance_number: int
    values: npt.NDArray[Any]
    unit: Unit
    rescale: tuple[float, float]
    orientation: tuple[float, ...] | None
    position_mm: tuple[float, ...] | None
    location_mm: float | None
    """SliceLocation, which stands in for a missing position."""
    pixel_spacing_mm: tuple[float, ...] | None
    thickness_mm: float | None
    spacing_between_mm: float | None
    tilt_deg: float
    passes: tuple[str, ...]
    """Its values of what `PASS_NAMES` names."""
    facts: FileFacts
    notes: tuple[str, ...]


PASS_NAMES = tuple(name for _, name in _PASSES)

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


def read_slices(name: str, file: BinaryIO, watch: Watch) -> Iterator[Slice]:
    """Decode each slice of a file, one at a time. Raises `Unreadable` with the reason, perhaps after some of them."""
    try:
        parsed = parse(file, watch)
        try:
            yield from _slices(name, parsed, modality_of(parsed), watch)
        except Unreadable as reason:
            reason.shown_name = without_names(name, parsed.header)
            raise
    except (Unreadable, LesionDashError, MemoryError, GeneratorExit):
        raise
    except Exception:
        raise Unreadable(_NONSENSE) from None


def _slices(name: str, parsed: Parsed, modality: str, watch: Watch) -> Iterator[Slice]:
    header = parsed.header
    assert parsed.place is not None
    layout = pixel_format(header, parsed.place, watch)
    shared, per_frame = header.item("SharedFunctionalGroupsSequence"), []
    if layout.frames > 1 or header.has("PerFrameFunctionalGroupsSequence"):
        per_frame = header.items("PerFrameFunctionalGroupsSequence")
    facts = _facts(parsed, modality, layout.frames, placed=bool(per_frame))
    series_uid = header.string("SeriesInstanceUID")
    sop_uid = header.string("SOPInstanceUID") or name
    burned_in = burned_in_note(parsed, modality)
    spacing, spacing_note = _spacing(header)
    first_notes = tuple(note for note in (burned_in, spacing_note) if note)
    means: dict[int, Meaning] = {}
    for number, stored in enumerate(frames_of(parsed, layout, watch)):
        if number:
            watch.within(number / layout.frames)
        own = per_frame[number] if number < len(per_frame) else None
        groups = [group for group in (own, shared) if group is not None]
        transform = _group(groups, "PixelValueTransformationSequence", header)
        place = id(transform.dataset)  # frames that share a group share what their values mean
        if place not in means:
            means[place] = meaning_of(header, transform, shared, modality)
        meaning = means[place]
        values, notes = to_values(stored, header, layout, meaning)
        measures = _group(groups, "PixelMeasuresSequence", header)
        yield Slice(
            name=name,
            series_instance_uid=series_uid,
            key=f"{sop_uid}#{number}",
            frame_number=number + 1,
            instance_number=number if layout.frames > 1 else header.integer("InstanceNumber") or 0,
            values=values,
            unit=meaning.unit,
            rescale=(meaning.slope, meaning.intercept),
            orientation=_group(groups, "PlaneOrientationSequence", header).numbers("ImageOrientationPatient", 6),
            position_mm=_position(groups, header, number, layout.frames, placed=bool(per_frame)),
            location_mm=_located(header, layout.frames),
            pixel_spacing_mm=_checked(measures.numbers("PixelSpacing", 2)) or spacing,
            thickness_mm=_length(measures, "SliceThickness"),
            spacing_between_mm=_length(measures, "SpacingBetweenSlices"),
            tilt_deg=header.number("GantryDetectorTilt") or 0.0,
            passes=_passes(header, own),
            facts=facts,
            notes=(*first_notes, *meaning.notes, *notes),
        )


def _facts(parsed: Parsed, modality: str, frames: int, *, placed: bool) -> FileFacts:
    header = parsed.header
    return FileFacts(
        modality=modality,
        study_uid=remap_uid(header.string("StudyInstanceUID")),
        series_uid=remap_uid(header.string("SeriesInstanceUID")),
        frame_of_reference_uid=remap_uid(header.string("FrameOfReferenceUID")),
        sop_class_uid=_well_known(sop_class_of(parsed)),
        sop_instance_uid=remap_uid(header.string("SOPInstanceUID")),
        kept=keep(header, modality),
        frame_rate_hz=_frame_rate(header) if frames > 1 and not placed else None,
    )


def _well_known(uid: str) -> str:
    """Return a SOP class UID of the standard as it is; another text that stands in its place is not repeated."""
    return uid if uid.startswith("1.2.840.10008.") and uid.replace(".", "").isdecimal() else ""


def _frame_rate(header: Header) -> float | None:
    """Return frames per second of a run, or None where the file says nothing of time."""
    for keyword in ("RecommendedDisplayFrameRate", "CineRate"):
        rate = header.number(keyword)
        if rate and rate > 0:
            return rate
    times_ms = header.numbers("FrameTime", 1) or header.numbers("FrameTimeVector")
    positive = [time for time in times_ms or () if time > 0]
    return 1000 * len(positive) / sum(positive) if positive else None


def _position(
    groups: list[Header], header: Header, number: int, frames: int, *, placed: bool
) -> tuple[float, ...] | None:
    """Return where a frame lies; without functional groups nothing says where the further frames do."""
    if placed or frames == 1:
        position = _group(groups, "PlanePositionSequence", header).numbers("ImagePositionPatient", 3)
        return position if position and max(map(abs, position)) < _FARTHEST_MM else None
    detector = header.item("DetectorInformationSequence")  # nuclear medicine: a first position and a step
    step, orientation = header.number("SpacingBetweenSlices"), None
    if detector is not None and header.strings("ImageType")[2:3] == ("RECON TOMO",):
        first = detector.numbers("ImagePositionPatient", 3)
        orientation = detector.numbers("ImageOrientationPatient", 6)
        if first is not None and orientation is not None and step:
            normal = np.cross(orientation[:3], orientation[3:])
            return tuple(float(value) for value in np.array(first) + number * step * normal)
    return None


def _located(header: Header, frames: int) -> float | None:
    """Return where a file's only slice lies along its normal, as older files say it."""
    location = header.number("SliceLocation") if frames == 1 else None
    return location if location is not None and abs(location) < _FARTHEST_MM else None


def _spacing(header: Header) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the pixel spacing (y, x) of an image that gives it in its own way, and what to say about it."""
    region = header.item("SequenceOfUltrasoundRegions")
    units = [region.integer(f"PhysicalUnits{axis}Direction") for axis in "XY"] if region is not None else []
    if region is not None and units == [_CM, _CM]:
        steps_cm = region.number("PhysicalDeltaY"), region.number("PhysicalDeltaX")
        if steps_cm[0] and steps_cm[1]:
            return (10 * abs(steps_cm[0]), 10 * abs(steps_cm[1])), None
    at_detector = _checked(header.numbers("ImagerPixelSpacing", 2))
    if at_detector is not None and not header.has("PixelSpacing"):
        magnification = header.number("EstimatedRadiographicMagnificationFactor") or 1.0
        note = "Sizes in mm are those at the detector; in the body they are smaller."
        if magnification > 1:
            note = "Sizes in mm are those that the machine estimates for the body."
            at_detector = (at_detector[0] / magnification, at_detector[1] / magnification)
        return at_detector, note
    return None, None


def _checked(spacing: tuple[float, ...] | None) -> tuple[float, ...] | None:
    low_mm, high_mm = _PIXEL_MM
    return spacing if spacing and low_mm <= min(spacing) and max(spacing) <= high_mm else None


def _passes(header: Header, own: Header | None) -> tuple[str, ...]:
    """Return what may tell this slice from another one at its place, in the order of `PASS_NAMES`."""
    found = {keyword: ",".join(header.strings(keyword)) for keyword, _ in _PASSES}
    content = own.item("FrameContentSequence") if own is not None else None
    if content is not None:
        found["AcquisitionNumber"] = content.string("FrameAcquisitionNumber") or found["AcquisitionNumber"]
        found["TemporalPositionIdentifier"] = content.string("TemporalPositionIndex")
    return tuple(found.values())


def _group(groups: list[Header], key: str, header: Header) -> Header:
    """Return a functional group: the frame's own, else the shared one, else the file itself."""
    found = (group.item(key) for group in groups)
    return next((item for item in found if item is not None), header)


def _length(measures: Header, keyword: str) -> float | None:
    """Return a length; its sign, which SpacingBetweenSlices may carry, says nothing here."""
    value = measures.number(keyword)
    return abs(value) if value else None
