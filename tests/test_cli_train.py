"""`lesiondash train` as a person types it, on a collection of a few patients."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lesiondash.cli import app
from lesiondash.cli_train import _use
from lesiondash.errors import TrainingError
from lesiondash.images import phantom
from lesiondash.images.phantom import PhantomSettings, generate
from lesiondash.learning import monitor
from lesiondash.learning.encoder import Encoder
from lesiondash.learning.runs import Run
from lesiondash.prepare import draw_demonstration

SHORT = ("--steps", "1", "--batch", "4", "--pool", "avg", "--windows", "1", "--frangi", "channel")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LESIONDASH_DATA", str(tmp_path))
    return tmp_path


def train(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["train", *arguments])


def test_a_run_is_trained_once_and_its_name_belongs_to_it(small: Path, data: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    done = train(*SHORT, "--data", str(small), "--name", "mine")
    assert signal.getsignal(signal.SIGINT) is before  # a training's own way to be interrupted ends with it
    assert done.exit_code == 0, done.output
    assert "hardly moves the weights" in done.output  # one step of LARS: said with its numbers
    seen = Encoder.load(data / "runs" / "mine" / "encoder.safetensors").architecture
    assert (seen.pool, seen.frangi, len(seen.windows), seen.channels) == ("average", "channel", 1, 2)
    again = train(*SHORT, "--data", str(small), "--name", "mine")
    assert again.exit_code == 0
    assert "was trained before" in again.output
    other = train(*SHORT, "--seed", "5", "--data", str(small), "--name", "mine")
    assert other.exit_code == 2
    assert "other settings" in other.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--windows", "2"), "choose 1 or 3"),
        (("--steps", "3", "--epochs", "3"), "either --epochs"),
        (("--model", "gan"), "simclr, vae"),
        (("--resume", "absent"), "no training 'absent'"),
        (("--name", "../else"), "cannot be called"),
    ],
)
def test_what_cannot_be_trained_is_said(arguments: tuple[str, ...], words: str, small: Path) -> None:
    done = train(*arguments, "--data", str(small))
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_a_training_that_breaks_down_leaves_its_curves(
    small: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "REPORT_S", 0.0)
    run = Run(data / "runs" / "wild")
    run.folder.mkdir(parents=True)
    half = run.folder / ".checkpoint.safetensors.0123abcd.part"  # as a kill leaves it
    half.touch()
    done = train("--steps", "9", "--batch", "4", "--lr", "1e30", "--data", str(small), "--name", "wild")
    assert done.exit_code == 2
    assert "no state was kept yet" in " ".join(done.output.split())
    assert run.status["state"] == "failed"
    assert (run.folder / "metrics.csv").is_file()
    assert not half.exists()


def test_used_encoders_are_named_by_their_run(small: Path, data: Path) -> None:
    refused = CliRunner().invoke(app, ["use", "absent", "--data", str(small)])
    assert refused.exit_code == 2
    assert "let its training end first" in " ".join(refused.output.split())


def test_of_several_processes_the_first_alone_searches_with_the_encoder(
    small: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    _use(data / "absent.safetensors", small, False)
    assert not any(data.iterdir())
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(TrainingError, match="no absent"):
        _use(data / "absent.safetensors", small, False)


def test_of_several_processes_one_draws_the_demonstration(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []

    def few(root: Path, **options: Any) -> None:
        drawn.append(root)
        generate(root, PhantomSettings(patients=10, dicom_patients=1), workers=1, **options)

    monkeypatch.setattr(phantom, "generate", few)  # the whole of it takes minutes
    with ThreadPoolExecutor(3) as pool:
        found = [task.result() for task in [pool.submit(draw_demonstration) for _ in range(3)]]
    assert sorted(found) == [False, False, True]
    assert drawn == [data / "demo"]
    assert (data / "demo" / "manifest.json").is_file()
