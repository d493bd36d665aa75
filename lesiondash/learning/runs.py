"""The folder of a training, as files that any process can read: settings, state, metrics, requests. Knows no torch."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from lesiondash.errors import TrainingError
from lesiondash.learning.settings import PretrainSettings

Request = Literal["go", "pause", "stop"]
State = Literal["new", "running", "paused", "stopped", "failed", "done"]

LOCK = "training.lock"
LOCK_WAIT_S = 2.0
METRICS = (
    "step",
    "loss",
    "rate",
    "views_per_s",
    "remaining_s",
    "spread",
    "rank",
    "alignment",
    "uniformity",
    "knn",
    "memory_mb",
)


@dataclass(frozen=True)
class Run:
    """A training's folder.

    `run.json` holds settings and source, `status.json` the state, `metrics.jsonl` a line a report, `request` what is
    asked of the process, `checkpoint.safetensors` where to resume, `encoder.safetensors` the result, `views.png` what
    the network sees, and once it has stopped or ended `metrics.csv` and `metrics.png` the curves. tensorboard: write
    that log too, in its own folder.
    """

    folder: Path
    tensorboard: bool = False

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def checkpoint(self) -> Path:
        """Where a training resumes."""
        return self.folder / "checkpoint.safetensors"

    @property
    def encoder(self) -> Path:
        """The trained encoder."""
        return self.folder / "encoder.safetensors"

    @property
    def settings(self) -> PretrainSettings:
        """The settings that the run began with; raises `TrainingError` where they cannot be read."""
        return PretrainSettings.from_dict(self.story["settings"])

    @property
    def story(self) -> dict[str, Any]:
        """What `begin` wrote; raises `TrainingError` where there is none."""
        story = _read_json(self.folder / "run.json")
        if not story or "settings" not in story:
            raise TrainingError(f"There is no training {self.name!r} to go on with; start one.")
        return story

    @property
    def status(self) -> dict[str, Any]:
        """state, step, steps, message, device, …; state "stopped" where the process died without a word."""
        status = _read_json(self.folder / "status.json") or {"state": "new", "step": 0, "steps": 0, "message": ""}
        if status["state"] in ("running", "paused") and not is_training(self.folder.parent):
            status = {**status, "state": "stopped", "message": "The process ended without a word; it can be resumed."}
        return status

    def begin(self, settings: PretrainSettings, source: dict[str, Any]) -> None:
        """Make the folder, or find it there; raises `TrainingError` where it is of other settings or data."""
        found = _read_json(self.folder / "run.json")
        if found and found.get("settings") != settings.to_dict():
            raise TrainingError(f"The run {self.name} was begun with other settings; choose another name or resume it.")
        if found and found.get("collection") != source.get("collection"):
            raise TrainingError(
                f"The run {self.name} was begun on the collection {found.get('collection')}; choose another name."
            )
        if not found:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_whole(self.folder / "run.json", json.dumps({"settings": settings.to_dict(), **source}, indent=1))
            except OSError as error:
                raise TrainingError(
                    f"The folder of the run {self.name} cannot be written ({error.strerror})."
                ) from error

    def say(self, state: State, **values: Any) -> None:
        """Write the state; a full disk is no reason to stop for it."""
        try:
            write_whole(self.folder / "status.json", json.dumps({"state": state, "pid": os.getpid(), **values}))
        except OSError:
            return

    def ask(self, request: Request) -> None:
        """Ask the training process to go on, to pause or to stop, at its next step; `TrainingError` if none."""
        if not self.folder.is_dir():
            raise TrainingError(f"There is no training {self.name!r} to ask anything.")
        write_whole(self.folder / "request", request)

    @property
    def asked(self) -> Request:
        """What is asked of the process."""
        try:
            text = (self.folder / "request").read_text(encoding="utf-8").strip()
        except OSError:
            return "go"
        return "pause" if text == "pause" else "stop" if text == "stop" else "go"

    def append(self, metrics: dict[str, Any]) -> None:
        """Add a line to `metrics.jsonl`."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of `metrics.jsonl`, but for one that is being written."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        return [row for row in map(_parse, lines) if row is not None]

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps that will be done again."""
        kept = [row for row in self.metrics() if row["step"] <= step]
        write_whole(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))

    def write_csv(self) -> None:
        """Write the metrics as `metrics.csv`."""
        with (self.folder / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, METRICS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.metrics())


def list_runs(folder: Path) -> list[Run]:
    """Return the runs under a folder, the latest first."""
    found = [each.parent for each in folder.glob("*/run.json")]
    return [Run(each) for each in sorted(found, key=lambda each: (each / "run.json").stat().st_mtime, reverse=True)]


def is_training(folder: Path) -> bool:
    """Whether a process trains in this folder of runs."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder of runs while training; raises `TrainingError` where another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=LOCK_WAIT_S)
    except Timeout:
        raise TrainingError("A training is under way; stop it, or wait until it has ended.") from None
    try:
        yield
    finally:
        lock.release()


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except OSError:
        return None
