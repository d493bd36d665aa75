"""Which annotations are likely to show one lesion again, in a later study of its patient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from lesiondash.records import Lesion

IN_PLANE_MM = 40.0
Z_NORMALISED = 0.03


def likely_follow_up(a: Lesion, b: Lesion) -> bool:
    """Whether two annotations of a patient in different studies lie at the same place.

    Under 40 mm apart in plane and 0.03 in the normalised height: DeepLesion links no lesions over time, so this is an
    estimate from position alone.
    """
    if a.patient_id != b.patient_id or a.study_id == b.study_id:
        return False
    if not abs(a.normalized_location[2] - b.normalized_location[2]) < Z_NORMALISED:
        return False
    places = [(item.box.center[0] * item.spacing_mm[2], item.box.center[1] * item.spacing_mm[1]) for item in (a, b)]
    return math.dist(*places) < IN_PLANE_MM


def lesion_numbers(lesions: Sequence[Lesion]) -> npt.NDArray[np.int64]:
    """Return a number for each annotation, the same for likely follow-ups of each other: (n,) from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    by_patient: dict[str, list[int]] = {}
    for row, lesion in enumerate(lesions):
        by_patient.setdefault(lesion.patient_id, []).append(row)
    pairs = [
        (i, j)
        for rows in by_patient.values()
        for i, j in combinations(rows, 2)
        if likely_follow_up(lesions[i], lesions[j])
    ]
    first, second = np.array(pairs, int).reshape(-1, 2).T
    links = coo_array((np.ones(len(pairs), bool), (first, second)), shape=(len(lesions), len(lesions)))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)
