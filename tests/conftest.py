"""What the tests share: the real demonstration, prepared once, and the page served from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from running import SHARED, run_cli

# No test is timed: a slow moment of the machine is no failure of an example.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder that `lesiondash prepare` fills (kept between runs where LESIONDASH_TEST_DATA names one)."""
    kept = os.environ.get("LESIONDASH_TEST_DATA")
    data = Path(kept) if kept else tmp_path_factory.mktemp("data")
    done = run_cli("prepare", data=data)
    assert done.returncode == 0, done.stderr
    return data


@pytest.fixture(scope="session", autouse=True)
def _annotations_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests draw is kept in a folder of this run: a demonstration that is kept stays without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONDASH_ANNOTATIONS", str(tmp_path_factory.mktemp("annotations")))
        yield


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs a browser last: Playwright leaves its event loop marked as running in the test's thread."""
    items.sort(key=lambda item: "browser" in item.path.parts)
