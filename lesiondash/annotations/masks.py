"""Boxes and ellipses as a DICOM segmentation: a binary mask, one segment for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.annotations.evidence import evidence, frames_of, is_multi_frame, source_of
from lesiondash.annotations.measure import region_mask
from lesiondash.annotations.place import check_slice
from lesiondash.errors import AnnotationError
from lesiondash.records import Annotation, Series

WHAT = "A segmentation"
MAX_BYTES = 1 << 30


def to_seg(series: Series, annotations: Sequence[Annotation]) -> Any:
    """Return a binary Segmentation (pydicom dataset) of the boxes and ellipses among some annotations.

    A pixel belongs to a segment where its centre lies inside. Other kinds have no area and are passed over. Raises
    `AnnotationError` where there is none with a pixel inside, or the files do not place their slices in the patient.
    """
    import highdicom as hd

    from lesiondash import __version__
    from lesiondash.annotations.concepts import MANUFACTURER

    source = source_of(series, WHAT, placed=True)
    for one in annotations:
        check_slice(series, one)
    drawn = [(one, region_mask(one, series.hu.shape[1:])) for one in annotations]
    drawn = [(one, mask) for one, mask in drawn if mask.any()]
    if not drawn:
        raise AnnotationError("There is no box and no ellipse to make a mask of; draw one first.")
    images = evidence(series, (one.slice_index for one, _ in drawn))
    if is_multi_frame(source):
        if len(images) > 1:
            raise AnnotationError(
                "The annotations lie in several multi-frame files, which one segmentation cannot hold; save JSON."
            )
        frames = frames_of(source, str(images[0].SOPInstanceUID))
        if len(frames) < images[0].NumberOfFrames:
            raise AnnotationError("Not all frames of the multi-frame file are loaded; load the whole file.")
        planes = [frames[number] for number in sorted(frames)]
    else:
        planes = sorted({one.slice_index for one, _ in drawn})
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=_pixels(drawn, planes),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(series, one, number) for number, (one, _) in enumerate(drawn, start=1)],
        series_instance_uid=hd.UID(),
        series_number=902,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number="1",
        content_label="ANNOTATIONS",
        series_description="Annotations, masks",
    )


def _pixels(
    drawn: Sequence[tuple[Annotation, npt.NDArray[np.bool_]]], planes: Sequence[int]
) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Return a label map (plane, y, x), or, where segments share pixels, a mask of each: (plane, y, x, segment)."""
    row_of = {index: row for row, index in enumerate(planes)}
    shape = (len(planes), *drawn[0][1].shape)
    labels = np.zeros(shape, np.uint8 if len(drawn) < 256 else np.uint16)
    shared = False
    for number, (one, mask) in enumerate(drawn, start=1):
        plane = labels[row_of[one.slice_index]]
        shared = shared or bool(plane[mask].any())
        plane[mask] = number
    if not shared:
        return labels
    if np.prod(shape, dtype=float) * len(drawn) > MAX_BYTES:
        raise AnnotationError(
            "So many regions that lie over each other need too much memory in one file; delete some, or save JSON."
        )
    masks = np.zeros((*shape, len(drawn)), np.uint8)
    for number, (one, mask) in enumerate(drawn):
        masks[row_of[one.slice_index], :, :, number] = mask
    return masks


def _segment(series: Series, annotation: Annotation, number: int) -> Any:
    import highdicom as hd
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    from lesiondash.annotations.concepts import finding, named, site, tracking_uid

    where = site(annotation)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=(annotation.label.strip() or named(annotation, number))[:64],
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=finding(annotation),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_uid=tracking_uid(series, annotation),
        tracking_id=named(annotation, number),
        anatomic_regions=None if where is None else [CodedConcept.from_code(where)],
    )
