"""What a training tells and heeds: metrics, checkpoints, requests to pause or stop, and the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from lesiondash.errors import TrainingError, TrainingStopped
from lesiondash.learning.dataset import TrainingCrops
from lesiondash.learning.distributed import World
from lesiondash.learning.encoder import Encoder
from lesiondash.learning.figures import draw_metrics, draw_views
from lesiondash.learning.meters import alignment, effective_rank, knn_accuracy, spread, uniformity
from lesiondash.learning.models import VAE, SimCLR
from lesiondash.learning.runs import Run
from lesiondash.learning.settings import PretrainSettings
from lesiondash.learning.snapshot import put_back, read_snapshot, save_snapshot
from lesiondash.learning.statistics import plain_network, vectors_now

LOOK_EVERY_CUDA = 20
"""Steps between looks at the loss: each makes the host wait for the GPU."""
REPORT_S = 0.5
METERS_S = 5.0
METERS_SHARE = 0.05
"""Of the time, at most, for measuring."""
CHECKPOINT_S = 30.0
PAUSE_S = 0.1
METER_CROPS = 128


class Monitor:
    """Watches a training from outside of its step; in a run's folder where there is one."""

    def __init__(
        self,
        settings: PretrainSettings,
        data: TrainingCrops,
        run: Run | None,
        world: World,
        progress: Callable[[int, int, float], None] | None,
        *,
        chance: float,
        views_a_step: int,
    ) -> None:
        self._settings, self._data, self._world, self._progress = settings, data, world, progress
        self._run, self._writes = run, run is not None and world.rank == 0
        now = time.monotonic()
        self._reported, self._next_meters, self._kept = now, now, now
        self._reported_step = self._step = 0
        self._meters: dict[str, float] = {}
        self._note = ""
        self._board = _open_board(run) if run is not None and run.tensorboard and self._writes else None
        self._chance, self._views_a_step = chance, views_a_step

    def restore(self, model: SimCLR | VAE, optimizer: Optimizer) -> int:
        """Put model and optimiser back where the run was cut off; returns the number of steps done.

        The first process reads it for all: other machines need not share its folder.
        """
        if self._run is None:
            return 0
        expected = {"settings": self._settings.digest, "dataset": self._data.fingerprint}
        checkpoint = self._run.checkpoint
        step, tensors = self._world.from_first(lambda: read_snapshot(checkpoint, **expected))
        if step:
            put_back(checkpoint.name, tensors, model, optimizer)
        self._step = self._reported_step = step
        if self._writes:
            self._run.forget_after(step)
            self._say("running", "")
        return step

    def after(
        self, step: int, loss: Tensor, views: Tensor, lesions: int, model: SimCLR | VAE, optimizer: Optimizer
    ) -> None:
        """Look at a step that was done, counted from 1; views, of so many lesions, are this process's."""
        self._step = step
        last = step == self._settings.steps
        if loss.is_cuda and step % LOOK_EVERY_CUDA and not last:
            return
        value = float(loss)
        if not math.isfinite(value):
            raise self._breakdown("losses")
        if self._progress is not None and self._world.rank == 0:
            self._progress(step, self._settings.steps, value)
        if self._run is None:
            return
        now = time.monotonic()
        if self._writes and (last or now - self._reported >= REPORT_S):
            self._report(value, now, views, lesions, model, last)
        if self._writes and now - self._kept >= CHECKPOINT_S:
            self._keep(model, optimizer)
        self._heed(model, optimizer)

    def finish(self, encoder: Encoder) -> None:
        """Keep the result, and what was drawn, in the run's folder."""
        run = self._run
        if run is None or not self._writes:
            return
        if self._board is not None:
            self._board.close()
        encoder.save(run.encoder)
        with self._drawing("metrics.png"):
            draw_curves(run)
        self._say("done", "", encoder=encoder.fingerprint)
        with suppress(OSError):  # last: a kill before this leaves a run that is done, not one to do again
            run.checkpoint.unlink(missing_ok=True)

    @contextmanager
    def _drawing(self, name: str) -> Iterator[None]:
        """Go on where a file that can be drawn again cannot be written; the next state says so."""
        assert self._run is not None
        self._note = ""
        try:
            with self._run.writing(name):
                yield
        except TrainingError as error:
            self._note = str(error)

    def _report(self, loss: float, now: float, views: Tensor, lesions: int, model: SimCLR | VAE, last: bool) -> None:
        assert self._run is not None
        steps = self._step - self._reported_step
        rate = steps * self._views_a_step / max(now - self._reported, 1e-9)
        if last or now >= self._next_meters:
            self._meters = self._measure(model)
            with self._drawing("views.png"):
                draw_views(views.detach().float().cpu().numpy(), lesions, self._run.folder / "views.png")
            done = time.monotonic()
            self._next_meters = done + max(METERS_S, (done - now) / METERS_SHARE)
        metrics = {
            "step": self._step,
            "loss": loss,
            "rate": self._settings.rate_at(self._step - 1),
            "views_per_s": round(rate, 1),
            "remaining_s": round((self._settings.steps - self._step) * self._views_a_step / max(rate, 1e-9), 1),
            "memory_mb": _memory_mb(self._world.device),
            **({} if math.isnan(self._chance) else {"chance": round(self._chance, 5)}),
            **self._meters,
        }
        self._run.append(metrics)
        if self._board is not None:
            for name, each in metrics.items():
                self._board.add_scalar(name, each, self._step)
        self._say("running", "")
        self._reported, self._reported_step = time.monotonic(), self._step

    def _measure(self, model: SimCLR | VAE) -> dict[str, float]:
        """Measure vectors of training lesions, two slices each where there are two, and of the labelled probe."""
        data, architecture = self._data, self._settings.architecture
        net = plain_network(model.net, architecture)
        first, second = _two_of_each(data.lesions, METER_CROPS)
        rows = np.concatenate([first, second])
        responses = None if data.responses is None else data.responses[rows]
        a, b = np.split(vectors_now(net, data.hu[rows], responses, architecture), 2)
        if not np.isfinite(a).all():
            raise self._breakdown("vectors")
        found = {
            "spread": spread(a),
            "rank": effective_rank(a),
            "alignment": alignment(a, b),
            "uniformity": uniformity(a),
        }
        if data.probe is not None:
            vectors = vectors_now(net, data.probe.hu, data.probe.responses, architecture)
            found["knn"] = knn_accuracy(vectors, data.probe.labels, data.probe.patients)
        return {name: round(value, 5) for name, value in found.items() if math.isfinite(value)}

    def _breakdown(self, what: str) -> TrainingError:
        kept = "" if self._run is None else f"; {self._run.kept}"
        return TrainingError(
            f"Training broke down at step {self._step} of {self._settings.steps}: the {what} are no numbers. "
            f"Lower the learning rate{kept}."
        )

    def _keep(self, model: SimCLR | VAE, optimizer: Optimizer) -> None:
        assert self._run is not None
        story = {"step": self._step, "settings": self._settings.digest, "dataset": self._data.fingerprint}
        save_snapshot(self._run.checkpoint, model, optimizer, **story)
        self._kept = time.monotonic()

    def _heed(self, model: SimCLR | VAE, optimizer: Optimizer) -> None:
        """Pause or stop where that is asked; every process of a joint training does so at the same step."""
        assert self._run is not None
        asked = self._run.asked
        if self._world.agree(asked == "pause" and self._writes):
            if self._writes:
                self._keep(model, optimizer)
                self._say("paused", "")
            while self._world.agree(self._run.asked == "pause" and self._writes):
                time.sleep(PAUSE_S)
            self._reported = time.monotonic()
            asked = self._run.asked
            if self._writes:
                self._say("running", "")
        if self._world.agree(asked == "stop" and self._writes):
            if self._writes:
                self._keep(model, optimizer)
                with self._drawing("metrics.png"):
                    draw_curves(self._run)
            raise TrainingStopped(f"Stopped at step {self._step} of {self._settings.steps}; it can be resumed.")

    def _say(self, state: Any, message: str, **values: Any) -> None:
        assert self._run is not None
        self._run.say(
            state,
            step=self._step,
            steps=self._settings.steps,
            message=message or self._note,
            device=_device_name(self._world.device),
            processes=self._world.size,
            **values,
        )


def draw_curves(run: Run) -> None:
    """Write `metrics.csv` and `metrics.png`."""
    run.write_csv()
    draw_metrics(run.metrics(), run.folder / "metrics.png")


def _two_of_each(lesions: np.ndarray[Any, np.dtype[np.int64]], count: int) -> tuple[Any, Any]:
    """Return the first and the last row of up to `count` lesions, spread evenly."""
    order = np.argsort(lesions, kind="stable")
    starts = np.flatnonzero(np.diff(lesions[order], prepend=-1))
    ends = np.append(starts[1:], len(order)) - 1
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(count, len(starts))).astype(int))
    return order[starts[chosen]], order[ends[chosen]]


def _open_board(run: Run) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError(
            "TensorBoard's log needs a package that is not installed; install lesiondash[tensorboard], or leave it out."
        ) from None
    return SummaryWriter(str(run.folder / "tensorboard"))


def _memory_mb(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device) / 2**20)
    try:
        import resource
    except ImportError:  # no such module on Windows
        return 0
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads != 1 else ''}"
