"""What the tests share: the real demonstration, prepared once, and the page served from it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from running import SHARED, run_cli

from lesiondash.paths import gallery_dir

# No test is timed: a slow moment of the machine is no failure of an example.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The data folder that `lesiondash prepare` fills (kept between runs where LESIONDASH_TEST_DATA names one).

    Processes that run tests side by side have one prepared once, and each its own copy to train and add lesions in.
    """
    alone = worker_id == "master"
    shared = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    data = Path(os.environ.get("LESIONDASH_TEST_DATA", shared / "data"))
    with FileLock(shared / "data.lock"):
        done = run_cli("prepare", data=data)
    assert done.returncode == 0, done.stderr
    if alone:
        return data
    own = tmp_path_factory.mktemp("data") / "data"
    shutil.copytree(data, own, ignore=shutil.ignore_patterns("runs"))
    names = [gallery_dir(folder / "demo").name for folder in (data, own)]  # a gallery is named after its collection
    (own / "galleries" / names[0]).rename(own / "galleries" / names[1])
    return own


@pytest.fixture(scope="session", autouse=True)
def _annotations_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests draw is kept in a folder of this run: a demonstration that is kept stays without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONDASH_ANNOTATIONS", str(tmp_path_factory.mktemp("annotations")))
        yield


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of a few patients."""
    from lesiondash.images.phantom import PhantomSettings, generate

    root = tmp_path_factory.mktemp("small") / "collection"
    generate(root, PhantomSettings(patients=10, dicom_patients=1), workers=1)
    return root


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
    """Order the files: one that prepares the demonstration, those that do without, the others, those with a browser.

    What runs beside the first need not wait for it. Playwright leaves its event loop marked as running in the test's
    thread, where tests after it could have none of their own. A browser test that fails is run once more.
    """
    prepared = {item.path: None for item in items if "demonstration" in getattr(item, "fixturenames", ())}
    first = next((path for path in prepared if "browser" not in path.parts), None)
    for item in items:
        if (
            "browser" in item.path.parts
        ):  # on two busy cores it may miss a frame; the report counts those that were run again
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: ("browser" in item.path.parts, item.path != first, item.path in prepared))
