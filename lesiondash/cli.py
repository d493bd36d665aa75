"""The command line: prepare, dashboard, filter, search, evaluate, and train from its own file."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesiondash.cli_evaluate import evaluate_command
from lesiondash.cli_train import finetune_command, reproduce_command, train_command
from lesiondash.errors import BoxError, FilterError, SearchError
from lesiondash.records import SCOPES, Box, FrangiParams, SearchScope, Series, Window
from lesiondash.screen import one_sentence, progress_bars

if TYPE_CHECKING:
    from lesiondash.dashboard.store import Scan, Store

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


app.command("train")(train_command)
app.command("finetune")(finetune_command)
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
    collection: CollectionOption = None,
    partial: PartialOption = False,
) -> None:
    """Apply the Frangi filter to every lesion of a collection and keep the responses beside its search index."""
    with one_sentence():
        from lesiondash.frangi.presets import preset, read_settings

        params = preset(setting) if settings_file is None else read_settings(settings_file)
        shown = _parse_window(window)
        store = _open_store(collection, partial)
        typer.echo(_filter_collection(store, params, shown))


def _filter_collection(store: Store, params: FrangiParams, window: Window) -> str:
    from lesiondash.frangi.apply import kept_or_applied

    ids, folder = [lesion.lesion_id for lesion in store.gallery.lesions], store.filtered_folder
    filtered, before = kept_or_applied(folder, store.gallery.crops, ids, params, window)
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


@app.command()
def search(
    file: Annotated[Path, typer.Argument(help="A DICOM file, a folder or a zip of them.")],
    box: Annotated[str, typer.Option("--box", help="X0,Y0,X1,Y1 in pixels.")],
    slice_number: Annotated[
        int | None,
        typer.Option("--slice", help="Slice, counted from 1 upwards along the normal; default: the middle."),
    ] = None,
    top: Annotated[int, typer.Option("--top", help="How many lesions.")] = 9,
    scope: Annotated[str, typer.Option("--scope", help="all, same (patient) or cross (other patients).")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    collection: CollectionOption = None,
    partial: PartialOption = False,
) -> None:
    """Print the lesions most similar to a box on a scan."""
    with one_sentence():
        region = parse_box(box)
        wanted = _checked_scope(scope)
        if not file.exists():
            raise SearchError(f"There is no file or folder {file.name!r}; give a DICOM file, a folder or a zip.")
        series = _read_largest(file)
        number = (len(series) + 1) // 2 if slice_number is None else slice_number
        region = _checked_region(series, number, region)  # before a preparation that may take minutes
        store = _open_store(collection, partial)
        hits = find(store, store.add([series])[0], region, slice_number=number, top=top, scope=wanted)
        if as_json:
            typer.echo(json.dumps(hits, indent=2))
            return
        for hit in hits:
            where = f"patient {hit['patient_id']}  {hit['lesion_id']}"
            typer.echo(f"{hit['rank']:>2}  {hit['similarity']:.3f}  {hit['type']:<12} {where}")


def parse_box(text: str) -> Box:
    """Return the box that `X0,Y0,X1,Y1` names; raises `BoxError` for anything else."""
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise BoxError(f"--box {text!r} is not four numbers; give X0,Y0,X1,Y1 in pixels.") from None
    return Box(x0, y0, x1, y1)


def _checked_scope(scope: str) -> SearchScope:
    for known in SCOPES:
        if scope == known:
            return known
    raise SearchError(f"There is no scope {scope!r}; choose all, same or cross.")


def _read_largest(file: Path) -> Series:
    """Read the scan, tell what was not read, and return the series with the most slices."""
    from lesiondash.images.dicom import load_dicom

    reading = load_dicom([file])
    for item in reading.rejected:
        typer.echo(f"Not read: {item.name} {item.reason}", err=True)
    series = max(reading.series, key=len)
    if len(reading.series) > 1:
        typer.echo(f"{len(reading.series)} series found; searching the largest, {series.description}.", err=True)
    return series


def _checked_region(series: Series, number: int, box: Box) -> Box:
    if not 1 <= number <= len(series):
        raise SearchError(f"There is no slice {number}; this series has slices 1 to {len(series)}.")
    return box.inside(*series.hu.shape[1:])


def _open_store(collection: Path | None, partial: bool) -> Store:
    from lesiondash.dashboard.store import Store
    from lesiondash.paths import demo_dir, encoder_path, gallery_dir

    _prepare(collection, partial)
    root = collection or demo_dir()
    return Store(root, gallery_dir(root), encoder_path(), partial=partial)


def find(
    store: Store, scan: Scan, box: Box, *, slice_number: int, top: int, scope: SearchScope
) -> list[dict[str, Any]]:
    """Return the lesions most similar to a box on a slice, counted from 1, as the dicts that `--json` prints."""
    from lesiondash.images.crops import crop_slices

    series, encoder = scan.series, store.encoder
    crops = crop_slices(
        series.hu, slice_number - 1, box, spacing_mm=series.spacing_mm, slices=encoder.architecture.slices
    )
    known = store.known_lesion(scan, slice_number - 1, box)
    hits = store.gallery.index.search(
        encoder.embed(crops)[0],
        top,
        scope,
        query_id=known.lesion_id if known else None,
        patient_id=scan.patient_id,
    )
    return [
        {
            "rank": hit.rank,
            "lesion_id": hit.lesion_id,
            "patient_id": hit.patient_id,
            "type": hit.type,
            "similarity": round(hit.similarity, 6),
        }
        for hit in hits
    ]


if __name__ == "__main__":
    app()
