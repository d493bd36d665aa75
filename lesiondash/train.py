"""A training as a person starts it: a collection, settings and a run's folder; here, or in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesiondash.errors import LesionDashError, TrainingError, TrainingStopped
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.runs import Run, is_training, only_one
from lesiondash.learning.settings import PretrainSettings
from lesiondash.paths import demo_dir, encoder_path, gallery_dir, runs_dir

if TYPE_CHECKING:
    from lesiondash.learning.encoder import Encoder

Progress = Callable[[str, int, int], None]
BEGIN_S = 20.0


def train(
    run: Run, settings: PretrainSettings, root: Path, *, partial: bool = False, progress: Progress | None = None
) -> Encoder:
    """Train on a collection's training split and keep everything in the run's folder; goes on where it was cut off.

    Under `torchrun` every process calls this; the first one writes. Raises `TrainingStopped` where that was asked for,
    `TrainingError` where another training is under way or this one cannot go on.
    """
    from lesiondash.learning.dataset import training_crops
    from lesiondash.learning.pretrain import pretrain

    first = os.environ.get("RANK", "0") == "0"
    say = progress or (lambda step, done, total: None)
    with ExitStack() as held:
        if first:
            held.enter_context(only_one(run.folder.parent))
            run.begin(settings, {"collection": str(root.resolve()), "partial": partial})
            run.ask("go")
            held.enter_context(_stop_on_signals(run))
            run.say("running", step=0, steps=settings.steps, message="Cutting crops")
        try:
            data = training_crops(
                DeepLesion(root, partial=partial),
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
            raise


def start_process(run: Run, settings: PretrainSettings, root: Path, *, partial: bool = False) -> None:
    """Begin a training in a process that outlives this one, and see it begin.

    Raises `TrainingError` where one is under way, or the process ends at once.
    """
    if is_training(run.folder.parent):
        raise TrainingError("A training is under way; stop it, or wait until it has ended.")
    run.begin(settings, {"collection": str(root.resolve()), "partial": partial})
    run.say("running", step=0, steps=settings.steps, message="Starting")
    process = _spawn(run, "--resume", run.name)
    deadline = time.monotonic() + BEGIN_S
    while not is_training(run.folder.parent) and time.monotonic() < deadline:
        if process.poll() is not None and run.status["state"] != "done":
            raise TrainingError(f"The training of {run.name} did not begin; train.log in its folder says why.")
        time.sleep(0.05)


def use_process(run: Run) -> subprocess.Popen[bytes]:
    """Begin to embed the collection with a run's encoder, in a process that outlives this one."""
    if not run.encoder.is_file():
        raise TrainingError(f"The run {run.name} has no encoder yet; let it end first.")
    return _spawn(run, "--resume", run.name, "--use")


def _spawn(run: Run, *arguments: str) -> subprocess.Popen[bytes]:
    # A notebook's kernel asks for colours, which would fill the log with a progress bar's every move.
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    with (run.folder / "train.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lesiondash.cli", "train", *arguments],
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


def adopt(encoder: Path) -> None:
    """Make an encoder's file the one that searches; the index has to be made anew with `prepare`.

    Raises `TrainingError` where there is no such file, or it cannot be copied.
    """
    if not encoder.is_file():
        raise TrainingError(f"There is no {encoder.name} in {encoder.parent.name} yet; let its training end first.")
    path = encoder_path()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(encoder, part)
        os.replace(part, path)
    except OSError as error:
        raise TrainingError(f"The encoder could not be copied to {path.name} ({error.strerror}).") from error
    finally:
        part.unlink(missing_ok=True)


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
        run.ask("stop")
        signal.signal(number, signal.SIG_DFL)  # a second time ends it at once

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
