"""A training cut off at any moment goes on to the same weights; what is wrong is said, and nothing is lost."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_training import toy_data, toy_settings

from lesiondash.errors import TrainingError, TrainingStopped
from lesiondash.learning import monitor
from lesiondash.learning.dataset import TrainingCrops
from lesiondash.learning.encoder import Encoder
from lesiondash.learning.pretrain import pretrain
from lesiondash.learning.runs import METRICS, START_S, Curves, Run, list_runs, only_one, training_in
from lesiondash.learning.settings import PretrainSettings
from lesiondash.train import default_name, start_process

SCRIPT = Path(__file__).with_name("toy_training.py")
STEPS = 10
SETTINGS = toy_settings("simclr", 4)


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.strip()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose every step is kept and reported."""
    monkeypatch.setattr(monitor, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(monitor, "REPORT_S", 0.0)
    run = Run(tmp_path / "runs" / "toy")
    run.begin(SETTINGS, {"collection": "toy"})
    return run


def cut_at(run: Run, step: int, settings: PretrainSettings = SETTINGS) -> None:
    """Train until a step, and end without a word."""

    class Cut(Exception):
        pass

    def count(done: int, total: int, loss: float) -> None:
        if done == step:
            raise Cut

    with pytest.raises(Cut):
        pretrain(toy_data(), settings, run=run, progress=count)


@pytest.mark.parametrize(("model", "times"), [("simclr", 2), ("vae", 1)])
def test_killed_and_resumed_is_bit_for_bit_the_unbroken_run(model: str, times: int, tmp_path: Path) -> None:
    whole = start(tmp_path / "whole", model, STEPS, 1e9)
    expected = result(whole)
    broken = tmp_path / "broken"
    for kills in range(times):
        process = start(broken, model, STEPS, 0.2)
        before = kills * 3 + 3
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if any(row["step"] >= before for row in Run(broken).metrics()):
                break
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert Run(broken).checkpoint.is_file()
    assert result(start(broken, model, STEPS, 1e9)) == expected
    steps = [row["step"] for row in Run(broken).metrics()]
    assert steps == list(range(1, STEPS + 1))  # each once, although some were done twice


def test_what_was_drawn_is_in_the_folder(run: Run) -> None:
    encoder = pretrain(toy_data(), SETTINGS, run=run)
    from PIL import Image

    for name in ("metrics.png", "views.png"):
        with Image.open(run.folder / name) as picture:
            assert np.asarray(picture).std() > 0
    rows = list(csv.DictReader((run.folder / "metrics.csv").open()))
    assert tuple(rows[0]) == METRICS
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert float(rows[-1]["spread"]) > 0
    assert run.status["state"] == "done"
    assert run.status["encoder"] == encoder.fingerprint
    assert not run.checkpoint.exists()


def test_stop_is_heeded_and_kept(run: Run) -> None:
    def stop(step: int, total: int, loss: float) -> None:
        if step == 2:
            run.ask("stop")

    with pytest.raises(TrainingStopped, match="step 2 of 4"):
        pretrain(toy_data(), SETTINGS, run=run, progress=stop)
    assert len(list(csv.DictReader((run.folder / "metrics.csv").open()))) == 2
    assert (run.folder / "metrics.png").is_file()
    run.ask("go")
    resumed = pretrain(toy_data(), SETTINGS, run=run)
    assert resumed.fingerprint == pretrain(toy_data(), SETTINGS).fingerprint


def test_pause_waits_until_it_may_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []

    def wait(seconds: float) -> None:
        waited.append(json.loads((run.folder / "status.json").read_text())["state"])
        if len(waited) == 3:
            run.ask("go")

    monkeypatch.setattr(monitor.time, "sleep", wait)
    done = pretrain(
        toy_data(), SETTINGS, run=run, progress=lambda step, total, loss: run.ask("pause") if step == 2 else None
    )
    assert waited == ["paused"] * 3
    assert done.fingerprint == pretrain(toy_data(), SETTINGS).fingerprint


def test_a_loss_that_is_no_number_keeps_the_last_good_state(run: Run) -> None:
    cut_at(run, 3)
    kept = run.checkpoint.read_bytes()
    poisoned = replace(SETTINGS, learning_rate=1e30)
    other = Run(run.folder.parent / "poisoned")
    other.begin(poisoned, {})
    with pytest.raises(TrainingError, match=r"no longer numbers|no numbers"):
        pretrain(toy_data(), poisoned, run=other)
    assert run.checkpoint.read_bytes() == kept


def test_a_full_disk_is_said_and_keeps_the_last_good_state(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_at(run, 2)
    kept = run.checkpoint.read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"No space left.*last good state"):
        pretrain(toy_data(), SETTINGS, run=run)
    monkeypatch.undo()
    assert run.checkpoint.read_bytes() == kept
    assert {path.suffix for path in run.folder.iterdir()} <= {".json", ".jsonl", ".safetensors", ".png", ""}


def test_another_dataset_network_or_setting_is_refused_with_both_names(run: Run) -> None:
    cut_at(run, 3)
    changed = toy_data().hu.copy()
    changed[0, 0, 0, 0] += 1
    data = TrainingCrops.of_arrays(changed[:, 0], np.arange(24) // 2)
    with pytest.raises(TrainingError, match=f"another dataset.*{toy_data().fingerprint}.*{data.fingerprint}"):
        pretrain(data, SETTINGS, run=run)
    with pytest.raises(TrainingError, match="another settings"):
        pretrain(toy_data(), toy_settings("vae", 4), run=run)
    with pytest.raises(TrainingError, match="other settings"):
        run.begin(toy_settings("simclr", 5), {})


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"no tensors", lambda b: b""])
def test_a_damaged_checkpoint_is_named(run: Run, damage: Any) -> None:
    cut_at(run, 3)
    run.checkpoint.write_bytes(damage(run.checkpoint.read_bytes()))
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors is damaged"):
        pretrain(toy_data(), SETTINGS, run=run)


def test_two_do_not_train_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lesiondash.learning.runs.LOCK_WAIT_S", 0.1)
    code = (
        "from pathlib import Path; from lesiondash.learning.runs import Run, only_one\n"
        f"with only_one(Run(Path({str(tmp_path / 'first')!r}))): print('in', flush=True); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline().strip() == "in"
    assert training_in(tmp_path) == "first"
    with pytest.raises(TrainingError, match="under way"), only_one(Run(tmp_path / "second")):
        pass
    other.kill()
    other.wait()
    assert training_in(tmp_path) is None
    with only_one(Run(tmp_path / "second")):
        assert training_in(tmp_path) == "second"


def test_a_run_whose_process_died_is_said_to_be_stopped(run: Run) -> None:
    run.say("running", step=7, steps=9, message="")
    assert (run.status["state"], run.status["step"]) == ("stopped", 7)
    with only_one(Run(run.folder.parent / "another")):  # another's process is no proof that this one lives
        assert run.status["state"] == "stopped"
    with only_one(run):
        assert run.status["state"] == "running"


def test_a_run_that_begins_is_starting_until_it_holds_the_folder_or_is_late(run: Run) -> None:
    run.say("starting", step=0, steps=9, message="")
    with only_one(Run(run.folder.parent / "another")):
        assert run.status["state"] == "starting"
    with only_one(run):
        assert run.status["state"] == "running"
    late = time.time() - START_S - 1
    os.utime(run.folder / "status.json", (late, late))
    assert run.status["state"] == "stopped"


def test_runs_are_found_again_the_latest_first(tmp_path: Path) -> None:
    for place, name in enumerate(("old", "new")):
        run = Run(tmp_path / name)
        run.begin(SETTINGS, {})
        os.utime(run.folder / "run.json", (place, place))
    assert [each.name for each in list_runs(tmp_path)] == ["new", "old"]
    assert list_runs(tmp_path)[0].settings == SETTINGS
    with pytest.raises(TrainingError, match="no training 'absent'"):
        _ = Run(tmp_path / "absent").settings


def test_a_line_that_is_being_written_is_left_out(run: Run) -> None:
    run.append({"step": 1, "loss": 2.0})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert run.metrics() == [{"step": 1, "loss": 2.0}]


def test_tensorboard_reads_the_log(run: Run) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pretrain(toy_data(), SETTINGS, run=replace(run, tensorboard=True))
    log = EventAccumulator(str(run.folder / "tensorboard"))
    log.Reload()
    told = {event.step: event.value for event in log.Scalars("loss")}
    assert told == pytest.approx({row["step"]: row["loss"] for row in run.metrics()})


def test_a_run_is_of_one_collection(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match="was begun on the collection toy"):
        run.begin(SETTINGS, {"collection": "another"})
    monkeypatch.setenv("LESIONDASH_DATA", str(tmp_path))
    names = {default_name(SETTINGS, tmp_path / name) for name in ("demo", "one", "two")}
    assert len(names) == 3
    assert default_name(SETTINGS, tmp_path / "demo") == f"simclr-gem-{SETTINGS.digest}"


def test_a_run_that_there_is_not_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training 'absent'"):
        Run(tmp_path / "absent").ask("pause")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("metrics.jsonl", lambda run: run.append({"step": 1})),
        ("metrics.jsonl", lambda run: run.forget_after(0)),
        ("metrics.csv", lambda run: run.write_csv()),
        ("request", lambda run: run.ask("stop")),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_a_file_that_cannot_be_written_is_named_with_what_is_kept(run: Run, name: str, write: Any, kept: bool) -> None:
    (run.folder / name).mkdir()
    if kept:
        run.checkpoint.touch()
    words = "the last good state is kept" if kept else "no state was kept yet"
    with pytest.raises(TrainingError, match=rf"{name} of the run toy cannot be written .*{words}"):
        write(run)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_metrics_on_a_full_disk_are_said(run: Run) -> None:
    (run.folder / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"metrics\.jsonl .*No space left"):
        run.append({"step": 1})


def test_pictures_that_cannot_be_written_end_no_training(run: Run) -> None:
    for name in ("views.png", "metrics.csv"):
        (run.folder / name).mkdir()
    notes = []
    with only_one(run):
        encoder = pretrain(
            toy_data(), SETTINGS, run=run, progress=lambda step, total, loss: notes.append(run.status["message"])
        )
    assert "views.png of the run toy cannot be written" in notes[-1]
    assert run.status["state"] == "done"
    assert "metrics.csv of the run toy cannot be written" in run.status["message"]
    assert Encoder.load(run.encoder).fingerprint == encoder.fingerprint


def test_done_is_said_before_the_checkpoint_goes(run: Run) -> None:
    seen = []

    class Watched(Run):
        def say(self, state: Any, **values: Any) -> None:
            seen.append((state, self.checkpoint.is_file()))
            super().say(state, **values)

    pretrain(toy_data(), SETTINGS, run=Watched(run.folder))
    assert seen[-1] == ("done", True)
    assert not run.checkpoint.exists()


def test_a_run_with_its_encoder_is_done_whatever_was_said_last(run: Run) -> None:
    Encoder.untrained().save(run.encoder)
    run.say("running", step=3, steps=4, message="")
    assert (run.status["state"], run.status["step"]) == ("done", 4)
    with pytest.raises(TrainingError, match="toy is done"):
        start_process(run, SETTINGS, Path("toy"))
    run.encoder.unlink()
    run.say("done", step=4, steps=4, message="")
    assert run.status["state"] == "stopped"


def test_a_breakdown_claims_no_state_that_there_is_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "CHECKPOINT_S", 1e9)
    poisoned = replace(SETTINGS, learning_rate=1e30)
    other = Run(run.folder.parent / "poisoned")
    other.begin(poisoned, {})
    with pytest.raises(TrainingError, match=r"no numbers.*no state was kept yet"):
        pretrain(toy_data(), poisoned, run=other)
    with pytest.raises(TrainingError, match=r"Lower the learning rate\.$"):
        pretrain(toy_data(), poisoned)


def test_curves_are_read_on_from_where_they_were(run: Run) -> None:
    path, curves = run.folder / "metrics.jsonl", Curves(run, points=10)
    assert curves.rows() == []
    for step in range(1, 101):
        run.append({"step": step})
    first = [row["step"] for row in curves.rows()]
    assert (first[0], first[-1]) == (1, 100)
    assert len(first) <= 11
    assert len(set(np.diff(first[:-1]))) == 1
    with path.open("r+b") as file:  # what was read is not read again
        file.write(b"x" * 50)
    run.append({"step": 101})
    with path.open("a") as file:
        file.write('{"step": 102')
    assert [row["step"] for row in curves.rows()] == [*first[:-1], 101]
    run.forget_after(50)  # as a resumption does: another file
    assert curves.rows()[-1]["step"] == 50
