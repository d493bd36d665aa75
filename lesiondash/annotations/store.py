"""The annotations of every series that was opened, on disk at every change."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from lesiondash.annotations.document import Placed, parse, place, to_document
from lesiondash.errors import AnnotationError
from lesiondash.records import Annotation, Series


class AnnotationStore:
    """Annotations by series uid, in the order in which they were drawn.

    With a folder, each series has a file there in the form of `schema.json`, written anew at every `replace` (beside
    it, flushed to disk, then moved over it) and read when the series is first asked for. What goes wrong with a file
    is never raised: the annotations stay in memory, and `pop_problems` says it. Of two processes the last one to
    write wins, and the file is whole at any moment.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._series: dict[str, Series] = {}
        self._by_series: dict[str, tuple[Annotation, ...]] = {}
        self._rest: dict[str, tuple[dict[str, Any], ...]] = {}
        self._problems: list[str] = []

    def know(self, series: Series) -> None:
        """Tell the store of a series: only of known ones can annotations be placed and kept on disk."""
        before = self._series.get(series.uid)
        # Without its pixels, which are large, and not the store's to keep.
        nothing = np.broadcast_to(np.int16(0), series.hu.shape)
        self._series[series.uid] = replace(series, hu=nothing, header=())
        if before is None or before.positions_mm == series.positions_mm or series.uid not in self._by_series:
            return
        # Read again with more or fewer slices: a number no longer means the slice that it did.
        document = to_document(before, self._by_series[series.uid])
        document["annotations"] += self._rest.get(series.uid, ())
        self._take(series.uid, place(document, series))

    def of(self, series_uid: str) -> tuple[Annotation, ...]:
        """Return the annotations of one series."""
        if series_uid not in self._by_series:
            self._by_series[series_uid] = self._load(series_uid)
        return self._by_series[series_uid]

    def replace(self, series_uid: str, annotations: Iterable[Annotation]) -> None:
        """Keep these annotations, and no others, for one series."""
        self.of(series_uid)  # what has no place among the slices present is read before the file is written over
        self._by_series[series_uid] = tuple(annotations)
        self._save(series_uid)

    def pop_problems(self) -> tuple[str, ...]:
        """Return what went wrong with the files since this was last asked, as sentences for the page."""
        said, self._problems = tuple(self._problems), []
        return said

    def path(self, series_uid: str) -> Path | None:
        """Return the file of a series, None where nothing is kept on disk."""
        return None if self.folder is None else self.folder / f"{quote(series_uid, safe='')}.json"

    def _load(self, series_uid: str) -> tuple[Annotation, ...]:
        path, series = self.path(series_uid), self._series.get(series_uid)
        if path is None or series is None:
            return self._by_series.get(series_uid, ())
        try:
            document = parse(path.read_text(encoding="utf-8"))
            if document["series"]["uid"] != series_uid:
                raise AnnotationError("It is of another series.")
            placed = place(document, series)
        except FileNotFoundError:
            return ()
        except (AnnotationError, UnicodeDecodeError, OSError) as error:
            self._set_aside(path, str(error) if isinstance(error, AnnotationError) else "The file cannot be read.")
            return ()
        return self._take(series_uid, placed)

    def _take(self, series_uid: str, placed: Placed) -> tuple[Annotation, ...]:
        self._by_series[series_uid], self._rest[series_uid] = placed.annotations, placed.rest
        if placed.rest:
            self._problems.append(
                f"{len(placed.rest)} kept annotations lie on slices that are not loaded; they stay kept."
            )
        return placed.annotations

    def _set_aside(self, path: Path, reason: str) -> None:
        """Move a file that cannot be used out of the way, under a name that no other file has."""
        aside = path.with_name(f"{path.stem}.unread-{uuid.uuid4().hex[:8]}.json")
        try:
            os.replace(path, aside)
            self._problems.append(f"The kept annotations of this series were set aside as {aside.name}. {reason}")
        except OSError:
            self._problems.append(f"The kept annotations of this series, {path.name}, are unusable; move them away.")

    def _save(self, series_uid: str) -> None:
        path, series = self.path(series_uid), self._series.get(series_uid)
        if path is None or series is None:
            return
        rest = self._rest.get(series_uid, ())
        try:
            document = to_document(series, self._by_series[series_uid])
            document["annotations"] += rest
            write_whole(path, json.dumps(document, indent=1, ensure_ascii=False).encode())
        except OSError as error:
            self._problems.append(
                f"The annotations could not be kept on disk ({error.strerror}); save them as JSON before you leave."
            )
        except AnnotationError as error:
            self._problems.append(f"The annotations could not be kept on disk. {error}")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it to disk and move it there: it is whole, or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
