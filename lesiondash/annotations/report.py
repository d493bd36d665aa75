"""Annotations as a DICOM structured report: TID 1500, "Measurement Report" (PS3.16)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from lesiondash.annotations.evidence import evidence, is_multi_frame, source_of
from lesiondash.annotations.measure import Measures, bounds, measures
from lesiondash.errors import AnnotationError
from lesiondash.records import Annotation, Box, Series

WHAT = "A structured report"


def to_sr(series: Series, annotations: Sequence[Annotation]) -> Any:
    """Return a Comprehensive SR (pydicom dataset) with a measurement group for each annotation.

    Boxes and ellipses are planar regions (TID 1410) with area and statistics; lengths and RECIST axes are measurements
    (TID 1501) with their lines; arrows and texts are groups without a measurement. A label that is a lesion type is a
    coded finding site, any other a coded finding of our own scheme, a note is a comment. Coordinates are DICOM's: pixel
    units from the outer corner of the first pixel, as in `Annotation`. Raises `AnnotationError` where there is nothing
    to report, or the files do not name their images.
    """
    import highdicom as hd
    from highdicom import sr
    from pydicom.uid import generate_uid

    from lesiondash import __version__
    from lesiondash.annotations.concepts import MANUFACTURER, procedure

    source_of(series, WHAT)
    if not annotations:
        raise AnnotationError("There is nothing to report; draw an annotation first.")
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MANUFACTURER]), name=MANUFACTURER, model_name=f"{MANUFACTURER} {__version__}"
    )
    observer = sr.ObserverContext(
        observer_type=sr.CodedConcept("121007", "DCM", "Device"), observer_identifying_attributes=device
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=procedure(series),
        imaging_measurements=[_group(series, one, number) for number, one in enumerate(annotations, start=1)],
    )
    return sr.ComprehensiveSR(
        evidence=evidence(series, (one.slice_index for one in annotations)),
        content=report,
        series_instance_uid=hd.UID(),
        series_number=901,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        series_description="Annotations",
    )


def to_bytes(dataset: Any) -> bytes:
    """Return a dataset as a DICOM file (PS3.10)."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _group(series: Series, annotation: Annotation, number: int) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    from lesiondash.annotations.concepts import finding, named, site, tracking_uid

    found = measures(series, annotation)
    where = site(annotation)
    common: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=tracking_uid(series, annotation), identifier=named(annotation, number)
        ),
        "finding_type": finding(annotation),
        "finding_sites": None if where is None else [sr.FindingSite(anatomic_location=where)],
    }
    box = bounds(annotation) if annotation.kind in ("box", "ellipse") else None
    group: Any
    if box is not None:
        group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=_region(series, annotation, box),
            measurements=_region_measurements(series, found),
            **common,
        )
    else:
        lines = _line_measurements(series, annotation, found)
        images = None if lines else [_image(series, annotation, sr.SourceImageForMeasurementGroup)]
        group = sr.MeasurementsAndQualitativeEvaluations(measurements=lines or None, source_images=images, **common)
    if annotation.note.strip():
        comment = sr.TextContentItem(codes.DCM.Comment, annotation.note.strip(), sr.RelationshipTypeValues.CONTAINS)
        group[0].ContentSequence.append(comment)
    return group


def _image(series: Series, annotation: Annotation, kind: Any) -> Any:
    """Refer to the image of an annotation, and to its frame where an image has several."""
    source = source_of(series, WHAT)
    index = annotation.slice_index
    frames = [source.frame_numbers[index]] if is_multi_frame(source) else None
    return kind(source.sop_class_uid, source.sop_instance_uids[index], frames)


def _region(series: Series, annotation: Annotation, box: Box) -> Any:
    from highdicom import sr

    if annotation.kind == "box":
        corners = [(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1), (box.x0, box.y0)]
        points, graphic = np.array(corners), sr.GraphicTypeValues.POLYLINE
    else:
        (x, y), graphic = box.center, sr.GraphicTypeValues.ELLIPSE
        across, down = [(box.x0, y), (box.x1, y)], [(x, box.y0), (x, box.y1)]
        # DICOM wants the major axis first.
        points = np.array([*across, *down] if box.size[0] >= box.size[1] else [*down, *across])
    return sr.ImageRegion(graphic, points, _image(series, annotation, sr.SourceImageForRegion))


def _region_measurements(series: Series, found: Measures) -> list[Any]:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    from lesiondash.annotations.concepts import value_name, value_unit

    listed = [sr.Measurement(codes.SCT.Area, _round(found.area_mm2), codes.UCUM.SquareMillimeter)]
    inside = found.statistics
    if inside is None or not inside.count:
        return listed
    name = value_name(series)
    for derivation, value in (
        (codes.SCT.Mean, inside.mean),
        (codes.SCT.StandardDeviation, inside.sd),
        (codes.SCT.Minimum, inside.minimum),
        (codes.SCT.Maximum, inside.maximum),
    ):
        listed.append(sr.Measurement(name, _round(value), value_unit(series), derivation=derivation))
    return listed


def _line_measurements(series: Series, annotation: Annotation, found: Measures) -> list[Any]:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    points = np.array(annotation.points_px, float)
    lines: list[tuple[Any, float | None, Any]] = []
    if annotation.kind == "length":
        lines = [(codes.SCT.Length, found.length_mm, points)]
    elif found.recist is not None:
        axes = sorted((points[:2], points[2:]), key=lambda ends: -_mm(series, ends))
        lines = [
            (codes.SCT.LongAxis, found.recist.long_mm, axes[0]),
            (codes.SCT.ShortAxis, found.recist.short_mm, axes[1]),
        ]
    return [
        sr.Measurement(
            name,
            _round(value),
            codes.UCUM.Millimeter,
            referenced_coordinates=[
                sr.CoordinatesForMeasurement(
                    sr.GraphicTypeValues.POLYLINE, ends, _image(series, annotation, sr.SourceImageForRegion)
                )
            ],
        )
        for name, value, ends in lines
    ]


def _mm(series: Series, ends: Any) -> float:
    _, y_mm, x_mm = series.spacing_mm
    return float(np.hypot(*((ends[1] - ends[0]) * (x_mm, y_mm))))


def _round(value: float | None) -> float:
    """Round to what a decimal string of 16 characters holds in any case."""
    return round(float(value or 0.0), 6)
