"""Series whose place in the patient is known in closed form, for the tests of annotations."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from lesiondash.records import Annotation, Series, Source

ROOT = "1.2.826.0.1.3680043.8.498.77"
OBLIQUE = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
"""Rows run along the patient's y, columns down his z: slices are stacked along −x."""


def marked_series(
    *, slices: int = 5, size: tuple[int, int] = (40, 60), multi_frame: bool = False, **changes: Any
) -> Series:
    """A CT of (y, x) = 2 × 0.5 mm pixels, 3 mm apart; hu = 100 z + x − y; sagittal, first pixel at (10, 20, 30) mm."""
    z, y, x = np.meshgrid(np.arange(slices), np.arange(size[0]), np.arange(size[1]), indexing="ij")
    source = Source(
        study_uid=f"{ROOT}.1",
        series_uid=f"{ROOT}.2",
        frame_of_reference_uid=f"{ROOT}.3",
        sop_class_uid=EnhancedCTImageStorage if multi_frame else CTImageStorage,
        sop_instance_uids=tuple(f"{ROOT}.4.{1 if multi_frame else k + 1}" for k in range(slices)),
        frame_numbers=tuple(k + 1 if multi_frame else 1 for k in range(slices)),
        orientation=OBLIQUE,
        origins_mm=tuple((10.0 - 3 * k, 20.0, 30.0) for k in range(slices)),
    )
    series = Series(
        uid="0123456789abcdef",
        description="CT",
        modality="CT",
        hu=(100 * z + x - y).astype(np.int16),
        spacing_mm=(3.0, 2.0, 0.5),
        positions_mm=tuple(3.0 * k - 10 for k in range(slices)),
        source=source,
    )
    return dataclasses.replace(series, **changes)


def reordered(series: Series, order: list[int]) -> Series:
    """The same series with its slices in another order, or fewer of them."""
    source = series.source
    if source is not None:
        source = dataclasses.replace(
            source,
            sop_instance_uids=tuple(source.sop_instance_uids[k] for k in order),
            frame_numbers=tuple(source.frame_numbers[k] for k in order),
            origins_mm=None if source.origins_mm is None else tuple(source.origins_mm[k] for k in order),
        )
    positions = tuple(series.positions_mm[k] for k in order)
    return dataclasses.replace(series, hu=series.hu[order], positions_mm=positions, source=source)


def marks(series: Series) -> tuple[Annotation, ...]:
    """One annotation of each kind."""
    uid = series.uid
    return (
        Annotation("a", "box", uid, 1, ((10, 5), (30, 15)), "liver", "round, =sharp"),
        Annotation("b", "length", uid, 2, ((4, 4), (12, 7)), "", ""),
        # 24 px × 0.5 mm = 12 mm across, 4 px × 2 mm = 8 mm down
        Annotation("c", "recist", uid, 3, ((10, 20), (34, 20), (20, 18), (20, 22)), "lung", ""),
        Annotation("d", "ellipse", uid, 1, ((20, 10), (40, 30)), "odd thing", "second reader"),
        Annotation("e", "arrow", uid, 0, ((1, 1), (5, 9)), "", "look here"),
        Annotation("f", "text", uid, 4, ((7.5, 8.25),), "", "nothing to see"),
    )
