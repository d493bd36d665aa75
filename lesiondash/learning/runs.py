"""The folder of a training, as files that any process can read: settings, state, metrics, requests. Knows no torch."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from lesiondash.errors import TrainingError
from lesiondash.learning.settings import PretrainSettings

Request = Literal["go", "pause", "stop"]
State = Literal["new", "starting", "running", "paused", "stopped", "failed", "done"]

LIVE: tuple[State, ...] = ("starting", "running", "paused")
LOCK, HOLDER = "training.lock", "training.holder"
LOCK_WAIT_S = 2.0
PROBE_S = 0.02
"""Longer than another process that only looks holds a lock."""
START_S = 120.0
"""How long a process may take to begin: it loads torch first."""
UNDER_WAY = "A training is under way; stop it, or wait until it has ended."
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
        if self.encoder.is_file():  # written last: whatever else was said, this run has its result
            message = status["message"] if status["state"] == "done" else ""
            return {**status, "state": "done", "step": status.get("steps", 0), "message": message}
        if status["state"] == "done":
            return {**status, "state": "stopped", "message": "Its encoder is gone; resumed, it is trained anew."}
        if status["state"] not in LIVE:
            return status
        if training_in(self.folder.parent) == self.name:
            return {**status, "state": "running"} if status["state"] == "starting" else status
        if status["state"] == "starting" and _age_s(self.folder / "status.json") < START_S:
            return status
        return {**status, "state": "stopped", "message": "The process ended without a word; it can be resumed."}

    @property
    def kept(self) -> str:
        """What there is to go on from, as the end of a message."""
        return what_is_kept(self.checkpoint)

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
            with self.writing("run.json"):
                self.folder.mkdir(parents=True, exist_ok=True)
                write_whole(self.folder / "run.json", json.dumps({"settings": settings.to_dict(), **source}, indent=1))

    def tidy(self) -> None:
        """Delete what a killed process had half written; for the one that trains."""
        for part in self.folder.glob(".*.safetensors.*.part"):
            part.unlink(missing_ok=True)

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Raise `TrainingError` where a file of the run cannot be written: which, why, and what is kept."""
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"{name} of the run {self.name} cannot be written ({error.strerror}); {self.kept}. "
                "Make room on the disk, or the folder writable."
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
        with self.writing("request"):
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
        with self.writing("metrics.jsonl"), (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
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
        with self.writing("metrics.jsonl"):
            write_whole(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))

    def write_csv(self) -> None:
        """Write the metrics as `metrics.csv`."""
        path = self.folder / "metrics.csv"
        with self.writing(path.name), path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, METRICS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.metrics())


class Curves:
    """A run's metrics, each look reading only what was added since the last one.

    points: at most so many rows are kept, evenly over the steps, and the last one.
    """

    def __init__(self, run: Run, points: int) -> None:
        self.run, self.points = run, points
        self._forget(None)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows kept, but for a line that is being written."""
        try:
            with (self.run.folder / "metrics.jsonl").open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode or os.fstat(file.fileno()).st_size < self._read:  # written anew by a resumption
                    self._forget(inode)
                file.seek(self._read)
                *lines, _ = file.read().split(b"\n")
        except OSError:
            self._forget(None)
            return []
        for line in lines:
            self._take(line)
        last = [] if (self._count - 1) % self._stride == 0 else [self._last]
        return [row for row in map(_parse, self._kept + last) if row is not None]

    def _forget(self, inode: int | None) -> None:
        self._inode, self._read, self._count, self._stride = inode, 0, 0, 1
        self._kept: list[bytes] = []
        self._last = b""

    def _take(self, line: bytes) -> None:
        self._read += len(line) + 1
        if self._count % self._stride == 0:
            self._kept.append(line)
        if len(self._kept) > self.points:
            self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._count, self._last = self._count + 1, line


def list_runs(folder: Path) -> list[Run]:
    """Return the runs under a folder, the latest first."""
    found = [each.parent for each in folder.glob("*/run.json")]
    return [Run(each) for each in sorted(found, key=lambda each: (each / "run.json").stat().st_mtime, reverse=True)]


def training_in(folder: Path) -> str | None:
    """Return the name of the run that a process trains in this folder of runs; None where none is trained."""
    if not is_held(folder / LOCK):
        return None
    try:
        return (folder / HOLDER).read_text(encoding="utf-8")
    except OSError:  # its name is being written
        return ""


def is_held(path: Path) -> bool:
    """Whether a process holds a lock file."""
    if not path.exists():
        return False
    try:
        with FileLock(path).acquire(timeout=PROBE_S, poll_interval=PROBE_S / 4):
            return False
    except Timeout:
        return True


@contextmanager
def held(path: Path, complaint: str) -> Iterator[None]:
    """Hold a lock file; raises `TrainingError` with the complaint where another process does."""
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=LOCK_WAIT_S)
    except Timeout:
        raise TrainingError(complaint) from None
    except OSError as error:
        raise TrainingError(f"{path} cannot be written ({error.strerror}); make its folder writable.") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def only_one(run: Run) -> Iterator[None]:
    """Hold the folder of runs while training this one; raises `TrainingError` where another process does."""
    holder = run.folder.parent / HOLDER
    with held(run.folder.parent / LOCK, UNDER_WAY):
        with run.writing(HOLDER):
            write_whole(holder, run.name)
        try:
            yield
        finally:
            with suppress(OSError):
                holder.unlink(missing_ok=True)


def what_is_kept(checkpoint: Path) -> str:
    """Say, as the end of a message, whether there is a state to go on from."""
    return "the last good state is kept" if checkpoint.is_file() else "no state was kept yet"


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _parse(line: str | bytes) -> dict[str, Any] | None:
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
