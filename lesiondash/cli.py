"""The command line: prepare, dashboard, filter, search, evaluate, and train from its own file."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesiondash.cli_evaluate import evaluate_command
from lesiondash.cli_pacs import fetch_command
from lesiondash.cli_search import open_store, search_command
from lesiondash.cli_train import finetune_command, reproduce_command, train_command, use_command
from lesiondash.errors import FilterError
from lesiondash.records import FrangiParams, Window
from lesiondash.screen import one_sentence, progress_bars

if TYPE_CHECKING:
    from lesiondash.dashboard.store import Store

app = typer.Typer(
    help="Search lesions in CT by similarity. For research and teaching, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
CollectionOption = Annotated[
    Path | None,
    typer.Option("--collection", help="DeepLesion folder (DL_info.csv, Images_png); default: the demonstration."),
]
PartialOption = Annotated[bool, typer.Option("--partial", help="Go on without the rows whose images are missing.")]


app.command("fetch")(fetch_command)
app.command("search")(search_command)
app.command("train")(train_command)
app.command("finetune")(finetune_command)
app.command("use")(use_command)
app.command("evaluate")(evaluate_command)
app.command("reproduce")(reproduce_command)


def _prepare(collection: Path | None, partial: bool, train: bool = False) -> Any:
    from lesiondash.prepare import prepare

    with progress_bars() as show:
        return prepare(collection, partial=partial, train=train, progress=show)


@app.command("prepare")
def prepare_command(
    collection: CollectionOption = None,
    partial: PartialOption = False,
    train: Annotated[bool, typer.Option("--train", help="Train the encoder on this collection.")] = False,
) -> None:
    """Make the demonstration collection, the trained encoder and the search index, where they are missing."""
    with one_sentence():
        prepared = _prepare(collection, partial, train)
        made = ", ".join(prepared.made) or "nothing: everything was there"
        typer.echo(f"Made {made}. Collection: {prepared.root}")


@app.command()
def dashboard(
    collection: CollectionOption = None,
    partial: PartialOption = False,
    port: Annotated[int, typer.Option(help="Port to serve on; the next free one is taken where it is in use.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Open a browser where there is one.")] = True,
) -> None:
    """Prepare what is missing, serve the page with voila, and print its address."""
    with one_sentence():
        _prepare(collection, partial)
        from lesiondash.serve import serve

        sys.exit(serve(port, collection=collection, partial=partial, browser=browser, say=typer.echo))


@app.command("filter")
def filter_command(
    setting: Annotated[str, typer.Option("--preset", help="paper, literal, balanced, objectness, …")] = "paper",
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="A YAML file, as the page copies it.")
    ] = None,
    window: Annotated[str, typer.Option("--window", help="CENTER,WIDTH in HU.")] = "40,400",
    mode: Annotated[
        str,
        typer.Option("--as", help="What an encoder is to see: replace (the response alone) or channel (beside it)."),
    ] = "replace",
    collection: CollectionOption = None,
    partial: PartialOption = False,
) -> None:
    """Apply the Frangi filter to every lesion of a collection and keep the responses beside its search index."""
    with one_sentence():
        from lesiondash.frangi.apply import check_mode
        from lesiondash.frangi.backend import engine
        from lesiondash.frangi.presets import preset, read_settings

        params = preset(setting) if settings_file is None else read_settings(settings_file)
        shown = _parse_window(window)
        check_mode(mode)  # type: ignore[arg-type]  # it checks it
        store = open_store(collection, partial)
        typer.echo(_filter_collection(store, params, shown, mode))
        typer.echo(engine(), err=True)


def _filter_collection(store: Store, params: FrangiParams, window: Window, mode: str) -> str:
    from lesiondash.frangi.apply import kept_or_applied

    ids, folder = [lesion.lesion_id for lesion in store.gallery.lesions], store.filtered_folder
    filtered, before = kept_or_applied(folder, store.gallery.crops, ids, params, window, mode)  # type: ignore[arg-type]
    if before:
        return "This setting was applied before; nothing to do."
    assert filtered is not None  # nothing stops it here
    return f"Kept {len(ids):,} responses: {filtered.path(folder)}"


def _parse_window(text: str) -> Window:
    """Return the window that `CENTER,WIDTH` names; raises `FilterError` for anything else."""
    try:
        center_hu, width_hu = (float(part) for part in text.split(","))
    except ValueError:
        raise FilterError(f"--window {text!r} is not two numbers; give CENTER,WIDTH in HU, such as 40,400.") from None
    if not (math.isfinite(center_hu) and math.isfinite(width_hu) and width_hu > 0):
        raise FilterError(f"--window {text!r} has no width; give CENTER,WIDTH in HU, such as 40,400.")
    return Window(center_hu, width_hu)


if __name__ == "__main__":
    app()
