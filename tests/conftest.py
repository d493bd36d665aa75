"""What the tests share: the real demonstration, prepared once, and the page served from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SHARED = CHECKOUT.parent / "shared" / "data"


def run_cli(*arguments: str, data: Path, limit_s: float = 900) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would, with its data folder."""
    return subprocess.run(
        [sys.executable, "-m", "lesiondash.cli", *arguments],
        env={**os.environ, "LESIONDASH_DATA": str(data)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=limit_s,
    )


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder that `lesiondash prepare` fills (kept between runs where LESIONDASH_TEST_DATA names one)."""
    kept = os.environ.get("LESIONDASH_TEST_DATA")
    data = Path(kept) if kept else tmp_path_factory.mktemp("data")
    done = run_cli("prepare", data=data)
    assert done.returncode == 0, done.stderr
    return data


@pytest.fixture
def in_demonstration(demonstration: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, for code that runs in the test's own process."""
    monkeypatch.setenv("LESIONDASH_DATA", str(demonstration))
    return demonstration


@pytest.fixture(scope="session")
def shared_dicom() -> Path:
    """Real DICOM files, where they are."""
    folder = SHARED / "dicom"
    if not folder.is_dir():
        pytest.skip("the real DICOM files of ../shared/data are not on this machine")
    return folder
