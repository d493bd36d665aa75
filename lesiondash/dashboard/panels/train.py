"""Training: started in a process of its own, and watched by the files it writes, by this page and the next."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Train
from lesiondash.errors import TrainingError
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.runs import LIVE, METRICS, Curves, Run, list_runs, training_in
from lesiondash.learning.settings import PretrainSettings, settings_of
from lesiondash.paths import demo_dir, runs_dir
from lesiondash.train import default_name, is_being_used, run_named, start_process, use_process

MODELS = [["simclr", "SimCLR"], ["vae", "VAE"]]
FILTERS = [["none", "HU windows"], ["channel", "and the filter's response"], ["replace", "the response alone"]]
POOLS = [["gem", "GeM pooling"], ["average", "average pooling"]]
POINTS = 200
LOOK_S = 1.0


class TrainPanel:
    """Knows nothing that is not in a run's folder, so that a reloaded page shows what the last one showed."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self._shown: Run | None = None
        self._curves: Curves | None = None
        self._use: subprocess.Popen[bytes] | None = None
        plain = PretrainSettings()
        self.widget = Train(
            self.act,
            choices={
                "data": [[name, label] for name, (label, _, _) in self._collections().items()],
                "models": MODELS,
                "filters": FILTERS,
                "pools": POOLS,
                "steps": plain.steps,
                "batch": plain.batch,
            },
        )
        self._closed = threading.Event()
        self.refresh()
        threading.Thread(target=self._watch, daemon=True).start()

    @tells_errors
    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did: start, pause, resume, stop, show, or search with a run's encoder."""
        kind = message["type"]
        if kind == "start":
            values = {name: message[name] for name in ("model", "frangi", "pool")}
            self.start(
                **values, steps=int(message["steps"]), batch=int(message["batch"]), data=message.get("data", "page")
            )
        elif kind in ("pause", "stop"):
            run_named(message["name"]).ask(kind)
        elif kind == "resume":
            self.resume(message["name"])
        elif kind == "use":
            self.use(message["name"])
        elif kind == "show":
            self.show(message["name"])
        self.refresh()

    def start(self, model: str, frangi: str, pool: str, steps: int, batch: int, data: str = "page") -> None:
        """Begin a training on the page's collection or the "demonstration", or go on with the one of these settings."""
        if data not in self._collections():
            raise TrainingError(f"There is no collection {data!r}; choose one of {', '.join(self._collections())}.")
        _, root, partial = self._collections()[data]
        if model not in ("simclr", "vae"):
            raise TrainingError(f"There is no model {model!r}; choose simclr or vae.")
        settings = settings_of(model, architecture=self.architecture(frangi, pool), steps=steps, batch=batch)
        run = run_named(default_name(settings, root))
        if run.status["state"] == "done":
            self.state.say("These settings were trained before; this is the run.")
        else:
            start_process(run, settings, root, partial=partial)
        self._shown = run

    def architecture(self, frangi: str, pool: str) -> Architecture:
        """Return a network that sees the filter, if at all, as it is set on the page, in the page's window."""
        seen = {} if frangi == "none" else {"filter": self.state.params, "filter_window": self.state.window}
        return Architecture(frangi=frangi, pool=pool, **seen)  # type: ignore[arg-type]  # it checks them

    def _collections(self) -> dict[str, tuple[str, Path, bool]]:
        """What can be trained on: a label, its folder, and whether rows without images are left out."""
        root, demonstration = self.store.collection.root, demo_dir()
        if root.resolve() == demonstration.resolve():
            return {"page": ("the demonstration", root, False)}
        found = {"page": (root.name, root, self.store.partial)}
        if (demonstration / "manifest.json").is_file():
            found["demonstration"] = ("the demonstration", demonstration, False)
        return found

    def resume(self, name: str) -> None:
        """Go on with a run that is paused, or whose process has ended."""
        run = run_named(name)
        if run.status["state"] == "paused":
            run.ask("go")
            return
        story = run.story
        start_process(run, run.settings, Path(story["collection"]), partial=bool(story["partial"]))
        self._shown = run

    def use(self, name: str) -> None:
        """Search the page's collection with a run's encoder: the index is made anew in a process of its own."""
        if self._use is not None:
            raise TrainingError("The index is being made already; wait until it is.")
        self._use = use_process(run_named(name), self.store.collection.root, partial=self.store.partial)
        self.state.say("Embedding the collection with this encoder; the page says when to reload it.")

    def show(self, name: str) -> None:
        """Show another run."""
        run = run_named(name)
        if not (run.folder / "run.json").is_file():
            raise TrainingError(f"There is no training {name!r} to show.")
        self._shown = run

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_S):
            self.refresh()

    @tells_errors
    def refresh(self) -> None:
        """Read the run's files and show what is new in them."""
        folder = runs_dir()
        runs = list_runs(folder)
        states = {run.name: run.status["state"] for run in runs}
        if self._shown is None and runs:  # a page just opened: what is under way comes before what was begun last
            self._shown = next((run for run in runs if states[run.name] in LIVE), runs[0])
        self._end_use()
        self.widget.runs = [{"name": name, "state": state} for name, state in states.items()]
        if self._shown is None:
            return
        if self._curves is None or self._curves.run != self._shown:
            self._curves = Curves(self._shown, POINTS)
        rows = self._curves.rows()
        self.widget.run = {
            **_describe(self._shown, rows),
            "training": training_in(folder) is not None or "starting" in states.values(),
            "busy": self._use is not None or is_being_used(),
        }
        self.widget.curves = {name: [row.get(name) for row in rows] for name in METRICS}
        views = self._shown.folder / "views.png"
        self.widget.views = views.read_bytes() if views.is_file() else b""

    def _end_use(self) -> None:
        if self._use is None or self._use.poll() is None:
            return
        failed, self._use = self._use.returncode != 0, None
        if failed:
            self.state.say("The index could not be made anew; train.log in the run's folder says why.", "error")
        else:
            self.state.say("The collection is embedded anew. Reload the page to search with this encoder.")


def _describe(run: Run, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Say a run in the values that the page shows."""
    settings, last = run.settings, rows[-1] if rows else {}
    return {
        **{name: last.get(name) for name in ("views_per_s", "remaining_s", "memory_mb")},
        **run.status,
        "name": run.name,
        "steps": settings.steps,
        "chance": last.get("chance"),
        "warning": settings.warning,
    }
