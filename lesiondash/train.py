"""A training as a person starts it: a collection, settings and a run's folder; here, or in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesiondash.errors import LesionDashError, TrainingError, TrainingStopped
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.runs import UNDER_WAY, Run, held, is_held, only_one, training_in
from lesiondash.learning.settings import PretrainSettings
from lesiondash.paths import demo_dir, encoder_path, gallery_dir, runs_dir
from lesiondash.prepare import index_with

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lesiondash.learning.encoder import Encoder

Progress = Callable[[str, int, int], None]
BEGIN_S = 20.0
LOOK_S = 0.3
IN_USE = "An index is being made already, to search with another encoder; wait until it is."


def train(
    run: Run, settings: PretrainSettings, root: Path, *, partial: bool = False, progress: Progress | None = None
) -> Encoder:
    """Train on a collection's training split and keep everything in the run's folder; goes on where it was cut off.

    Under `torchrun` every process calls this; the first one writes. Raises `TrainingStopped` where that was asked for,
    `TrainingError` where another training is under way or this one cannot go on.
    """
    from lesiondash.learning.dataset import training_crops
    from lesiondash.learning.pretrain import pretrain

    first = is_first_process()
    say = progress or (lambda step, done, total: None)
    with ExitStack() as stack:
        if first:
            stack.enter_context(only_one(run))
            run.begin(settings, {"collection": str(root.resolve()), "partial": partial})
            run.tidy()
            run.ask("go")
            stack.enter_context(_stop_on_signals(run))
        try:
            watched = _Watched(root, run, settings.steps, partial=partial) if first else None
            data = training_crops(
                watched or DeepLesion(root, partial=partial),
                settings,
                progress=lambda done, total: say("Cut training crops", done, total),
            )
            return pretrain(
                data,
                settings,
                run=run,
                progress=lambda step, total, loss: say(f"Train the encoder (loss {loss:.2f})", step, total),
            )
        except BaseException as error:
            if first:
                _say_end(run, error)
                _draw_end(run, error)
            raise


def start_process(run: Run, settings: PretrainSettings, root: Path, *, partial: bool = False) -> None:
    """Begin a training in a process that outlives this one, and see it begin.

    Raises `TrainingError` where one is under way, or the process ends at once.
    """
    if training_in(run.folder.parent) is not None:
        raise TrainingError(UNDER_WAY)
    before = run.status
    if before["state"] == "done":
        raise TrainingError(f"The run {run.name} is done; there is nothing to go on with. Search with it.")
    run.begin(settings, {"collection": str(root.resolve()), "partial": partial})
    step = before["step"]
    run.say("starting", step=step, steps=settings.steps, message="")
    process = _spawn(run, "train", "--resume", run.name)
    deadline = time.monotonic() + BEGIN_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        if run.status["state"] != "starting":
            return
        if ended:
            run.say("stopped", step=step, steps=settings.steps, message="It did not begin; it can be resumed.")
            if training_in(run.folder.parent) is not None:
                raise TrainingError(UNDER_WAY)
            raise TrainingError(f"The training of {run.name} did not begin; train.log in its folder says why.")
        time.sleep(0.05)


def use_process(run: Run, root: Path, *, partial: bool = False) -> subprocess.Popen[bytes]:
    """Begin to `search_with` a run's encoder in a collection, in a process that outlives this one.

    Raises `TrainingError` where the run has none yet, or another is being taken into use.
    """
    if not run.encoder.is_file():
        raise TrainingError(f"The run {run.name} has no encoder yet; let it end first.")
    if is_being_used():
        raise TrainingError(IN_USE)
    return _spawn(run, "use", run.name, "--data", str(root.resolve()), *(["--partial"] if partial else []))


def _spawn(run: Run, *arguments: str) -> subprocess.Popen[bytes]:
    # A notebook's kernel asks for colours, which would fill the log with a progress bar's every move.
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    with run.writing("train.log"), (run.folder / "train.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lesiondash.cli", *arguments],
            env={**environment, "LESIONDASH_DATA": str(run.folder.parent.parent)},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def run_named(name: str) -> Run:
    """Return the run of that name; raises `TrainingError` for a name that is no folder's."""
    if not name or Path(name).name != name or name.startswith("."):
        raise TrainingError(f"A run cannot be called {name!r}; give a name of letters, digits and dashes.")
    return Run(runs_dir() / name)


def encoder_file(name: str | None) -> Path:
    """Return an encoder's file by its path, by its run's name, or the one that searches."""
    if name is None:
        return encoder_path()
    path = Path(name)
    return path if path.suffix == ".safetensors" else run_named(name).encoder


def default_name(settings: PretrainSettings, root: Path) -> str:
    """Return the name of a run: what it trains, digits that its settings decide, and the collection's if not ours."""
    name = f"{settings.title}-{settings.digest}"
    return name if root.resolve() == demo_dir().resolve() else f"{name}-{gallery_dir(root).name}"


def search_with(encoder: Path, root: Path, *, partial: bool = False, progress: Progress | None = None) -> bool:
    """Search a collection with an encoder's file from now on; returns whether its index had to be made.

    The index is made first and the file that searches is exchanged last: cut off before that, everything is as it was.
    Raises `TrainingError` where there is no such file, it cannot be copied, or another is being taken into use.
    """
    if not encoder.is_file():
        raise TrainingError(f"There is no {encoder.name} in {encoder.parent.name} yet; let its training end first.")
    path = encoder_path()
    part = path.with_name(f".{path.name}.next")
    with held(_use_lock(), IN_USE):
        try:
            shutil.copyfile(encoder, part)
            made = index_with(DeepLesion(root, partial=partial), part, progress)
            os.replace(part, path)
        except OSError as error:
            raise TrainingError(
                f"The search index, or {path.name}, cannot be written ({error.strerror}). Make room on the disk."
            ) from error
        finally:
            part.unlink(missing_ok=True)
    return made


def is_first_process() -> bool:
    """Whether this is the only process, or the first of those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


def is_being_used() -> bool:
    """Whether a process makes an index by another encoder, to search with it."""
    return is_held(_use_lock())


def _use_lock() -> Path:
    return encoder_path().with_name("use.lock")


class _Watched(DeepLesion):
    """A collection whose reading says how far it is and heeds requests: of DeepLesion it takes many minutes."""

    def __init__(self, root: Path, run: Run, steps: int, *, partial: bool) -> None:
        self._run, self._known = run, {"step": run.status["step"], "steps": steps}
        self._read, self._said, self._lock = 0, 0.0, threading.Lock()
        self._say("Reading the table")
        super().__init__(root, partial=partial)

    def slice_hu(self, series_id: str, slice_index: int) -> npt.NDArray[np.int16]:
        """Read a slice; raises `TrainingStopped` where that was asked for."""
        with self._lock:  # crops are cut in several threads
            self._read += 1
            if time.monotonic() - self._said >= LOOK_S:
                self._look()
        return super().slice_hu(series_id, slice_index)

    def _look(self) -> None:
        if os.environ.get("WORLD_SIZE", "1") == "1":  # several processes stop together, at a step
            while self._run.asked == "pause":
                self._run.say("paused", **self._known, message="While crops are cut")
                time.sleep(LOOK_S)
            if self._run.asked == "stop":
                raise TrainingStopped("Stopped while crops were cut; it can be resumed.")
        self._say(f"Cutting crops: {self._read:,} slices read")

    def _say(self, message: str) -> None:
        self._run.say("running", **self._known, message=message)
        self._said = time.monotonic()


def _draw_end(run: Run, error: BaseException) -> None:
    """Draw the curves of a training that broke off; one that was stopped has drawn them."""
    if isinstance(error, TrainingStopped):
        return
    from lesiondash.learning.monitor import draw_curves

    with suppress(Exception):  # what broke it off is what has to be said
        draw_curves(run)


def _say_end(run: Run, error: BaseException) -> None:
    status = run.status
    known = {name: status[name] for name in ("step", "steps", "device") if name in status}
    if isinstance(error, TrainingStopped):
        run.say("stopped", message=str(error), **known)
    elif isinstance(error, LesionDashError):
        run.say("failed", message=str(error), **known)
    else:
        run.say("failed", message=f"It ended by {type(error).__name__}; resume it, or look into train.log.", **known)


@contextmanager
def _stop_on_signals(run: Run) -> Iterator[None]:
    """Let an interruption, or being told to end, stop at the next step with everything kept."""

    def ask(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second time ends it at once
        run.ask("stop")  # on a full disk this raises, which ends the training with its sentence

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
    except ValueError:  # not in the main thread: whoever started it has its own ways to stop it
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
