"""The phantom on disk: DeepLesion's table and 16-bit PNGs, and genuine DICOM series."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, generate_uid

from lesiondash.images.phantom_study import SLICE_MM, Finding, Study

PNG_OFFSET = 32768
COLUMNS = (
    "File_name",
    "Patient_index",
    "Study_index",
    "Series_ID",
    "Key_slice_index",
    "Measurement_coordinates",
    "Bounding_boxes",
    "Lesion_diameters_Pixel_",
    "Normalized_lesion_location",
    "Coarse_lesion_type",
    "Possibly_noisy",
    "Slice_range",
    "Spacing_mm_px_",
    "Image_size",
    "DICOM_windows",
    "Patient_gender",
    "Patient_age",
    "Train_Val_Test",
)


def write_png(path: Path, hu: npt.NDArray[np.int16]) -> None:
    """Write a slice as DeepLesion does: 16-bit grey, pixel = HU + 32768."""
    pixels = (hu.astype(np.int32) + PNG_OFFSET).astype(np.uint16)
    Image.fromarray(pixels).save(path, compress_level=5)


def table_row(study: Study, finding: Finding, split: int, slices: tuple[int, int]) -> list[str]:
    """Return a row of `DL_info.csv`; split is DeepLesion's code 1, 2 or 3."""

    def listed(values: Sequence[float]) -> str:
        return ", ".join(f"{value:g}" for value in values)

    chest = finding.code == 5
    return [
        f"{study.series_id}_{finding.index:03d}.png",
        str(study.person.number),
        str(study.number),
        "1",
        str(finding.index),
        listed([*finding.long_axis.ravel(), *finding.short_axis.ravel()]),
        listed(finding.box),
        listed(finding.diameters_px),
        listed(finding.location),
        str(finding.code),
        "0",
        listed(slices),
        listed((study.spacing_mm, study.spacing_mm, SLICE_MM)),
        listed((study.image_px, study.image_px)),
        "-1500, 500" if chest else "-175, 275",
        "F" if study.person.female else "M",
        str(study.person.age),
        str(split),
    ]


def write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write `DL_info.csv`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def series_instance_uid(study: Study) -> str:
    """The study's deterministic SeriesInstanceUID."""
    return str(generate_uid(entropy_srcs=["lesiondash phantom", str(study.seed), study.series_id]))


def write_dicom(folder: Path, study: Study, indices: Sequence[int], *, reverse_names: bool) -> None:
    """Write slices as a CT series; reversed names make alphabetical order differ from the order of positions."""
    folder.mkdir(parents=True)
    for place, index in enumerate(indices):
        number = len(indices) - place if reverse_names else place + 1
        _dicom_slice(study, index, study.render(index)).save_as(
            folder / f"IM{number:04d}.dcm", enforce_file_format=True
        )


def _dicom_slice(study: Study, index: int, hu: npt.NDArray[np.int16]) -> FileDataset:
    """One CT Image Storage instance of a slice; the patient in it is fictitious."""
    series_uid = series_instance_uid(study)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series_uid, str(index)])
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[series_uid, "study"])
    ds.SeriesInstanceUID, ds.FrameOfReferenceUID = series_uid, generate_uid(entropy_srcs=[series_uid, "frame"])
    ds.Modality, ds.Manufacturer = "CT", "lesiondash phantom"
    ds.PatientName, ds.PatientID = f"Phantom^{study.person.number:06d}", f"phantom-{study.person.number:06d}"
    ds.PatientSex, ds.PatientAge = "F" if study.person.female else "M", f"{study.person.age:03d}Y"
    ds.PatientBirthDate = ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = str(study.number), 1, index
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    corner = -study.spacing_mm * (study.image_px - 1) / 2
    ds.ImagePositionPatient = [f"{corner:.4f}", f"{corner:.4f}", f"{(index - 1) * SLICE_MM:.2f}"]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [f"{study.spacing_mm:.6f}"] * 2
    ds.SliceThickness = SLICE_MM
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = study.image_px
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    ds.WindowCenter, ds.WindowWidth, ds.KVP = 40, 400, 120
    ds.PixelData = (hu.astype(np.int32) + 1024).astype("<u2").tobytes()
    return ds
