"""A scan on its way into the page: how far it is, and that it can be stopped, while it is sent and while it is read."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

pytestmark = pytest.mark.browser
WORK = ".ld-work:not([hidden])"
SLOW_BYTES_PER_S = 600_000


def drop(page: Any, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Files or zip").click()
    chooser.value.set_files(str(path))


def progress(page: Any) -> float:
    return float(page.locator(f"{WORK} progress").evaluate("bar => bar.value"))


def long_scan(demonstration: Path, path: Path, count: int) -> Path:
    """A zip of many slices, noisy so that they take a while to unpack."""
    case = next(folder for folder in sorted((demonstration / "demo" / "dicom").iterdir()) if folder.is_dir())
    dataset = pydicom.dcmread(next(case.iterdir()))
    noise = np.random.default_rng(0).integers(0, 2000, (512, 512)).astype("<u2")
    dataset.Rows = dataset.Columns = 512
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(count):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
            dataset.SeriesInstanceUID, dataset.InstanceNumber = "1.2.3", number
            dataset.ImagePositionPatient = [0, 0, number]
            dataset.PixelData = np.roll(noise, number).tobytes()
            content = BytesIO()
            dataset.save_as(content, enforce_file_format=True)
            archive.writestr(f"{number}.dcm", content.getvalue())
    return path


def test_an_upload_over_a_slow_link_moves_and_stops(opened: Any, demonstration: Path, tmp_path: Path) -> None:
    page = opened.page
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("padding.bin", bytes(30 * 2**20))
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 20, "downloadThroughput": -1, "uploadThroughput": SLOW_BYTES_PER_S}
    session.send("Network.emulateNetworkConditions", slow)
    drop(page, path)
    page.wait_for_selector(f"{WORK}[data-work=Uploading]")
    page.wait_for_function("document.querySelector('.ld-work progress').value > 0.01")
    first = progress(page)
    assert first < 0.9, "the link is slow"
    page.wait_for_function(f"document.querySelector('.ld-work progress').value > {first}")
    page.get_by_role("button", name="Stop uploading").click()
    page.wait_for_selector(WORK, state="hidden")
    assert "stopped" in page.locator(".ld-said").inner_text()
    session.send("Network.emulateNetworkConditions", {**slow, "latency": 0, "uploadThroughput": -1})
    assert page.locator(".ld-load .ld-item canvas").count() == 0
    case = next(folder for folder in sorted((demonstration / "demo" / "dicom").iterdir()) if folder.is_dir())
    drop(page, next(case.iterdir()))
    page.wait_for_selector(".ld-load .ld-item canvas")
    assert opened.errors == []


def test_reading_leaves_the_page_alive_and_stops(opened: Any, demonstration: Path, tmp_path: Path) -> None:
    page = opened.page
    drop(page, long_scan(demonstration, tmp_path / "long.zip", 150))
    page.wait_for_selector(f"{WORK}[data-work=Reading]", timeout=60_000)
    page.wait_for_function("document.querySelector('.ld-work progress').value > 0")
    page.get_by_role("button", name="Stop reading").click()
    page.get_by_text("Reading was stopped; nothing was loaded.").first.wait_for()
    page.wait_for_selector(WORK, state="hidden")
    assert page.locator(".ld-load .ld-item canvas").count() == 0
    assert opened.errors == []
