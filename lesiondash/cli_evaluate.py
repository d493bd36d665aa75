"""The command `evaluate`: any collection, any encoder, as a table, JSON or a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesiondash.errors import CollectionError
from lesiondash.screen import one_sentence, progress_bars

if TYPE_CHECKING:
    from lesiondash.learning.encoder import Encoder


def evaluate_command(
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            help="A run, an encoder's file, or untrained; repeat it. Default: the one that searches, and untrained.",
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="all, same, cross, same-strict, track, released-code, released-code-same; repeat it."
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of the collection: test or validation.")] = "test",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a report to this file.")] = None,
    collection: Annotated[
        Path | None, typer.Option("--collection", help="DeepLesion folder; default: the demonstration collection.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Go on without the rows whose images miss.")] = False,
) -> None:
    """Print how well encoders find lesions of the same type, beside chance and the best possible, with intervals."""
    with one_sentence():
        from lesiondash.evaluate import as_dict, as_table, evaluate_encoders
        from lesiondash.retrieval.protocol import DEFAULT_SCOPES
        from lesiondash.retrieval.scopes import checked_scopes

        # What is asked for is checked before an evaluation that may take hours.
        scopes = checked_scopes(scope or DEFAULT_SCOPES)
        _check_place(html)
        root = collection or _prepared_demonstration()
        encoders = _encoders(encoder)
        with progress_bars() as show:
            found = evaluate_encoders(
                root,
                encoders,
                split=split,
                scopes=scopes,
                partial=partial,
                progress=show,
            )
        if html is not None:
            _report(html, found, root, partial)
        if as_json:
            typer.echo(json.dumps({name: as_dict(each) for name, each in found.items()}, indent=1))
        else:
            typer.echo(as_table(found))
        if html is not None:
            typer.echo(f"Report: {html}", err=True)


def _check_place(html: Path | None) -> None:
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise CollectionError(f"The report cannot be written to {html.name}; give a file in a folder that exists.")


def _prepared_demonstration() -> Path:
    from lesiondash.prepare import prepare

    with progress_bars() as show:
        return prepare(None, progress=show).root


def _encoders(names: list[str] | None) -> dict[str, Encoder]:
    """Return encoders by name: runs, files, "untrained" for random weights of the first one's make."""
    from lesiondash.learning.encoder import Encoder
    from lesiondash.train import encoder_file

    found: dict[str, Encoder] = {}
    for name in names or ["trained", "untrained"]:
        if name == "untrained":
            first = next(iter(found.values()), None)
            found[name] = Encoder.untrained(architecture=first.architecture if first else None)
        elif names is None:
            found[name] = Encoder.load(encoder_file(None))
        else:
            short = Path(name).stem
            found[name if short in found else short] = Encoder.load(encoder_file(name))
    return found


def _report(path: Path, found: Any, root: Path, partial: bool) -> None:
    from lesiondash.images.collection import collect_crops
    from lesiondash.images.deeplesion import DeepLesion
    from lesiondash.report import write_report

    lesions = next(iter(found.values())).lesions
    crops = collect_crops(DeepLesion(root, partial=partial), lesions)
    write_report(path, found, crops, f"Lesion search on {root.resolve().name}")
