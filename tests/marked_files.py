"""A CT file with a mark in every place where a person may be named: what is kept of it must hold no mark."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from ct_files import ct_dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

MARK = "QZXMARK"
UID_MARK = "1.2.826.77777"
DAY_MARK = "20010203"
BORN_MARK = "19330405"
_TEXTS = {"PN", "LO", "SH", "ST", "LT", "UT", "UC"}


def marked_dataset(z_mm: float = 0.0, number: int = 1, **changes: Any) -> FileDataset:
    """One slice whose every text is marked, in the file itself, in nested sequences and in private elements."""
    dataset = ct_dataset(np.arange(4096).reshape(64, 64) % 2000, z_mm, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _mark(dataset)
        item = Dataset()
        _mark(item)
        deeper = Dataset()
        _mark(deeper)
        item.ReferencedStudySequence = Sequence([deeper])
        dataset.RequestAttributesSequence = Sequence([item])
        dataset.OtherPatientIDsSequence = Sequence([item])
        block = dataset.private_block(0x0011, f"{MARK} CREATOR", create=True)
        block.add_new(0x01, "PN", f"{MARK}^Private")
        block.add_new(0x02, "SQ", Sequence([item]))
        known = dataset.private_block(0x0009, "GEMS_IDEN_01", create=True)
        known.add_new(0x01, "LO", f"{MARK} full fidelity")
        dataset.PatientBirthDate, dataset.PatientAge = BORN_MARK, "095Y"
        for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
            setattr(dataset, keyword, DAY_MARK)
        dataset.StudyInstanceUID = f"{UID_MARK}.1"
        dataset.SeriesInstanceUID = f"{UID_MARK}.2"
        dataset.FrameOfReferenceUID = f"{UID_MARK}.3"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{UID_MARK}.4.{number}"
        dataset.SoftwareVersions = "07MW18.4"
        dataset.ConvolutionKernel = f"STANDARD {MARK}"
        for key, value in changes.items():
            setattr(dataset, key, value)
    return dataset


def _mark(dataset: Dataset) -> None:
    """Set every text of the standard's dictionary."""
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        if vr in _TEXTS and keyword and not retired and tag >> 16 > 0x0002:
            dataset.add_new(tag, vr, f"{MARK}{tag:x}"[:16] if vr == "SH" else f"{MARK} {tag:x}")


def marks_in(text: str) -> list[str]:
    """Return the marks that stand in a text, however they are written."""
    return [mark for mark in (MARK, UID_MARK, DAY_MARK, BORN_MARK) if mark.casefold() in text.casefold()]
