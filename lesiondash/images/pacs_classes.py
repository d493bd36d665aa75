"""Which kinds of objects a DIMSE server is asked to send: an association has room for 128 contexts, not for all."""

from __future__ import annotations

from pydicom import uid
from pydicom.uid import UID

_ANY = (uid.SecondaryCaptureImageStorage, uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage)
_CLASSES: dict[str, tuple[UID, ...]] = {
    "CT": (uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage),
    "MR": (uid.MRImageStorage, uid.EnhancedMRImageStorage, uid.LegacyConvertedEnhancedMRImageStorage),
    "PT": (
        uid.PositronEmissionTomographyImageStorage,
        uid.EnhancedPETImageStorage,
        uid.LegacyConvertedEnhancedPETImageStorage,
    ),
    "NM": (uid.NuclearMedicineImageStorage,),
    "XA": (uid.XRayAngiographicImageStorage, uid.EnhancedXAImageStorage, uid.XRay3DAngiographicImageStorage),
    "RF": (uid.XRayRadiofluoroscopicImageStorage, uid.EnhancedXRFImageStorage),
    "CR": (uid.ComputedRadiographyImageStorage,),
    "DX": (uid.DigitalXRayImageStorageForPresentation, uid.DigitalXRayImageStorageForProcessing),
    "MG": (
        uid.DigitalMammographyXRayImageStorageForPresentation,
        uid.DigitalMammographyXRayImageStorageForProcessing,
        uid.BreastTomosynthesisImageStorage,
    ),
    "US": (uid.UltrasoundImageStorage, uid.UltrasoundMultiFrameImageStorage, uid.EnhancedUSVolumeStorage),
}
_COMMON = tuple(classes[0] for classes in _CLASSES.values())


def classes_of(modality: str) -> tuple[UID, ...]:
    """Return the storage classes of a modality's images and of screen captures, 12 at most.

    Of a modality that is not known, the commonest class of each that is.
    """
    return (*_CLASSES.get(modality, _COMMON), *_ANY)
