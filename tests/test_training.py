"""A training begun, asked and taken into use: what a second process, a kill or an impatient hand finds."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import lesiondash.train as training
from lesiondash.dashboard.store import Store
from lesiondash.errors import CollectionError, LesionDashError, TrainingError, TrainingStopped
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning import runs
from lesiondash.learning.encoder import Encoder
from lesiondash.learning.runs import Run, only_one
from lesiondash.learning.settings import PretrainSettings
from lesiondash.paths import encoder_path, gallery_dir
from lesiondash.prepare import index_with
from lesiondash.retrieval.gallery import read_header
from lesiondash.train import is_being_used, search_with, start_process, train

SETTINGS = PretrainSettings(steps=2, batch=4)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LESIONDASH_DATA", str(tmp_path))
    monkeypatch.setattr(training, "LOOK_S", 0.0)
    return Run(tmp_path / "runs" / "mine")


def wait_for(run: Run, state: str) -> None:
    deadline = time.monotonic() + 60
    while run.status["state"] != state:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_one_that_comes_second_is_said_to_have_stopped(run: Run, small: Path) -> None:
    run.begin(SETTINGS, {"collection": str(small), "partial": False})
    run.say("stopped", step=1, steps=2, message="")
    told: list[TrainingError] = []

    def start() -> None:
        try:
            start_process(run, SETTINGS, small)
        except TrainingError as error:
            told.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    wait_for(run, "starting")
    with only_one(Run(run.folder.parent / "other")):  # before the process, which loads torch first, asks for it
        thread.join()
    assert "under way" in str(told[0])
    assert (run.status["state"], run.status["step"]) == ("stopped", 1)


def test_stop_is_heeded_while_crops_are_cut(run: Run, small: Path) -> None:
    said = []

    def stop(step: str, done: int, total: int) -> None:
        said.append(run.status)
        run.ask("stop")

    with pytest.raises(TrainingStopped, match="while crops were cut"):
        train(run, SETTINGS, small, progress=stop)
    assert len(said) == 1  # of the rounds over the slices
    assert said[0]["state"] == "running"
    assert "slices read" in said[0]["message"]
    assert run.status["state"] == "stopped"


def test_pause_is_heeded_while_crops_are_cut(run: Run, small: Path) -> None:
    def stop_when_paused() -> None:
        wait_for(run, "paused")
        run.ask("stop")

    watcher = threading.Thread(target=stop_when_paused)
    watcher.start()
    with pytest.raises(TrainingStopped):
        train(run, SETTINGS, small, progress=lambda step, done, total: run.ask("pause"))
    watcher.join()


@pytest.fixture
def searched(run: Run, small: Path) -> Encoder:
    """The encoder that searches in the small collection."""
    encoder = Encoder.untrained(seed=0)
    encoder.save(encoder_path())
    index_with(DeepLesion(small), encoder_path())
    return encoder


def opened(root: Path) -> str:
    """Return the fingerprint of the encoder that a page on a collection has."""
    return Store(root, gallery_dir(root), encoder_path()).encoder.fingerprint


def test_the_encoder_is_exchanged_last(
    run: Run, small: Path, searched: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "LOCK_WAIT_S", 0.05)
    fresh = Encoder.untrained(seed=1)
    fresh.save(run.encoder)

    class Cut(Exception):
        pass

    def cut(step: str, done: int, total: int) -> None:
        assert is_being_used()
        with pytest.raises(TrainingError, match="being made already"):
            search_with(run.encoder, small)
        raise Cut

    with pytest.raises(Cut):
        search_with(run.encoder, small, progress=cut)
    assert not is_being_used()
    assert opened(small) == searched.fingerprint
    assert search_with(run.encoder, small)
    assert opened(small) == fresh.fingerprint
    assert not search_with(run.encoder, small)  # it fits already
    assert {path.suffix for path in encoder_path().parent.iterdir()} == {".safetensors", ".lock"}


def test_what_cannot_be_used_leaves_the_search_as_it_was(run: Run, small: Path, searched: Encoder) -> None:
    with pytest.raises(TrainingError, match="let its training end first"):
        search_with(run.encoder, small)
    run.encoder.parent.mkdir(parents=True)
    run.encoder.write_bytes(b"no tensors")
    with pytest.raises(LesionDashError, match="not a safetensors file"):
        search_with(run.encoder, small)
    Encoder.untrained(seed=1).save(run.encoder)
    with pytest.raises(CollectionError):
        search_with(run.encoder, small / "absent")
    assert opened(small) == searched.fingerprint
    header = read_header(gallery_dir(small))
    assert header is not None
    assert header.encoder == searched.fingerprint
