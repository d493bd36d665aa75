"""From the end of a drag on the slice to nine tiles, in Chromium; against the same search in a plain process."""

from __future__ import annotations

import statistics
import time

import numpy as np
from machine import describe
from page import LIVE, chromium_page, dashboard

ROUNDS = 15


def in_the_page() -> list[float]:
    """Milliseconds from the button's release to the tiles of the new box."""
    times = []
    with dashboard() as (url, _, _), chromium_page() as page:
        page.goto(url)
        page.wait_for_selector(LIVE, timeout=120_000)
        page.locator(".ld-load .ld-item").first.click()
        page.wait_for_selector("button.ld-tile")
        page.wait_for_function("document.querySelector('.ld-view').dataset.drawn")
        page.evaluate(
            """() => {
                const tiles = document.querySelector('.ld-results .ld-grid');
                new MutationObserver(() => { window.tilesAt = performance.now(); }).observe(tiles, {childList: true});
                window.addEventListener('pointerup', () => { window.releasedAt = performance.now(); }, true);
            }"""
        )
        bounds = page.locator(".ld-view canvas").first.bounding_box()
        for k in range(ROUNDS):
            x, y = bounds["x"] + bounds["width"] * (0.35 + 0.02 * k), bounds["y"] + bounds["height"] * 0.5
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 30, y + 24, steps=4)
            page.evaluate("window.tilesAt = 0")
            page.mouse.up()
            page.wait_for_function("window.tilesAt > window.releasedAt")
            times.append(page.evaluate("window.tilesAt - window.releasedAt"))
    return times[2:]


def in_a_process() -> list[float]:
    """Milliseconds to crop, embed and search one box."""
    from lesiondash.dashboard.store import Store
    from lesiondash.images.crops import crop
    from lesiondash.paths import demo_dir, encoder_path, gallery_dir

    store = Store(demo_dir(), gallery_dir(demo_dir()), encoder_path())
    times = []
    for lesion in store.gallery.lesions[: ROUNDS + 2]:
        hu = store.collection.slice_hu(lesion.series_id, lesion.slice_index)
        start = time.perf_counter()
        pixels = crop(hu, lesion.box, spacing_mm=lesion.spacing_mm[1:])
        store.gallery.index.search(store.encoder.embed(pixels[None])[0], 9, "cross", query_id=lesion.lesion_id)
        times.append(1000 * (time.perf_counter() - start))
    return times[2:]


def main() -> None:
    print(describe())
    page, process = in_the_page(), in_a_process()
    for name, values in (("box to nine tiles, page", page), ("box to nine hits, process", process)):
        print(f"{name:<28} median {np.median(values):7.0f} ms   max {max(values):7.0f} ms")
    print(f"ratio page to process: {statistics.median(page) / statistics.median(process):.1f}")


if __name__ == "__main__":
    main()
