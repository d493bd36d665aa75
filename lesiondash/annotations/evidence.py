"""The images that a report or a mask refers to, as headers without pixels and without a person."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from lesiondash.errors import AnnotationError
from lesiondash.records import Series, Source

PATIENT_NAME = "Anonymous^"


def source_of(series: Series, what: str, *, placed: bool = False) -> Source:
    """Return what names the slices of a series in DICOM.

    what: the thing to be made of it, for the sentence. placed: whether positions in the patient are needed. Raises
    `AnnotationError` where the files of the series do not give it.
    """
    source = series.source
    if source is None:
        raise AnnotationError(
            f"{what} refers to DICOM images, and this series was not read from DICOM files; save JSON or CSV."
        )
    if not all((source.study_uid, source.series_uid, source.sop_class_uid, *source.sop_instance_uids)):
        raise AnnotationError(
            f"{what} refers to images by their UIDs, and the files of this series lack some; save JSON or CSV."
        )
    if placed and (source.orientation is None or source.origins_mm is None or not source.frame_of_reference_uid):
        raise AnnotationError(
            f"{what} needs the slices' place in the patient, which the files of this series lack (orientation, "
            "position or frame of reference); save JSON, CSV or a report."
        )
    return source


def is_multi_frame(source: Source) -> bool:
    """Whether the slices are frames of multi-frame images."""
    name = UID(source.sop_class_uid).name
    return (
        len(set(source.sop_instance_uids)) < len(source.sop_instance_uids)
        or max(source.frame_numbers, default=1) > 1
        or "Enhanced" in name
        or "Multi-frame" in name
    )


def evidence(series: Series, slice_indices: Iterable[int]) -> list[Dataset]:
    """Return the headers of the images that hold some slices, each once, in the order of slices.

    They carry what highdicom asks of an image: identity (re-mapped), size, and place where it is known. The patient
    has no name, and an id of the study's UID, so that no two patients ever share one.
    """
    source = source_of(series, "A DICOM object")
    first_slice: dict[str, int] = {}
    for index in sorted(set(slice_indices)):
        first_slice.setdefault(source.sop_instance_uids[index], index)
    frames = is_multi_frame(source)
    return [
        (_multi_frame if frames else _single_frame)(series, source, uid, index) for uid, index in first_slice.items()
    ]


def _header(series: Series, source: Source, sop_instance_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    empty = ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber")
    elements: dict[str, Any] = dict.fromkeys((*empty, "ReferringPhysicianName"), "")
    elements |= {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": source.sop_class_uid,
        "SOPInstanceUID": sop_instance_uid,
        "StudyInstanceUID": source.study_uid,
        "SeriesInstanceUID": source.series_uid,
        "Modality": series.modality,
        "PatientName": PATIENT_NAME,
        "PatientID": f"study-{hashlib.sha256(source.study_uid.encode()).hexdigest()[:12]}",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "lesiondash: UIDs re-mapped, listed elements kept",
        "Rows": int(series.hu.shape[1]),
        "Columns": int(series.hu.shape[2]),
    }
    if source.frame_of_reference_uid:
        elements["FrameOfReferenceUID"] = source.frame_of_reference_uid
    return _with(dataset, elements)


def _single_frame(series: Series, source: Source, sop_instance_uid: str, index: int) -> Dataset:
    z_mm, y_mm, x_mm = series.spacing_mm
    dataset = _header(series, source, sop_instance_uid)
    _with(dataset, {"PixelSpacing": _ds(y_mm, x_mm), "SliceThickness": _ds(z_mm)[0], "InstanceNumber": index + 1})
    if source.orientation is not None and source.origins_mm is not None:
        orientation, origin = _ds(*source.orientation), _ds(*source.origins_mm[index])
        _with(dataset, {"ImageOrientationPatient": orientation, "ImagePositionPatient": origin})
    return dataset


def _multi_frame(series: Series, source: Source, sop_instance_uid: str, _: int) -> Dataset:
    z_mm, y_mm, x_mm = series.spacing_mm
    frames = frames_of(source, sop_instance_uid)
    dataset = _with(_header(series, source, sop_instance_uid), {"NumberOfFrames": max(frames)})
    measures = _with(Dataset(), {"PixelSpacing": _ds(y_mm, x_mm), "SliceThickness": _ds(z_mm)[0]})
    shared = _with(Dataset(), {"PixelMeasuresSequence": [measures]})
    per_frame = [Dataset() for _ in range(max(frames))]
    if source.orientation is not None and source.origins_mm is not None:
        orientation = _with(Dataset(), {"ImageOrientationPatient": _ds(*source.orientation)})
        _with(shared, {"PlaneOrientationSequence": [orientation]})
        for number, index in frames.items():
            position = _with(Dataset(), {"ImagePositionPatient": _ds(*source.origins_mm[index])})
            _with(per_frame[number - 1], {"PlanePositionSequence": [position]})
    return _with(dataset, {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": per_frame})


def frames_of(source: Source, sop_instance_uid: str) -> dict[int, int]:
    """Return the slice index of each frame, by its number from 1, of one multi-frame image."""
    return {
        number: index
        for index, (uid, number) in enumerate(zip(source.sop_instance_uids, source.frame_numbers, strict=True))
        if uid == sop_instance_uid
    }


def _with(dataset: Dataset, elements: dict[str, Any]) -> Dataset:
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def _ds(*values: float) -> list[str]:
    """Write numbers as decimal strings, which hold 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value)) for value in values]
