"""The commands `train`, `finetune`, `use` and `reproduce`: settings from options, a run by name, what is under way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lesiondash.errors import TrainingError, TrainingStopped
from lesiondash.screen import one_sentence, progress_bars

SETTINGS = (
    "model",
    "steps",
    "batch",
    "learning_rate",
    "loss",
    "temperature",
    "background",
    "follow_ups",
    "beta",
    "seed",
)


def train_command(
    model: Annotated[str, typer.Option(help="simclr or vae.")] = "simclr",
    frangi: Annotated[
        str, typer.Option(help="The filter's response: none, replace the image by it, or a channel beside it.")
    ] = "none",
    pool: Annotated[str, typer.Option(help="gem or average, or avg for short.")] = "gem",
    stem: Annotated[str, typer.Option(help="imagenet (fastest), pool or cifar.")] = "imagenet",
    slices: Annotated[int, typer.Option(help="1, 3 or 9 slices a lesion.")] = 1,
    windows: Annotated[int, typer.Option(help="3 HU windows, or 1, soft tissue alone.")] = 3,
    epochs: Annotated[int | None, typer.Option(help="Rounds over all lesions.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps, in place of rounds; default 110.")] = None,
    batch: Annotated[int, typer.Option(help="Lesions a step.")] = 64,
    rate: Annotated[float | None, typer.Option("--lr", help="Largest learning rate, for 64 lesions a step.")] = None,
    loss: Annotated[str, typer.Option(help="dcl or nt_xent.")] = "dcl",
    temperature: Annotated[float, typer.Option(help="Of the contrastive loss.")] = 0.1,
    background: Annotated[int, typer.Option(help="Patches without a lesion a step, as further negatives.")] = 0,
    follow_ups: Annotated[bool, typer.Option("--follow-ups", help="Later studies show the same lesions.")] = False,
    beta: Annotated[float, typer.Option(help="Weight of the VAE's divergence.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Decides weights and views.")] = 0,
    data: Annotated[
        Path | None, typer.Option("--data", help="DeepLesion folder; default: the demonstration collection.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Go on without the rows whose images miss.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Of the run; default: from the settings.")] = None,
    resume: Annotated[str | None, typer.Option("--resume", help="Go on with a run; its settings hold.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write a log that TensorBoard reads.")] = False,
    use: Annotated[bool, typer.Option("--use", help="Search with the encoder afterwards.")] = False,
) -> None:
    """Train an encoder without labels; cut off at any moment, the same command goes on where it was."""
    options = dict(locals())
    with one_sentence():
        run, settings, root, partial = _resumed(resume) if resume else _begun(options)
        _train(run, settings, root, partial, tensorboard)
        if use:
            _use(run.encoder, root, partial)


def finetune_command(
    start: Annotated[
        str | None, typer.Option("--from", help="A run, or an encoder's file; default: the one that searches.")
    ] = None,
    objective: Annotated[str, typer.Option(help="triplet or supcon.")] = "triplet",
    mining: Annotated[str, typer.Option(help="Of triplets: semi-hard or random.")] = "semi-hard",
    head: Annotated[str, typer.Option(help="Put on the pooled vector: none, linear, or sigmoid.")] = "none",
    steps: Annotated[int, typer.Option(help="Batches of 8 types × 8 lesions.")] = 50,
    rate: Annotated[float, typer.Option("--lr", help="Largest learning rate.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Decides batches and views.")] = 0,
    data: Annotated[
        Path | None, typer.Option("--data", help="DeepLesion folder; default: the demonstration collection.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Go on without the rows whose images miss.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="The new encoder's file; default: beside the first one.")
    ] = None,
    use: Annotated[bool, typer.Option("--use", help="Search with the encoder afterwards.")] = False,
) -> None:
    """Tune an encoder with the types of the lesions outside of the test split, so that equal types come nearer."""
    settings = {"objective": objective, "mining": mining, "head": head, "steps": steps, "seed": seed}
    with one_sentence():
        from lesiondash.train import encoder_file

        source, root = encoder_file(start), data or _demonstration()
        target = out or source.with_name(f"{source.stem}-{objective}.safetensors")
        _finetune(source, target, root, partial, {**settings, "learning_rate": rate})
        typer.echo(f"Tuned: {target}")
        if use:
            _use(target, root, partial)


def _finetune(source: Path, target: Path, root: Path, partial: bool, values: dict[str, Any]) -> None:
    from lesiondash.images.deeplesion import DeepLesion
    from lesiondash.learning.dataset import finetuning_crops
    from lesiondash.learning.encoder import Encoder
    from lesiondash.learning.finetune import FinetuneSettings, finetune

    settings, encoder = FinetuneSettings(**values), Encoder.load(source)
    crops = finetuning_crops(DeepLesion(root, partial=partial), encoder.architecture)
    with progress_bars() as show:
        tuned = finetune(
            encoder,
            crops,
            settings,
            progress=lambda step, total, loss: show(f"Tune the encoder (loss {loss:.3f})", step, total),
        )
    tuned.save(target)


def _begun(options: dict[str, Any]) -> tuple[Any, Any, Path, bool]:
    """Return run, settings, collection and whether rows may be missing, of a training that options describe."""
    from dataclasses import replace

    from lesiondash.images.deeplesion import DeepLesion
    from lesiondash.learning.architecture import DEFAULT_WINDOWS, Architecture
    from lesiondash.learning.dataset import steps_of_epochs
    from lesiondash.learning.settings import settings_of
    from lesiondash.train import default_name, run_named

    epochs = options["epochs"]
    if epochs is not None and (options["steps"] is not None or epochs < 1):
        raise TrainingError("Give either --epochs, 1 or more, or --steps.")
    options["learning_rate"] = options["rate"]
    given = {key: options[key] for key in SETTINGS if options[key] is not None}
    if options["windows"] not in (1, len(DEFAULT_WINDOWS)):
        raise TrainingError(f"--windows is {options['windows']}; choose 1 or {len(DEFAULT_WINDOWS)}.")
    parts = {key: options[key] for key in ("frangi", "stem", "slices")}
    parts["pool"] = "average" if options["pool"] == "avg" else options["pool"]
    architecture = Architecture(windows=DEFAULT_WINDOWS[: options["windows"]], **parts)
    settings = settings_of(architecture=architecture, **given)
    root = options["data"] or _demonstration()
    if epochs is not None:
        steps = steps_of_epochs(DeepLesion(root, partial=options["partial"]), settings, epochs)
        settings = replace(settings, steps=steps)
    return run_named(options["name"] or default_name(settings, root)), settings, root, options["partial"]


def _demonstration() -> Path:
    """Return the demonstration collection, drawn where it is missing."""
    from lesiondash.paths import demo_dir
    from lesiondash.prepare import draw_demonstration

    draw_demonstration()
    return demo_dir()


def _resumed(name: str) -> tuple[Any, Any, Path, bool]:
    from lesiondash.train import run_named

    run = run_named(name)
    story = run.story
    return run, run.settings, Path(story["collection"]), bool(story["partial"])


def _train(run: Any, settings: Any, root: Path, partial: bool, tensorboard: bool) -> None:
    """Train, or say that it was done before; a progress bar on the first process's screen."""
    from dataclasses import replace

    from lesiondash.train import train

    if run.status["state"] == "done":
        run.begin(settings, {"collection": str(root.resolve()), "partial": partial})  # refuses another training's name
        typer.echo(f"{run.name} was trained before: {run.encoder}")
        return
    if settings.warning:
        typer.echo(f"Mind: {settings.warning}", err=True)
    rate = f"learning rate up to {settings.peak_rate:.3g} for {settings.batch} lesions a step"
    typer.echo(f"{run.name}: {settings.steps:,} steps, {rate}", err=True)
    with progress_bars() as show:
        try:
            train(replace(run, tensorboard=tensorboard), settings, root, partial=partial, progress=show)
        except TrainingStopped as stopped:
            typer.echo(f"{stopped} Resume: lesiondash train --resume {run.name}", err=True)
            sys.exit(0)
    typer.echo(f"Trained: {run.encoder}")


def use_command(
    encoder: Annotated[str, typer.Argument(help="A run, or an encoder's file.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="DeepLesion folder; default: the demonstration collection.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Go on without the rows whose images miss.")] = False,
) -> None:
    """Search a collection with another encoder from now on: its index is made anew, then the encoder exchanged."""
    with one_sentence():
        from lesiondash.train import encoder_file

        _use(encoder_file(encoder), data or _demonstration(), partial)


def _use(encoder: Path, root: Path, partial: bool) -> None:
    """Search with an encoder from now on: the collection's index is made anew, by one process."""
    from lesiondash.train import is_first_process, search_with

    if not is_first_process():
        return
    with progress_bars() as show:
        search_with(encoder, root, partial=partial, progress=show)
    typer.echo(f"The search in {root.name} uses this encoder now.")


def reproduce_command(
    what: Annotated[str, typer.Argument(help="table1 or table2.")],
    full: Annotated[bool, typer.Option("--full", help="The paper's schedule: 1000 epochs; needs a GPU.")] = False,
    seeds: Annotated[int, typer.Option("--seeds", help="How many trainings of each cell.")] = 3,
    batch: Annotated[int, typer.Option(help="Lesions a step; the paper's rate is scaled with it.")] = 64,
    use: Annotated[str, typer.Option("--frangi", help="replace, as the paper does, or channel.")] = "replace",
    data: Annotated[
        Path | None, typer.Option("--data", help="DeepLesion folder; default: the demonstration collection.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Go on without the rows whose images miss.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train the paper's tables anew and print them beside the paper's numbers."""
    import json
    from dataclasses import asdict

    from lesiondash.reproduce import as_retrieval_table, as_table, table1, table2

    with one_sentence():
        if what not in ("table1", "table2"):
            raise TrainingError(f"There is no {what!r} to reproduce; choose table1 or table2.")
        if seeds < 1:
            raise TrainingError("Take one seed or more.")
        with progress_bars() as show:
            root = data or _demonstration()
            common: dict[str, Any] = {"full": full, "seeds": range(seeds), "batch": batch}
            common |= {"partial": partial, "progress": show}
            rows: list[Any] = table1(root, use=use, **common) if what == "table1" else table2(root, **common)
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
        else:
            typer.echo(as_table(rows) if what == "table1" else as_retrieval_table(rows))
