"""What a DICOM file is: an image that can be shown, in HU or not, or something else, with the reason against it."""

from __future__ import annotations

import re

from pydicom.uid import UID

from lesiondash.images.dicom_header import Header, Parsed
from lesiondash.images.dicom_watch import Unreadable

_DICOMDIR = "1.2.840.10008.1.3.10"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_CT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
)
_WITHOUT_IMAGE = {
    "RTPLAN": "a radiotherapy plan",
    "RTSTRUCT": "a set of radiotherapy contours",
    "RTDOSE": "a radiotherapy dose",
    "RTRECORD": "a radiotherapy record",
    "SEG": "a segmentation",
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a list of key images",
    "REG": "a registration",
    "FID": "a list of fiducials",
    "DOC": "a document",
    "PLAN": "a plan",
    "ECG": "an electrocardiogram",
    "HD": "a haemodynamic curve",
    "AU": "a sound",
    "SM": "a microscope slide in tiles",
}
_IMAGES = {
    "CT",
    "MR",
    "PT",
    "NM",
    "XA",
    "RF",
    "CR",
    "DX",
    "MG",
    "US",
    "IVUS",
    "OCT",
    "OPT",
    "OP",
    "ES",
    "XC",
    "SC",
    "OT",
}
_IMAGES |= {"IO", "PX", "GM", "BI", "DG", "LS", "TG", "RG", "RTIMAGE", "BMD", "CFM"}
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1) that name images; any other word in a file is not repeated."""
UNNAMED = "OT"
_STANDARD = re.compile(r"1\.2\.840\.10008\.1\.2(\.\d{1,5}){1,4}")
_NEWER = {f"1.2.840.10008.1.2.4.{number}": "JPEG XL" for number in (110, 111, 112)}
"""Transfer syntaxes of the standard that pydicom has no name for."""


def modality_of(parsed: Parsed) -> str:
    """Return the modality of an image: a defined term, "OT" where the file names none.

    Raises `Unreadable` with the reason where the file is no image, or one that is of no use here.
    """
    header, sop_class = parsed.header, sop_class_of(parsed)
    modality = header.string("Modality").upper() or ("CT" if sop_class in _CT_CLASSES else "")
    if sop_class == _DICOMDIR or header.has("DirectoryRecordSequence"):
        raise Unreadable("is the index of a disc (DICOMDIR), not an image; load the folder beside it")
    if modality in _WITHOUT_IMAGE:
        raise Unreadable(f"is {_WITHOUT_IMAGE[modality]} ({modality}), not an image; leave it out")
    if parsed.place is None:
        if header.has("PixelDataProviderURL"):
            raise Unreadable("has its pixels on a server (JPIP), not in the file; export it with its pixels")
        raise Unreadable("holds no image; leave it out, or copy it again if it should")
    if modality == "CT":
        _check_ct(header, sop_class)
    return modality if modality in _IMAGES else UNNAMED


def _check_ct(header: Header, sop_class: str) -> None:
    """Refuse what comes with CT and holds no HU."""
    kind = {value.upper() for value in header.strings("ImageType")}
    if kind & {"LOCALIZER", "SCOUT"}:
        raise Unreadable("is a localizer (an overview image), not a slice; leave it out")
    if header.integer("SamplesPerPixel") == 3 or header.string("PhotometricInterpretation") == "PALETTE COLOR":
        raise Unreadable("is a colour image, which holds no HU; load the original slices")
    if sop_class.startswith(_SECONDARY_CAPTURE) and not header.has("ImagePositionPatient"):
        raise Unreadable("is a picture of a screen (secondary capture), which holds no HU; load the original slices")


def sop_class_of(parsed: Parsed) -> str:
    """Return the SOP class UID that the file or its meta information names, "" where neither does."""
    for header, keyword in ((parsed.header, "SOPClassUID"), (parsed.meta, "MediaStorageSOPClassUID")):
        named = header.string(keyword)
        if named:
            return named
    return ""


def burned_in_note(parsed: Parsed, modality: str) -> str | None:
    """Return what to say about text burned into the pixels, which no removal of elements takes away."""
    stated = parsed.header.string("BurnedInAnnotation").upper()
    if stated == "YES":
        return "The files say that text is burned into the images; it may name the patient."
    kind = [value.upper() for value in parsed.header.strings("ImageType")]
    captured = sop_class_of(parsed).startswith(_SECONDARY_CAPTURE) or kind[1:2] == ["SECONDARY"]
    if stated != "NO" and (captured or modality in ("US", "IVUS", "SC", "XC", "ES")):
        return "Images of this kind often have text burned in; look for names before you share them."
    return None


def syntax_text(syntax: UID) -> str:
    """Return a transfer syntax by its name in the standard; any other text in a file is not repeated."""
    if syntax.is_transfer_syntax and not syntax.is_private:
        return syntax.name
    if _STANDARD.fullmatch(syntax):  # newer than the dictionary at hand
        return _NEWER.get(syntax, f"transfer syntax {syntax}")
    return "an unknown transfer syntax"
