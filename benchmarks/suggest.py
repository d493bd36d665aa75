"""Suggested boxes on real lesions: how many are among the first k, beside blob detectors and chance.

    python benchmarks/suggest.py

DeepLesion: 50 key slices of all eight types in 8 bits (16 HU a level) with 51 boxes, and every slice of 6 sub-volumes
with 20 pixels or more of a lesion's mask (windowed in 8 bits). LIDC: the central slice of each nodule, 64 × 64 pixels,
masked where two readers or more drew it; there the whole picture counts as body. Found: a suggestion's middle is in the
lesion's box; in brackets, its box overlaps it by IoU .3 or more. Peers are scikit-image's blob_log and blob_dog on
the same windowed picture within the same mask, strongest first, and boxes of our sizes thrown at random on the mask.
Settings were chosen by looking at the 50 key slices; masks and nodules had no part in that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from machine import describe
from page import CHECKOUT
from skimage.feature import blob_dog, blob_log
from skimage.io import imread

from lesiondash.frangi import suggest as ours

DATA = CHECKOUT.parent / "shared" / "data"
LESIONS = DATA / "deeplesion"
NODULES = DATA / "lidc_nodules" / "lidc_nodule_slices_64.npz"
KS = (1, 3, 5, 10, 20)
SPACING_MM, NODULE_SPACING_MM = 0.8, 0.7
"""Taken where the data does not say."""
OVERLAP = 0.3
NODULE_COUNT = 300
READERS = 2
Edges = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Picture:
    hu: np.ndarray
    spacing_mm: float
    lesions: list[Edges]


def key_slices() -> Iterator[Picture]:
    tables = ("DL_info_test_4927.csv", "DL_info_head_original_format.csv")
    rows = pd.concat([pd.read_csv(LESIONS / name) for name in tables])
    known = dict(
        zip(rows["File_name"].str[:-4], rows["Spacing_mm_px_"].str.split(",").str[0].astype(float), strict=True)
    )
    for path in sorted(LESIONS.glob("jpg8_all_types/*/*.tru")):
        grey = imread(path.with_suffix(".jpg")).astype(np.float32)
        grey = grey if grey.ndim == 2 else grey[..., 0]
        lines = [[float(part) for part in line.split()[1:5]] for line in path.read_text().splitlines() if line.strip()]
        boxes = [(x0 * 512, y0 * 512, x1 * 512, y1 * 512) for y0, x0, y1, x1 in lines]
        yield Picture(grey / 255 * 4095 - 1024, known.get(path.stem, SPACING_MM), boxes)


def masked_slices() -> Iterator[Picture]:
    for path in sorted(Path(LESIONS / "npz_masks").glob("*.npz")):
        with np.load(path) as file:
            volume, mask, spacing = file["imgs"], file["gts"] > 0, file["spacing"]
        for k in np.flatnonzero(mask.sum(axis=(1, 2)) >= 20):
            # Stretched to 8 bits: the soft-tissue range that our window is for stands in for HU.
            yield Picture(volume[k] / 255 * 400 - 160.0, float(min(spacing)), [_edges(mask[k])])


def nodules() -> Iterator[Picture]:
    with np.load(NODULES) as file:
        rows, places = file["nodule_row"], file["slice_index"]
        images, masks = file["image"], file["votes"] >= READERS
    order = np.lexsort((places, rows))
    counts = np.bincount(rows)
    central = order[(np.cumsum(counts) - counts + counts // 2)[counts > 0]]
    for k in central[np.linspace(0, len(central) - 1, NODULE_COUNT).astype(int)]:
        if masks[k].any():
            yield Picture(images[k] / 255 * 320.0 - 160, NODULE_SPACING_MM, [_edges(masks[k])])


def _edges(mask: np.ndarray) -> Edges:
    rows, columns = np.nonzero(mask)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


def suggested(picture: Picture) -> list[Edges]:
    found = ours.suggest(picture.hu, spacing_mm=(picture.spacing_mm,) * 2, count=max(KS))
    return [(item.box.x0, item.box.y0, item.box.x1, item.box.y1) for item in found]


def blobs(detect: Callable[..., np.ndarray]) -> Callable[[Picture], list[Edges]]:
    def answer(picture: Picture) -> list[Edges]:
        spacing = (picture.spacing_mm,) * 2
        inside = ours.body(picture.hu, spacing) & ~ours._near_bone(picture.hu, spacing)
        image = ours.WINDOW.apply(picture.hu)
        low, high = (sigma / picture.spacing_mm for sigma in (ours.SIGMAS_MM[0], ours.SIGMAS_MM[-1]))
        scales = {"num_sigma": len(ours.SIGMAS_MM)} if detect is blob_log else {}
        found = detect(image, min_sigma=low, max_sigma=high, threshold=None, threshold_rel=0.05, **scales)
        found = found[[bool(inside[int(y), int(x)]) for y, x, _ in found]] if len(found) else found
        # They come in no order of strength: the contrast of a blob's disc to its surroundings puts them in one.
        strength = [abs(_contrast(image, *blob)) for blob in found]
        half = 1.5
        best = found[np.argsort(strength)[::-1]][: max(KS)]
        return [(x - half * s, y - half * s, x + half * s, y + half * s) for y, x, s in best]

    return answer


def _contrast(image: np.ndarray, y: float, x: float, sigma: float) -> float:
    reach = int(3 * sigma) + 1
    rows, columns = (slice(max(0, int(at) - reach), int(at) + reach + 1) for at in (y, x))
    part = image[rows, columns]
    at_y, at_x = np.mgrid[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]]
    away = np.hypot(at_y - y, at_x - x) / sigma
    return float(part[away < 1.4].mean() - part[(away > 2) & (away < 3)].mean()) if (away > 2).any() else 0.0


def thrown(picture: Picture) -> list[Edges]:
    random = np.random.default_rng(int(abs(picture.hu.sum())) % 2**32)
    spacing = (picture.spacing_mm,) * 2
    rows, columns = np.nonzero(ours.body(picture.hu, spacing))
    if not len(rows):
        return []
    chosen = random.integers(0, len(rows), max(KS))
    halves = 1.5 * random.choice(ours.SIGMAS_MM, max(KS)) / picture.spacing_mm
    return [(columns[i] - h, rows[i] - h, columns[i] + h, rows[i] + h) for i, h in zip(chosen, halves, strict=True)]


def middle_in(found: Edges, lesion: Edges) -> bool:
    x, y = (found[0] + found[2]) / 2, (found[1] + found[3]) / 2
    return lesion[0] <= x <= lesion[2] and lesion[1] <= y <= lesion[3]


def overlap(a: Edges, b: Edges) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def show(name: str, pictures: list[Picture]) -> None:
    total = sum(len(picture.lesions) for picture in pictures)
    print(f"\n{name}: {total} lesions on {len(pictures)} pictures; found among the first k (IoU ≥ {OVERLAP})")
    print(f"{'':<14}" + "".join(f"{k:>14}" for k in KS) + "      ms a picture")
    sides = {"here": suggested, "blob_log": blobs(blob_log), "blob_dog": blobs(blob_dog), "random boxes": thrown}
    for side, answer in sides.items():
        middles, overlaps = np.zeros(len(KS), int), np.zeros(len(KS), int)
        spent = []
        for picture in pictures:
            start = time.perf_counter()
            found = answer(picture)
            spent.append(1000 * (time.perf_counter() - start))
            for lesion in picture.lesions:
                middles += [any(middle_in(each, lesion) for each in found[:k]) for k in KS]
                overlaps += [any(overlap(each, lesion) >= OVERLAP for each in found[:k]) for k in KS]
        cells = (f"{a} ({b})" for a, b in zip(middles, overlaps, strict=True))
        print(f"{side:<14}" + "".join(f"{cell:>14}" for cell in cells) + f"{np.median(spent):>12.0f}")


def main() -> None:
    print(describe())
    show("DeepLesion key slices", list(key_slices()))
    show("DeepLesion masks", list(masked_slices()))
    body = ours.body
    ours.body = lambda hu, spacing_mm: np.ones(hu.shape, bool)  # the crops of nodules hold no outline of a body
    show("LIDC nodules", list(nodules()))
    ours.body = body


if __name__ == "__main__":
    main()
