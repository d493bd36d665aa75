"""The crops of a whole collection at once, one image read per key slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.images.crops import CROP_PX, crop, crop_side_mm, slice_offsets
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.records import Lesion


def collect_crops(
    collection: DeepLesion,
    lesions: Sequence[Lesion] | None = None,
    *,
    size_px: int = CROP_PX,
    margin: float = 1.0,
    slice_offset: int | npt.NDArray[np.intp] = 0,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.int16]:
    """Cut the crop of every lesion (default: all of the collection).

    margin > 1 widens the field of view, as room to shift and rotate. slice_offset, of all or of each, takes a
    neighbouring slice, or the nearest one to it on disk. Returns (n, size_px, size_px) int16 HU, in the lesions' order.
    """
    wanted = collection.lesions if lesions is None else tuple(lesions)
    offsets = np.broadcast_to(slice_offset, len(wanted))
    by_slice: dict[tuple[str, int], list[int]] = {}
    for row, (lesion, offset) in enumerate(zip(wanted, offsets.tolist(), strict=True)):
        by_slice.setdefault((lesion.series_id, _on_disk(collection, lesion, offset)), []).append(row)
    crops = np.empty((len(wanted), size_px, size_px), dtype=np.int16)

    def cut(item: tuple[tuple[str, int], list[int]]) -> int:
        (series_id, index), rows = item
        hu = collection.slice_hu(series_id, index)
        for row in rows:
            crops[row] = _cut_one(hu, wanted[row], size_px, margin)
        return len(rows)

    done = 0
    with ThreadPoolExecutor(max_workers=2) as pool:
        for count in pool.map(cut, by_slice.items()):
            done += count
            if progress and (done % 64 < count or done == len(wanted)):
                progress(done, len(wanted))
    return crops


def collect_stacks(
    collection: DeepLesion, lesions: Sequence[Lesion], slices: int, *, slice_offset: int = 0, **options: Any
) -> npt.NDArray[np.int16]:
    """Cut every lesion's crop from several slices round its own: (n, slices, size_px, size_px); see `collect_crops`."""
    around = np.array([slice_offsets(slices, lesion.spacing_mm[0]) for lesion in lesions], int).reshape(-1, slices)
    parts = [
        collect_crops(collection, lesions, slice_offset=slice_offset + around[:, k], **options) for k in range(slices)
    ]
    return np.stack(parts, axis=1)


def _on_disk(collection: DeepLesion, lesion: Lesion, offset: int) -> int:
    """Return the slice at an offset from the lesion's, or the one nearest to it on the way there."""
    if offset == 0:
        return lesion.slice_index
    present = set(collection.slice_indices(lesion.series_id))
    step = 1 if offset > 0 else -1
    index = lesion.slice_index
    for reached in range(lesion.slice_index + step, lesion.slice_index + offset + step, step):
        if reached not in present:
            break
        index = reached
    return index


def _cut_one(
    hu: npt.NDArray[np.int16], lesion: Lesion, size_px: int, margin: float
) -> npt.NDArray[np.signedinteger[Any]]:
    spacing_mm = lesion.spacing_mm[1:]
    side_mm = crop_side_mm(lesion.box, spacing_mm) * margin
    pixels = crop(hu, lesion.box, spacing_mm=spacing_mm, size_px=size_px, side_mm=side_mm)
    return np.clip(np.rint(pixels), -32768, 32767).astype(np.int16)
