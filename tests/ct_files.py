"""Writes small CT files whose HU are known, for the tests of reading them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian
from running import SHARED as SHARED

SERIES_UID = "1.2.826.0.1.3680043.8.498.1"
SECRET = "SECRET^NAME"


def ct_dataset(stored: Any, z_mm: float = 0.0, number: int = 1, **changes: Any) -> FileDataset:
    """One axial CT slice of stored values (y, x), 2 × 0.5 mm pixels, intercept −1024; None leaves one out."""
    pixels = np.asarray(stored, dtype=np.int16)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{SERIES_UID}.{number}"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    elements: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{SERIES_UID}.{number}",
        "SeriesInstanceUID": SERIES_UID,
        "Modality": "CT",
        "PatientName": SECRET,
        "PatientID": SECRET,
        "SeriesDescription": SECRET,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "InstanceNumber": number,
        "ImagePositionPatient": [0.0, 0.0, z_mm],
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "PixelSpacing": [2.0, 0.5],
        "SliceThickness": 3.0,
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1.0,
        "RescaleIntercept": -1024.0,
        "PixelData": pixels.tobytes(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some tests write values that the standard forbids
        for key, value in {**elements, **changes}.items():
            if value is not None:
                setattr(dataset, key, value)
    return dataset


def write_ct(path: Path, stored: Any, z_mm: float = 0.0, number: int = 1, **changes: Any) -> Path:
    """Write `ct_dataset` to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ct_dataset(stored, z_mm, number, **changes).save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, positions_mm: list[float], **changes: Any) -> list[Path]:
    """Write slices of 4 × 6 pixels, each filled with its place along z in HU (rounded)."""
    return [
        write_ct(folder / f"{number}.dcm", np.full((4, 6), round(z) + 1024), z, number, **changes)
        for number, z in enumerate(positions_mm, start=1)
    ]


def enhanced_ct(stored: Any, positions_mm: list[float], slopes: list[float]) -> FileDataset:
    """A multi-frame CT: orientation and spacing shared, position and rescale of each frame its own."""
    shared = Dataset()
    shared.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])
    shared.PixelMeasuresSequence = Sequence([_item(PixelSpacing=[2.0, 0.5], SliceThickness=3.0)])
    frames = []
    for z_mm, slope in zip(positions_mm, slopes, strict=True):
        frame = Dataset()
        frame.PlanePositionSequence = Sequence([_item(ImagePositionPatient=[0, 0, z_mm])])
        rescale = _item(RescaleSlope=slope, RescaleIntercept=-1000.0, RescaleType="HU")
        frame.PixelValueTransformationSequence = Sequence([rescale])
        frames.append(frame)
    gone = (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    )
    dataset = ct_dataset(stored, NumberOfFrames=len(positions_mm), **dict.fromkeys(gone))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return dataset


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for key, value in elements.items():
        setattr(item, key, value)
    return item
