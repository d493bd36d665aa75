"""A series of 300 MB dropped on the page: seconds until its slice is seen, the kernel's memory, and a slow link."""

from __future__ import annotations

import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from page import LIVE, chromium_page, dashboard
from plain_browser import plain_page
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SLICES = 572
"""Of 512 × 512 pixels of 16 bits: 300 MB."""
SLOW_BYTES_PER_S = 1_000_000
SHOWN = "document.querySelectorAll('.ld-load .ld-item canvas').length > 0"
ALIVE = "[...document.querySelectorAll('.ld-chip')].some((chip) => chip.textContent.includes('device'))"
DRAWN = f"{SHOWN} && document.querySelector('.ld-view').dataset.drawn"
WORK = ".ld-work:not([hidden])"


def write_series(folder: Path) -> int:
    """Write the series, one file a slice, its pixels like those of a scan; returns its bytes."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    body = np.where(x**2 + y**2 < 0.8, 1064, 24) + rng.normal(0, 20, (512, 512))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.Modality, dataset.SeriesInstanceUID = CTImageStorage, "CT", generate_uid()
    dataset.Rows = dataset.Columns = 512
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.8], 1
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    total = 0
    for number in range(SLICES):
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber, dataset.ImagePositionPatient = number + 1, [0, 0, number * 7 % SLICES]
        dataset.PixelData = np.roll(body, number, 1).clip(0, 4095).astype("<u2").tobytes()
        content = BytesIO()
        dataset.save_as(content, enforce_file_format=True)
        total += (folder / f"{number:04d}.dcm").write_bytes(content.getvalue())
    return total


def family(server: int) -> list[int]:
    """Return the processes below a server."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found = {server}
    for _ in range(5):
        found |= {child for child, parent in parents.items() if parent in found}
    return sorted(found)


def kernel_of(server: int) -> Path:
    """Return the /proc folder of the kernel with the most memory below a server."""
    kernels = []
    for pid in family(server):
        place = Path("/proc", str(pid))
        if b"ipykernel" in (place / "cmdline").read_bytes():
            kernels.append((memory_mb(place, "VmRSS"), place))
    return max(kernels)[1]


def memory_mb(kernel: Path, name: str) -> float:
    """Return a line of a process's status in MB: VmRSS now, VmHWM at its peak."""
    lines = (kernel / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 * 1.024 for line in lines if line.startswith(name))


def choose(page: Any, files: list[Path]) -> float:
    """Hand files over as a hand does; returns the moment."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Files or zip").click()
    chooser.value.set_files([str(path) for path in files])
    return time.perf_counter()


def drop_it(url: str, server: int, files: list[Path], size: int) -> None:
    """Drop the series and print what it took."""
    with plain_page() as page:
        page.call("Page.navigate", url=url)
        page.wait(ALIVE)
        time.sleep(3)
        kernel = kernel_of(server)
        (kernel / "clear_refs").write_text("5")  # the peak begins anew
        before = memory_mb(kernel, "VmRSS")
        start = page.choose(".ld-drop input[multiple]", files)
        uploaded = page.wait("document.querySelector('.ld-work').dataset.work === 'Reading'") - start
        seconds = page.wait(DRAWN) - start
        above = memory_mb(kernel, "VmHWM") - before
    volume = SLICES * 512 * 512 * 2 / 1e6
    what = f"{size / 1e6:.0f} MB in {len(files)} files"
    print(f"{what}   slice visible after {seconds:.1f} s (uploaded after {uploaded:.1f} s)")
    memory = f"kernel {before:.0f} MB before, {above:.0f} MB above it at the peak"
    print(f"{memory}   volume {volume:.0f} MB   ratio {above / volume:.2f}")


def slow_link(page: Any, files: list[Path]) -> None:
    """Drop it over a slow link, look at the progress, and stop it."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 50, "downloadThroughput": -1, "uploadThroughput": SLOW_BYTES_PER_S}
    session.send("Network.emulateNetworkConditions", slow)
    count = page.locator(".ld-load .ld-item canvas").count()
    start = choose(page, files)
    shares, value = [], "document.querySelector('.ld-work progress').value"
    page.wait_for_selector(f"{WORK}[data-work=Uploading]")
    while time.perf_counter() - start < 15:
        page.wait_for_timeout(250)
        shares.append(float(page.evaluate(value)))
    steps = len({share for share in shares if 0 < share < 1})
    asked = time.perf_counter()
    page.get_by_role("button", name="Stop uploading").click()
    page.wait_for_selector(WORK, state="hidden")
    stopped = 1000 * (time.perf_counter() - asked)
    page.wait_for_timeout(2_000)
    left = page.locator(".ld-load .ld-item canvas").count() - count
    rate = SLOW_BYTES_PER_S / 1e6
    print(
        f"slow link ({rate:g} MB/s)   {steps} steps of progress in 15 s, {100 * max(shares):.1f} % sent   "
        f"stopped {stopped:.0f} ms after the button; {left} series left of it"
    )


def main() -> None:
    print(describe())
    with tempfile.TemporaryDirectory() as folder, dashboard() as (url, _, server):
        size = write_series(Path(folder))
        files = sorted(Path(folder).iterdir())
        drop_it(url, server, files, size)
        with chromium_page() as page:
            page.goto(url)
            page.wait_for_selector(LIVE, timeout=120_000)
            slow_link(page, files)


if __name__ == "__main__":
    main()
