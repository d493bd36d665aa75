"""Several acquisitions at the same places, told apart: passes, echoes, moments, reconstructions."""

from __future__ import annotations

from collections import Counter

import numpy as np

from lesiondash.images.dicom_geometry import SAME_PLACE_MM, in_order
from lesiondash.images.dicom_slices import PASS_NAMES, Slice


def split_passes(slices: list[Slice]) -> tuple[list[list[int]], str | None]:
    """Return the numbers of the slices of each pass, and by what they were told apart.

    There is one pass and None where no two slices lie at one place, or nothing tells the ones that do apart.
    """
    everything = [list(range(len(slices)))]
    order, along_mm = in_order(slices)
    if along_mm is None or len(slices) < 2:
        return everything, None
    place = np.concatenate([[0], np.cumsum(np.diff(along_mm) >= SAME_PLACE_MM)])
    crowd = Counter(place.tolist())
    passes = max(crowd.values())
    if passes == 1:
        return everything, None
    places = {number: int(at) for number, at in zip(order, place, strict=True)}
    for which, name in enumerate(PASS_NAMES):
        parts = _parts_by(slices, which)
        # as many parts as there are slices at a place: more would tear apart what was scanned in one go
        if len(parts) == passes and all(_at_different_places(part, places) for part in parts):
            return parts, name
    if set(crowd.values()) == {passes}:
        by_turn: list[list[int]] = [[] for _ in range(passes)]
        seen: Counter[int] = Counter()
        for number in order:  # at one place they follow their instance numbers
            by_turn[seen[places[number]]].append(number)
            seen[places[number]] += 1
        return by_turn, "instance number"
    return everything, None


def _parts_by(slices: list[Slice], which: int) -> list[list[int]]:
    parts: dict[str, list[int]] = {}
    for number, one in enumerate(slices):
        parts.setdefault(one.passes[which], []).append(number)
    return [parts[value] for value in sorted(parts, key=_sort_key)]


def _sort_key(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def _at_different_places(part: list[int], places: dict[int, int]) -> bool:
    return len({places[number] for number in part}) == len(part)
