"""What annotations are called in DICOM: the codes of lesion types, measures and procedures."""

from __future__ import annotations

import hashlib

from highdicom import UID
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from lesiondash.records import Annotation, Series

SITES: dict[str, Code] = {
    "bone": codes.SCT.Bone,
    "abdomen": codes.SCT.Abdomen,
    "mediastinum": codes.SCT.Mediastinum,
    "liver": codes.SCT.Liver,
    "lung": codes.SCT.Lung,
    "kidney": codes.SCT.Kidney,
    "soft tissue": codes.SCT.SoftTissue,
    "pelvis": codes.SCT.Pelvis,
}
"""Where a lesion of each of DeepLesion's types lies, in SNOMED CT."""
PROCEDURES: dict[str, Code] = {"CT": codes.SCT.ComputedTomography}
MANUFACTURER = "lesiondash"
_OWN_SCHEME = "99LESIONDASH"


def procedure(series: Series) -> Code:
    """Return how a series was acquired."""
    other: Code = codes.SCT.ImagingProcedure
    return PROCEDURES.get(series.modality, other)


def finding(annotation: Annotation) -> CodedConcept:
    """Return what an annotation marks: a lesion, or the reader's own word in a scheme of our own."""
    label = annotation.label.strip()
    if not label or label.lower() in SITES:
        return CodedConcept.from_code(codes.SCT.Lesion)
    return CodedConcept(hashlib.sha256(label.encode()).hexdigest()[:16], _OWN_SCHEME, label[:64])


def site(annotation: Annotation) -> Code | None:
    """Return where it lies, as its label says; None where the label is no lesion type."""
    return SITES.get(annotation.label.strip().lower())


def value_unit(series: Series) -> Code:
    """Return the unit of the pixels' values."""
    unit: Code = codes.UCUM.HounsfieldUnit if series.unit == "HU" else codes.UCUM.NoUnits
    return unit


def value_name(series: Series) -> Code | CodedConcept:
    """Return what the pixels' values are: an attenuation, an MR signal, or a word of our own where none is coded."""
    if series.unit == "HU":
        attenuation: Code = codes.DCM.AttenuationCoefficient
        return attenuation
    signal: Code = codes.DCM.MRSignalIntensity
    return signal if series.modality == "MR" else CodedConcept("pixel-value", _OWN_SCHEME, "Pixel value")


def tracking_uid(series: Series, annotation: Annotation) -> UID:
    """Return a UID of the annotation, the same whenever it is exported."""
    return UID(generate_uid(entropy_srcs=[series.uid, annotation.id]))


def named(annotation: Annotation, number: int) -> str:
    """Return what an annotation is called among its like: its number and its kind."""
    return f"{number} {annotation.kind}"
