"""From a PACS to a scan on the page, by keyboard alone, in a real Chromium beside a real Orthanc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ct_files import ct_dataset
from orthanc import PASSWORD, USER, Orthanc, orthanc

__all__ = ["orthanc"]
PATIENT = "ID-OF-NOBODY"


@pytest.fixture
def kept(orthanc: Orthanc, tmp_path: Path) -> Orthanc:
    """A server with one series of four slices."""
    for number in range(1, 5):
        stored = np.random.default_rng(number).integers(0, 2000, (64, 64))
        dataset = ct_dataset(stored, 2.5 * number, number)
        dataset.PatientID, dataset.BodyPartExamined, dataset.SeriesNumber = PATIENT, "CHEST", 3
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SeriesInstanceUID}.{number}"
        dataset.StudyInstanceUID = f"{dataset.SeriesInstanceUID}.0"
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    orthanc.keep(sorted(tmp_path.glob("*.dcm")))
    return orthanc


def test_a_series_is_searched_fetched_and_shown_by_keyboard(opened: Any, kept: Orthanc) -> None:
    page = opened.page
    page.locator(".ld-pacs summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    for text in (kept.web, USER, PASSWORD, PATIENT):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    item = page.locator(".ld-found button")
    item.wait_for(timeout=30_000)
    assert item.inner_text().split("\n")[0].startswith("CT · chest · series 3")
    assert "4 images" in item.inner_text()
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.ld-found') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.ld-pacs [role=status]').textContent === 'Fetched.'")
    page.wait_for_function("document.querySelectorAll('.ld-header tbody tr').length > 5", timeout=30_000)
    assert page.evaluate("document.activeElement.closest('.ld-found') !== null"), "the keyboard stays where it was"
    told = page.evaluate("document.body.innerText")
    for secret in (PATIENT, USER, PASSWORD):
        assert secret not in told
    assert page.locator(".ld-pacs input[type=password]").count() == 1
    assert opened.errors == []
    assert opened.outside == []


def test_a_password_on_an_open_line_is_warned_of(opened: Any) -> None:
    page = opened.page
    page.locator(".ld-pacs summary").click()
    page.get_by_label("Password").fill("secret")
    open_lines = ["http://pacs.example/dicom-web", "http://localhost.example/"]
    for url in [*open_lines, "https://pacs.example/", "http://localhost:8042/", "dicom://A@b:104"]:
        page.get_by_label("Server", exact=True).fill(url)
        assert page.get_by_text("This address is not encrypted").is_visible() == (url in open_lines), url
    assert opened.outside == []
