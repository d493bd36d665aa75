"""What a query of the evaluation may find, and what of it counts as found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.images.followups import likely_follow_up
from lesiondash.records import UNLABELLED, Lesion

EvalScope = Literal["all", "same", "cross", "same-strict", "track", "released-code", "released-code-same"]
EVAL_SCOPES: tuple[EvalScope, ...] = get_args(EvalScope)
NEAR_Z_MM = 10.0
NEAR_IN_PLANE_MM = 20.0
OVERLAP_Z_MM = 5.0
CROP_MM = 50.0
CROP_MARGIN = 1.5
Pairs = npt.NDArray[np.bool_]


class Galleries:
    """For each lesion of a split, which others a scope lets it find; (n, n) booleans, a query a line.

    "all": every other lesion but near duplicates, "same" and "cross" those of its own patient and of others.
    "same-strict" leaves likely follow-ups out of "same"; "track" keeps only other studies of "same", and there a
    lesion's likely follow-up is what counts, not its type. "released-code" and "released-code-same" are what the
    paper's released code does: nothing left out, the query itself in its own gallery.
    """

    def __init__(self, lesions: Sequence[Lesion]) -> None:
        self.lesions = tuple(lesions)
        self.duplicates = near_duplicates(lesions)
        self.follow_ups = follow_up_pairs(lesions)
        self._same_patient = _equal([lesion.patient_id for lesion in lesions])
        self._same_study = _equal([lesion.study_id for lesion in lesions]) & self._same_patient
        self._same_type = _equal([lesion.type for lesion in lesions])
        self._labelled = np.array([lesion.type != UNLABELLED for lesion in lesions], bool)

    def allowed(self, scope: EvalScope) -> Pairs:
        """Return what each query may find; raises `SearchError` for an unknown scope."""
        checked_scopes([scope])
        if scope.startswith("released-code"):
            return self._same_patient.copy() if scope.endswith("same") else np.ones_like(self.duplicates)
        found = ~self.duplicates
        if scope == "cross":
            found &= ~self._same_patient
        elif scope != "all":
            found &= self._same_patient
        if scope == "same-strict":
            found &= ~self.follow_ups
        elif scope == "track":
            found &= ~self._same_study
        return found

    def relevant(self, scope: EvalScope) -> Pairs:
        """Return what counts as found: lesions of the query's type, in "track" its likely follow-ups."""
        return self.follow_ups if scope == "track" else self._same_type & self._labelled[None, :]

    def asks(self, scope: EvalScope) -> npt.NDArray[np.bool_]:
        """Return which lesions are queries: all with a type, in "track" all."""
        return np.ones(len(self.lesions), bool) if scope == "track" else self._labelled


def checked_scopes(names: Sequence[str]) -> tuple[EvalScope, ...]:
    """Return scopes by their names, each once; raises `SearchError` for an unknown one."""
    for name in names:
        if name not in EVAL_SCOPES:
            raise SearchError(f"The scope is {name!r}; choose one of {', '.join(EVAL_SCOPES)}.")
    return tuple(scope for scope in EVAL_SCOPES if scope in names)


def near_duplicates(lesions: Sequence[Lesion]) -> Pairs:
    """Return for each pair, (n, n) symmetric, whether one may not be found from the other; True on the diagonal.

    Near duplicates lie in the same series and either within 10 mm along z and 20 mm in-plane between box centres, or
    within 5 mm along z with overlapping crops. A crop is a square about the box, of max(50, 1.5 × the longer side)
    mm. z in mm is slice_index × the spacing's magnitude. Bounds are inclusive.
    """
    codes = np.unique([lesion.series_id for lesion in lesions], return_inverse=True)[1]
    z_mm, y_mm, x_mm, half_mm = np.array([_place_mm(lesion) for lesion in lesions], dtype=np.float64).reshape(-1, 4).T
    result = np.eye(len(lesions), dtype=bool)
    for code in range(int(codes.max(initial=-1)) + 1):
        group = np.flatnonzero(codes == code)
        z, y, x = (np.abs(np.subtract.outer(axis[group], axis[group])) for axis in (z_mm, y_mm, x_mm))
        reach = np.add.outer(half_mm[group], half_mm[group])
        near = (z <= NEAR_Z_MM) & (np.hypot(y, x) <= NEAR_IN_PLANE_MM)
        overlap = (z <= OVERLAP_Z_MM) & (y < reach) & (x < reach)
        result[np.ix_(group, group)] |= near | overlap
    return result


def follow_up_pairs(lesions: Sequence[Lesion]) -> Pairs:
    """Return for each pair, (n, n) symmetric, whether one is likely the other in another study."""
    of_patient: dict[str, list[int]] = {}
    for row, lesion in enumerate(lesions):
        of_patient.setdefault(lesion.patient_id, []).append(row)
    result = np.zeros((len(lesions), len(lesions)), bool)
    for rows in of_patient.values():
        for i, j in combinations(rows, 2):
            result[i, j] = result[j, i] = likely_follow_up(lesions[i], lesions[j])
    return result


def check_apart(first: Sequence[Lesion], second: Sequence[Lesion]) -> None:
    """Raise `SearchError` where two splits share a patient: what was learned from one would be scored on the other."""
    shared = {lesion.patient_id for lesion in first} & {lesion.patient_id for lesion in second}
    if shared:
        raise SearchError(f"{len(shared)} patients are in two splits at once; scores would be too good. Split anew.")


def _place_mm(lesion: Lesion) -> tuple[float, float, float, float]:
    """Return the box's centre (z, y, x) and half the side of its crop, in mm."""
    step_z, step_y, step_x = (abs(step) for step in lesion.spacing_mm)
    x, y = lesion.box.center
    width, height = lesion.box.size
    side = max(CROP_MM, CROP_MARGIN * max(width * step_x, height * step_y))
    return lesion.slice_index * step_z, y * step_y, x * step_x, side / 2


def _equal(names: Sequence[str]) -> Pairs:
    codes = np.unique(names, return_inverse=True)[1]
    return np.asarray(codes[:, None] == codes[None, :])
