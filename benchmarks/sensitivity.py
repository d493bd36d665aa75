"""How the filter's contrast and overlap move with β and γ on real DeepLesion masks, and what a map costs."""

from __future__ import annotations

import time

import numpy as np
from machine import describe
from page import CHECKOUT
from skimage.filters import frangi

from lesiondash.frangi.sensitivity import OUTCOMES, Axis, sensitivity
from lesiondash.records import FrangiParams

DATA = CHECKOUT.parent / "shared" / "data"
MASKS = DATA / "deeplesion" / "npz_masks"
NODULES = DATA / "lidc_nodules" / "lidc_nodule_slices_64.npz"
NODULE_SLICES = 400
READERS = 2
ROWS, COLUMNS = Axis("beta", (0.3, 0.6, 1.5)), Axis("gamma", (0.01, 0.0444, 0.15, 0.3))
HALF = 32


def regions() -> tuple[np.ndarray, np.ndarray]:
    """Squares of 64 pixels round the lesion on each slice that has some of it: images in [0, 1], and masks."""
    images, masks = [], []
    for path in sorted(MASKS.glob("*.npz")):
        with np.load(path) as file:
            volume, mask = file["imgs"] / 255, file["gts"] > 0
        for k in np.flatnonzero(mask.sum(axis=(1, 2)) >= 20):
            y, x = (int(np.clip(at.mean(), HALF, 512 - HALF)) for at in np.nonzero(mask[k]))
            part = (slice(y - HALF, y + HALF), slice(x - HALF, x + HALF))
            images.append(volume[k][part])
            masks.append(mask[k][part])
    return np.stack(images), np.stack(masks)


def nodules() -> tuple[np.ndarray, np.ndarray]:
    """Slices of LIDC nodules spread over all of them; inside is where two readers or more drew it."""
    with np.load(NODULES) as file:
        chosen = np.linspace(0, len(file["image"]) - 1, NODULE_SLICES).astype(int)
        images, masks = file["image"][chosen] / 255, file["votes"][chosen] >= READERS
    kept = masks.any(axis=(1, 2))
    return images[kept], masks[kept]


def show(name: str, images: np.ndarray, masks: np.ndarray) -> float:
    """Print the maps of both outcomes; returns the seconds of the last."""
    took = 0.0
    for outcome in ("contrast", "overlap"):
        start = time.perf_counter()
        *_, found = sensitivity(images, masks, FrangiParams(), ROWS, COLUMNS, outcome)
        took = time.perf_counter() - start
        print(f"{name}: {OUTCOMES[outcome]}, {found.regions} slices, {took:.1f} s")
        print(f"{'beta, gamma →':>14}" + "".join(f"{value:>16g}" for value in COLUMNS.values))
        for value, mean, spread in zip(ROWS.values, found.mean, found.spread, strict=True):
            print(f"{value:>14g}" + "".join(f"{m:>9.3f} ± {s:.2f}" for m, s in zip(mean, spread, strict=True)))
    return took


def main() -> None:
    print(describe())
    show("LIDC nodules", *nodules())
    images, masks = regions()
    took = show("DeepLesion masks", images, masks)
    start = time.perf_counter()
    frangi(images[0], sigmas=[1 + 0.2 * k for k in range(41)], black_ridges=False)
    peer = (time.perf_counter() - start) * len(ROWS.values) * len(COLUMNS.values) * len(images)
    print(f"the last map {took:.1f} s; each cell filtered anew by scikit-image {peer:.0f} s, ratio {peer / took:.0f}")


if __name__ == "__main__":
    main()
