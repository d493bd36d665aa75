"""Scrolling and windowing a series of 300 slices in the page: frames a second, bytes a slice, words to the kernel.

    python benchmarks/viewer.py

Headless Chromium, software rendering. The first pass fetches every slice on its way, the second has them; each frame
asks for the next slice, so that what is counted is what the page can draw, not how fast a wheel turns. Windowing is 60
moves of a drag, a frame each. The peer in the same run is the same canvas that draws one ready picture a frame. Bytes
and messages are counted in a second browser: one whose network is listened to copies every slice to the listener.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from machine import describe
from page import LIVE, chromium_page, dashboard
from plain_browser import plain_page
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SLICES, SIDE = 300, 512
FRAMES_BAR = 30
ALIVE = "[...document.querySelectorAll('.ld-chip')].some((chip) => chip.textContent.includes('device'))"
READY = """document.querySelector('.ld-view').dataset.drawn
  && document.querySelector('.ld-view input[type=range]').max !== '0'"""
SCROLL = """async ([from, to]) => {
  const view = document.querySelector('.ld-view'), canvas = view.querySelector('canvas'), step = Math.sign(to - from);
  const frame = () => new Promise(requestAnimationFrame);
  const start = performance.now();
  let frames = 0, drawn = 0, slowest = 0, last = start;
  while (Number(view.dataset.slice) !== to) {
    if (view.dataset.drawn) canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: 100 * step, cancelable: true }));
    await frame();
    frames += 1;
    const now = performance.now();
    slowest = Math.max(slowest, now - last); last = now;
    if (view.dataset.drawn) drawn += 1;
    if (now - start > 120000) break;
  }
  return { seconds: (performance.now() - start) / 1000, frames, drawn, slowest };
}"""
PLAIN = """async (count) => {
  const canvas = document.querySelector('.ld-view canvas'), context = canvas.getContext('2d');
  const ready = await createImageBitmap(canvas), start = performance.now();
  for (let i = 0; i < count; i += 1) { context.drawImage(ready, 0, 0); await new Promise(requestAnimationFrame); }
  return count / ((performance.now() - start) / 1000);
}"""


def write_series(folder: Path) -> None:
    """Write a CT series of smooth noise in a body's outline, no two slices alike."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    body = ((y - 256) ** 2 + (x - 256) ** 2) < 200**2
    series, study = generate_uid(), generate_uid()
    for k in range(SLICES):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        path = folder / f"{k:04d}.dcm"
        item = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID, item.Modality = CTImageStorage, meta.MediaStorageSOPInstanceUID, "CT"
        item.SeriesInstanceUID, item.StudyInstanceUID, item.InstanceNumber = series, study, k + 1
        item.ImagePositionPatient, item.ImageOrientationPatient = [0, 0, float(k)], [1, 0, 0, 0, 1, 0]
        item.PixelSpacing, item.SliceThickness = [0.8, 0.8], 1.0
        item.Rows = item.Columns = SIDE
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation, item.RescaleSlope, item.RescaleIntercept = 15, 1, 1, 0
        hu = np.where(body, 40 + 60 * np.sin(x / 20 + k / 9), -1000) + random.normal(0, 20, (SIDE, SIDE))
        item.PixelData = hu.astype("<i2").tobytes()
        pydicom.dcmwrite(path, item, enforce_file_format=True)


class Wire:
    """What goes over the page's sockets."""

    def __init__(self, page: Any) -> None:
        self.sent = self.received = self.messages = 0
        page.on("websocket", self._watch)

    def _watch(self, socket: Any) -> None:
        socket.on("framesent", self._send)
        socket.on("framereceived", lambda data: setattr(self, "received", self.received + len(data)))

    def _send(self, data: str | bytes) -> None:
        self.sent += len(data)
        self.messages += 1


def windowing(page: Any, wire: Wire) -> int:
    """Drag the window for 60 frames; returns how many messages went to the kernel before the hand came to rest."""
    page.locator(".ld-view").get_by_role("button", name="W Window").click()
    bounds = page.locator(".ld-view canvas").first.bounding_box()
    page.wait_for_timeout(1000)
    x, y = bounds["x"] + 200, bounds["y"] + 200
    page.mouse.move(x, y)
    page.mouse.down()
    before = wire.messages
    for k in range(60):
        page.mouse.move(x + k, y - k / 2)
    during = wire.messages - before
    page.mouse.up()
    return during


PASSES = (("first pass", SLICES // 2 - 1, SLICES - 1), ("back, fetched", SLICES - 1, SLICES // 2 - 1))


def rates(url: str, files: list[Path]) -> None:
    """Print slices a second, there and back."""
    with plain_page() as page:
        page.call("Page.navigate", url=url)
        page.wait(ALIVE)
        page.choose(".ld-drop input[multiple]", files)
        page.wait(READY)
        time.sleep(5)
        for title, start, end in PASSES:
            found = page.value(f"({SCROLL})([{start}, {end}])")
            rate = abs(end - start) / found["seconds"]
            said = "pass" if rate >= FRAMES_BAR else "MISS"
            slowest = f"slowest frame {found['slowest']:.0f} ms"
            print(f"{title:<14} {rate:6.1f} slices/s, at least {FRAMES_BAR} {said}; {slowest}")
        print(f"one ready picture a frame: {page.value(f'({PLAIN})(120)'):.1f} frames/s")


def words(url: str, folder: Path) -> None:
    """Print bytes and messages of a slice, there and back, and messages while windowing."""
    with chromium_page() as page:
        wire = Wire(page)
        page.goto(url)
        page.wait_for_selector(LIVE, timeout=120_000)
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Folder").click()
        chooser.value.set_files(str(folder))
        page.wait_for_function(READY, timeout=300_000)
        page.locator(".ld-view canvas").first.focus()
        page.wait_for_timeout(3000)
        for title, start, end in PASSES:
            wire.sent = wire.received = wire.messages = 0
            page.evaluate(SCROLL, [start, end])
            count = abs(end - start)
            told = f"{wire.received / count / 1000:.1f} kB received, {wire.messages / count:.2f} messages sent a slice"
            print(f"{title:<14} {told}")
        print(f"messages while windowing: {windowing(page, wire)}, at most 0")


def main() -> None:
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "series"
        folder.mkdir()
        write_series(folder)
        with dashboard() as (url, _, _):
            rates(url, sorted(folder.iterdir()))
        with dashboard() as (url, _, _):
            words(url, folder)


if __name__ == "__main__":
    main()
