"""From a moved slider to the new picture, on a region and on a 512 × 512 slice, beside scikit-image's own filter."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from machine import describe
from page import CHECKOUT, LIVE, chromium_page, dashboard
from skimage.filters import frangi

MOVES = 40
SCAN = CHECKOUT.parent / "shared" / "data" / "dicom" / "ge_thorax_3slice"
MOVE = """async (count) => {
    const el = document.querySelector('.ld-tune'), slider = el.querySelector('input[data-name=beta]'), times = [];
    for (let i = 0; i < count; i += 1) {
        const start = performance.now();
        const shown = new Promise((done) => {
            const watch = new MutationObserver(() => { watch.disconnect(); requestAnimationFrame(() => done()); });
            watch.observe(el, { attributes: true, attributeFilter: ['data-seq'] });
        });
        slider.value = 0.3 + 0.05 * (i % 7);
        slider.dispatchEvent(new Event('input'));
        await shown;
        times.push(performance.now() - start);
        await new Promise((done) => setTimeout(done, 60));
    }
    return times;
}"""


def peer_ms(side: int) -> float:
    """scikit-image's filter of 41 scales on an image of that side, once."""
    image = np.random.default_rng(0).random((side, side))
    start = time.perf_counter()
    frangi(image, sigmas=[1 + 0.2 * k for k in range(41)], black_ridges=False)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    print(describe())
    with dashboard() as (url, _, __), chromium_page() as page:
        page.goto(url)
        page.wait_for_selector(LIVE, timeout=120_000)
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Files or zip").click()
        chooser.value.set_files([str(path) for path in sorted(Path(SCAN).iterdir())])
        page.wait_for_function("document.querySelector('.ld-tune').dataset.peak > 0", timeout=20_000)
        for area, side in (("region", 64), ("slice", 512)):
            page.get_by_label("area").select_option(area)
            page.wait_for_timeout(6_000)
            times = page.evaluate(MOVE, MOVES)
            peer = peer_ms(side)
            middle = statistics.median(times)
            size = page.evaluate("[...document.querySelectorAll('.ld-tune canvas')].map((each) => each.width)[0]")
            print(
                f"{area} ({size} px)   median {middle:6.1f} ms   largest {max(times):6.1f} ms   "
                f"scikit-image's filter alone {peer:8.1f} ms   ratio {peer / middle:6.1f}"
            )


if __name__ == "__main__":
    main()
