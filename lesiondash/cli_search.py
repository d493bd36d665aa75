"""The command `search`: one box on a scan, or every box of a list, among the lesions of a collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesiondash.errors import BoxError, LesionDashError, SearchError
from lesiondash.records import SCOPES, Box, SearchScope, Series
from lesiondash.screen import one_sentence, progress_bars

if TYPE_CHECKING:
    from lesiondash.dashboard.store import Store
    from lesiondash.images.box_list import ListedBox


def search_command(
    file: Annotated[Path, typer.Argument(help="A DICOM file, a folder or a zip of them.")],
    box: Annotated[str | None, typer.Option("--box", help="X0,Y0,X1,Y1 in pixels.")] = None,
    slice_number: Annotated[
        int | None,
        typer.Option("--slice", help="Slice, counted from 1 upwards along the normal; default: the middle."),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations", help="CSV or JSON of boxes: slice, x0, y0, x1, y1, and where wanted scan, label."
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", help="How many lesions.")] = 9,
    scope: Annotated[str, typer.Option("--scope", help="all, same (patient) or cross (other patients).")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a CSV table.")] = False,
    collection: Annotated[
        Path | None, typer.Option("--collection", help="DeepLesion folder; default: the demonstration.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Go on without the rows whose images are missing.")
    ] = False,
) -> None:
    """Print the lesions most similar to a box on a scan, or to every box of a list."""
    with one_sentence():
        if (box is None) == (annotations is None):
            raise SearchError("Give either --box X0,Y0,X1,Y1 or --annotations FILE.")
        wanted = _checked_scope(scope)
        if not file.exists():
            raise SearchError(f"There is no file or folder {file.name!r}; give a DICOM file, a folder or a zip.")
        # What is asked for is checked before a preparation that may take minutes.
        asked = _one(file, box, slice_number) if box is not None else _listed(file, annotations)
        store = open_store(collection, partial)
        _print(_answers(store, asked, top, wanted), as_json, as_csv, single=box is not None)


def _answers(store: Store, asked: Asked, top: int, scope: SearchScope) -> list[dict[str, Any]]:
    from lesiondash.dashboard import batch

    boxes = []
    for series, items in asked:
        scan = store.add([series])[0]
        for item in items:
            box = _checked_region(series, item.slice_number, item.box)
            boxes.append(batch.Asked(scan, item.slice_number, box, item.scan, item.label))
    with progress_bars() as show:
        many = len(boxes) > 1
        told = (lambda done, total: show("Search", done, total)) if many else (lambda done, total: None)
        return batch.search_boxes(store, boxes, top, scope, progress=told)


def parse_box(text: str) -> Box:
    """Return the box that `X0,Y0,X1,Y1` names; raises `BoxError` for anything else."""
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise BoxError(f"--box {text!r} is not four numbers; give X0,Y0,X1,Y1 in pixels.") from None
    return Box(x0, y0, x1, y1)


Asked = list[tuple[Series, list["ListedBox"]]]
"""Series, and the boxes on each."""


def _one(file: Path, box: str, slice_number: int | None) -> Asked:
    from lesiondash.images.box_list import ListedBox

    region, series = parse_box(box), _read_largest(file)
    number = (len(series) + 1) // 2 if slice_number is None else slice_number
    return [(series, [ListedBox("", number, _checked_region(series, number, region))])]


def _listed(file: Path, annotations: Path | None) -> Asked:
    """Read a list's scans, each once, and check every box against its own."""
    from lesiondash.images.box_list import path_of_scan, read_box_list

    assert annotations is not None
    listed = read_box_list(annotations)
    by_scan: dict[str, list[tuple[int, ListedBox]]] = {}
    for number, item in enumerate(listed, start=1):
        by_scan.setdefault(item.scan, []).append((number, item))
    asked: Asked = []
    for scan, items in by_scan.items():
        series = _read_largest(path_of_scan(file, scan))
        for number, item in items:
            try:
                _checked_region(series, item.slice_number, item.box)
            except LesionDashError as error:
                raise SearchError(f"{annotations.name}, row {number}: {error}") from error
        asked.append((series, [item for _, item in items]))
    return asked


def _checked_scope(scope: str) -> SearchScope:
    for known in SCOPES:
        if scope == known:
            return known
    raise SearchError(f"There is no scope {scope!r}; choose all, same or cross.")


def _read_largest(file: Path) -> Series:
    """Read the scan, tell what was not read, and return the CT series with the most slices."""
    from lesiondash.images.dicom import load_dicom

    reading = load_dicom([file])
    for item in reading.rejected:
        typer.echo(f"Not read: {item.name} {item.reason}", err=True)
    series = max(reading.series, key=lambda one: (one.unit == "HU", len(one)))
    if len(reading.series) > 1:
        typer.echo(f"{len(reading.series)} series found; searching the largest, {series.description}.", err=True)
    return series


def _checked_region(series: Series, number: int, box: Box) -> Box:
    from lesiondash.images.crops import searchable_hu

    searchable_hu(series)
    if not 1 <= number <= len(series):
        raise SearchError(f"There is no slice {number}; this series has slices 1 to {len(series)}.")
    return box.inside(*series.hu.shape[1:])


def open_store(collection: Path | None, partial: bool) -> Store:
    """Return a collection's gallery and encoder, made first where they are missing."""
    from lesiondash.dashboard.store import Store
    from lesiondash.paths import demo_dir, encoder_path, gallery_dir
    from lesiondash.prepare import prepare

    with progress_bars() as show:
        prepare(collection, partial=partial, progress=show)
    root = collection or demo_dir()
    return Store(root, gallery_dir(root), encoder_path(), partial=partial)


def _print(rows: list[dict[str, Any]], as_json: bool, as_csv: bool, *, single: bool) -> None:
    from lesiondash.dashboard import batch

    columns = batch.COLUMNS[4:] if single else batch.COLUMNS
    if as_json:
        typer.echo(batch.as_json([{name: row[name] for name in columns} for row in rows]))
        return
    if as_csv:
        typer.echo(batch.as_csv(rows, columns), nl=False)
        return
    for row in rows:
        if not single and row["rank"] == 1:
            label = f"  {row['label']}" if row["label"] else ""
            typer.echo(f"{row['annotation']}: {row['scan'] or 'scan'}, slice {row['slice']}{label}")
        where = f"patient {row['patient_id']}  {row['lesion_id']}"
        typer.echo(f"{row['rank']:>2}  {row['similarity']:.4f}  {row['type']:<12} {where}")
