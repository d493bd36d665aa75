"""The allow-list: keywords of the elements that may be kept of a header, by how they are kept."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CODES = _words(
    """
    ImageType Modality PatientSex PatientPosition ScanOptions BurnedInAnnotation PresentationIntentType
    PhotometricInterpretation RescaleType LossyImageCompression LossyImageCompressionMethod BodyPartExamined
    Laterality ImageLaterality ExposureModulationType RotationDirection FilterType FocalSpots ScanningSequence
    SequenceVariant MRAcquisitionType AngioFlag InPlanePhaseEncodingDirection ConversionType ViewPosition
    PatientOrientation CorrectedImage Units DecayCorrection CountsSource SeriesType PositionerMotion
    PixelIntensityRelationship VolumetricProperties AcquisitionType ReconstructionAlgorithm ContentQualification
    FrameType FrameLaterality LongitudinalTemporalInformationModified TemporalPositionTimeOffset PatientAge
    """
)
"""Codes that the standard defines; kept where they look like one."""

NUMBERS = _words(
    """
    InstanceNumber SeriesNumber AcquisitionNumber NumberOfFrames Rows Columns BitsAllocated BitsStored HighBit
    PixelRepresentation SamplesPerPixel PlanarConfiguration PixelSpacing ImagerPixelSpacing SliceThickness
    SpacingBetweenSlices ImagePositionPatient ImageOrientationPatient SliceLocation RescaleSlope RescaleIntercept
    WindowCenter WindowWidth PixelPaddingValue PixelPaddingRangeLimit KVP XRayTubeCurrent Exposure ExposureTime
    ExposureInuAs ExposureInmAs GantryDetectorTilt TableHeight TableSpeed TableFeedPerRotation SpiralPitchFactor
    SingleCollimationWidth TotalCollimationWidth RevolutionTime DataCollectionDiameter ReconstructionDiameter
    DistanceSourceToDetector DistanceSourceToPatient GeneratorPower CTDIvol EstimatedDoseSaving RepetitionTime
    EchoTime InversionTime EchoNumbers EchoTrainLength NumberOfAverages ImagingFrequency MagneticFieldStrength
    FlipAngle PixelBandwidth PercentSampling PercentPhaseFieldOfView SAR DiffusionBValue TriggerTime
    TemporalPositionIdentifier NumberOfTemporalPositions NominalPercentageOfCardiacPhase FrameTime CineRate
    RecommendedDisplayFrameRate PositionerPrimaryAngle PositionerSecondaryAngle
    ExposureTimeInms XRayTubeCurrentInmA EstimatedRadiographicMagnificationFactor ImagesInAcquisition
    SmallestImagePixelValue LargestImagePixelValue
    LossyImageCompressionRatio AcquisitionMatrix FieldOfViewDimensions
    """
)
"""Numbers; kept as numbers, never as the text that stood in the file."""

MACHINE_WORDS = _words(
    """
    Manufacturer ManufacturerModelName ConvolutionKernel SoftwareVersions SequenceName
    """
)
"""Texts that a machine writes; kept where no word of the person's own elements is in them."""

DATES = _words(
    """
    StudyDate SeriesDate AcquisitionDate ContentDate
    """
)
"""Dates; kept shifted."""

UIDS = _words(
    """
    StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID
    """
)
"""UIDs that tell studies and series apart; kept re-mapped."""

KNOWN_UIDS = _words(
    """
    SOPClassUID
    """
)
"""UIDs of the standard's own; kept by their names."""

PERSONAL = _words(
    """
    PatientName PatientID OtherPatientIDs OtherPatientNames PatientBirthName PatientMotherBirthName PatientAddress
    AccessionNumber StudyID ReferringPhysicianName PerformingPhysicianName OperatorsName RequestingPhysician
    NameOfPhysiciansReadingStudy PhysiciansOfRecord PatientTelephoneNumbers ResponsiblePerson IssuerOfPatientID
    """
)
"""Elements about people, whose words may stand in no other element that is kept."""
