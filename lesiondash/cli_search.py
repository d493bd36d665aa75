"""The command `search`: one box on a scan, or every box of a list, among the lesions of a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesiondash.errors import BoxError, LesionDashError, SearchError
from lesiondash.records import SCOPES, Box, SearchScope, Series
from lesiondash.screen import one_sentence, progress_bars

if TYPE_CHECKING:
    from lesiondash.dashboard.batch import Asked
    from lesiondash.dashboard.store import Scan, Store
    from lesiondash.images.box_list import ListedBox

SOME_UNANSWERED = 3
"""The exit code of a list of which some boxes, not all, found nothing."""
Listed = dict[str, list[tuple[int, "ListedBox"]]]
"""By scan: its boxes, with their row in the list."""


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
    """Print the lesions most similar to a box on a scan, or to every box of a list.

    A box of a list that cannot be answered has a row of its own, which says why; the others are answered, and the exit
    code is 3. Where none is, nothing is printed, and it is 2.
    """
    with one_sentence():
        if (box is None) == (annotations is None):
            raise SearchError("Give either --box X0,Y0,X1,Y1 or --annotations FILE.")
        wanted = _checked_scope(scope)
        if not file.exists():
            raise SearchError(f"There is no file or folder {file.name!r}; give a DICOM file, a folder or a zip.")
        # What is asked for is checked before a preparation that takes minutes; of a list's scans, that they are there.
        if box is not None:
            series, number, region = _one(file, box, slice_number)
            rows = _answer(open_store(collection, partial), series, number, region, top, wanted)
            _print(rows, as_json, as_csv, single=True)
            return
        assert annotations is not None
        listed = _listed(file, annotations)
        rows = _answers(open_store(collection, partial), file, listed, top, wanted)
        said = _unanswered(rows, annotations.name)
        _print(rows, as_json, as_csv, single=False)
    if said:
        typer.echo(f"lesiondash: {said}", err=True)
        raise typer.Exit(SOME_UNANSWERED)


def _answer(store: Store, series: Series, number: int, box: Box, top: int, scope: SearchScope) -> list[dict[str, Any]]:
    from lesiondash.dashboard import batch

    rows = batch.search_boxes(store, [batch.Asked(1, store.scan_of(series), number, box)], top, scope)
    if rows[0]["error"]:
        raise SearchError(rows[0]["error"])
    return rows


def _answers(store: Store, file: Path, listed: Listed, top: int, scope: SearchScope) -> list[dict[str, Any]]:
    """Search for the boxes of a list, scan by scan; returns the rows in the order of the list."""
    from lesiondash.dashboard import batch

    total = sum(map(len, listed.values()))
    with progress_bars() as show:
        asked = _read_in_turn(store, file, listed, show)
        rows = batch.search_boxes(store, asked, top, scope, progress=lambda done: show("Search", done, total))
    return sorted(rows, key=lambda row: int(row["annotation"]))


def _read_in_turn(store: Store, file: Path, listed: Listed, show: Callable[[str, int, int], None]) -> Iterator[Asked]:
    """Yield the boxes of one scan after another; a scan is read when it comes, and let go before the next is."""
    for number, (name, boxes) in enumerate(listed.items()):

        def told(read: int, size: int, number: int = number) -> None:
            done = 100 * number + 100 * read // max(1, size)
            show(f"Scans ({number + 1} of {len(listed)})", done, 100 * len(listed))

        yield from _on_scan(store, file, name, boxes, told)
        told(1, 1)


def _on_scan(
    store: Store, file: Path, name: str, boxes: list[tuple[int, ListedBox]], told: Callable[[int, int], object]
) -> Iterator[Asked]:
    from lesiondash.dashboard import batch
    from lesiondash.images.box_list import path_of_scan

    scan: Scan | LesionDashError
    try:
        scan = store.scan_of(_read_largest(path_of_scan(file, name), told))
    except LesionDashError as error:
        scan = LesionDashError(str(error))  # without its traceback, which may hold what was read
    for row, item in boxes:
        yield batch.Asked(row, scan, item.slice_number, item.box, item.scan, item.label)


def _unanswered(rows: list[dict[str, Any]], name: str) -> str:
    """Return a sentence on the boxes of a list that found nothing, "" for none; raises `SearchError` where all did."""
    wrong = [row for row in rows if row["error"]]
    if not wrong:
        return ""
    first = f"{name}, row {wrong[0]['annotation']}: {wrong[0]['error']}"
    if len(wrong) == len(rows):
        raise SearchError(f"No box was answered; {first}" if len(wrong) > 1 else first)
    return f"{len(wrong):,} of {len({row['annotation'] for row in rows}):,} boxes found nothing; {first}"


def parse_box(text: str) -> Box:
    """Return the box that `X0,Y0,X1,Y1` names; raises `BoxError` for anything else."""
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise BoxError(f"--box {text!r} is not four numbers; give X0,Y0,X1,Y1 in pixels.") from None
    return Box(x0, y0, x1, y1)


def _one(file: Path, box: str, slice_number: int | None) -> tuple[Series, int, Box]:
    from lesiondash.dashboard.batch import region_of

    region, series = parse_box(box), _read_largest(file)
    number = (len(series) + 1) // 2 if slice_number is None else slice_number
    return series, number, region_of(series, number, region)


def _listed(file: Path, annotations: Path) -> Listed:
    """Read a list, and check that its scans are there; they are read one after another, when they are searched."""
    from lesiondash.images.box_list import path_of_scan, read_box_list

    by_scan: Listed = {}
    for number, item in enumerate(read_box_list(annotations), start=1):
        by_scan.setdefault(item.scan, []).append((number, item))
    for scan, boxes in by_scan.items():
        try:
            path_of_scan(file, scan)
        except LesionDashError as error:
            raise SearchError(f"{annotations.name}, row {boxes[0][0]}: {error}") from error
    return by_scan


def _checked_scope(scope: str) -> SearchScope:
    for known in SCOPES:
        if scope == known:
            return known
    raise SearchError(f"There is no scope {scope!r}; choose all, same or cross.")


def _read_largest(file: Path, told: Callable[[int, int], object] | None = None) -> Series:
    """Read the scan, tell what was not read, and return the CT series with the most slices."""
    from lesiondash.images.dicom import load_dicom

    reading = load_dicom([file], progress=told)
    for item in reading.rejected:
        typer.echo(f"Not read: {item.name} {item.reason}", err=True)
    series = max(reading.series, key=lambda one: (one.unit == "HU", len(one)))
    if len(reading.series) > 1:
        typer.echo(f"{len(reading.series)} series found; searching the largest, {series.description}.", err=True)
    return series


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

    columns = batch.OF_HIT if single else batch.COLUMNS
    if as_json:
        typer.echo(batch.as_json([{name: row[name] for name in columns} for row in rows]))
        return
    if as_csv:
        typer.echo(batch.as_csv(rows, columns), nl=False)
        return
    for row in rows:
        if not single and row["rank"] in (1, None):
            label = f"  {row['label']}" if row["label"] else ""
            typer.echo(f"{row['annotation']}: {row['scan'] or 'scan'}, slice {row['slice']}{label}")
        if row["error"]:
            typer.echo(f"    {row['error']}")
            continue
        where = f"patient {row['patient_id']}  {row['lesion_id']}"
        typer.echo(f"{row['rank']:>2}  {row['similarity']:.4f}  {row['type']:<12} {where}")
