"""How the command line speaks: progress bars, and one sentence for what cannot be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from lesiondash.errors import LesionDashError


@contextmanager
def one_sentence() -> Iterator[None]:
    """Print what went wrong as one sentence on standard error and leave with exit code 2."""
    try:
        yield
    except LesionDashError as error:
        typer.echo(f"lesiondash: {error}", err=True)
        raise typer.Exit(2) from None


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar with remaining time for each step; what follows " (" in its name may change on the way."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<36}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            name = step.partition(" (")[0]
            if name not in tasks:
                tasks[name] = bars.add_task(step, total=total)
            bars.update(tasks[name], completed=done, total=total, description=step)

        yield show
