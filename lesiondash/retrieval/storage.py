"""An index on disk: files that are never changed, and one small file that says which of them count."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from lesiondash.errors import SearchError
from lesiondash.retrieval.codes import Codes
from lesiondash.retrieval.table import Column, LesionTable, Names

if TYPE_CHECKING:
    from lesiondash.retrieval.index import IndexRows

FORMAT = 1
CURRENT, HEADER = "index.json", "header.json"
LOCK_S = 60.0
TRIES = 100
"""So often may others save while a slow reader opens; each try is of a newer state."""
CHUNK_BYTES = 1 << 24


def save(state: IndexRows, folder: Path, *, with_codes: bool) -> None:
    """Write the state into `folder`, as `keep` does; raises `SearchError` where another saves, or the disk refuses."""

    def write(fresh: Path) -> dict[str, Any]:
        _write(state, fresh, with_codes)
        return {"header": checksum(fresh / HEADER)}

    try:
        keep(folder, CURRENT, write)
    except Timeout as error:
        raise SearchError(f"Another process is saving the index {folder.name}; try again when it has ended.") from error
    except OSError as error:
        raise SearchError(f"The index {folder.name} could not be saved ({error.strerror}); it is as it was.") from error


def keep(folder: Path, current: str, write: Callable[[Path], dict[str, Any]]) -> None:
    """Have `write` fill a new folder inside of `folder`, then point to it in one move; older ones are removed.

    current: the file that points: it holds what `write` returns and, as "state", the new folder's name. A process that
    is reading an older state keeps it: its files stay until it lets go of them. Raises `Timeout` where another process
    is writing here, and what the disk raises; the state before then still counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock", timeout=LOCK_S):
        fresh = folder / f"state-{uuid.uuid4().hex[:12]}"
        part = folder / f".{current}.{fresh.name}"
        try:
            fresh.mkdir()
            _write_text(part, json.dumps({**write(fresh), "state": fresh.name}))
            for place in (fresh, folder):
                sync(place)
            os.replace(part, folder / current)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            part.unlink(missing_ok=True)
            raise
        sync(folder)
        for old in folder.glob("state-*"):
            if old != fresh:
                shutil.rmtree(old, ignore_errors=True)
        for old in folder.glob(f".{current}.state-*"):  # of those that were killed
            old.unlink(missing_ok=True)


def load(folder: Path, *, verify: bool = True) -> IndexRows:
    """Open the state that counts now; raises `SearchError` where there is none, or it is damaged."""
    for attempt in range(TRIES):
        current = _current(folder)
        try:
            return _read(folder / current[0], current[1], verify)
        except FileNotFoundError as error:
            # Between the two readings another process may have saved: then the pointer has moved on.
            if _current(folder) == current or attempt == TRIES - 1:
                raise SearchError(
                    f"The index {folder.name} lacks {Path(error.filename or '').name}; make it anew."
                ) from error
        time.sleep(0.01)
    raise AssertionError("unreachable")


def _write(state: IndexRows, fresh: Path, with_codes: bool) -> None:
    files: dict[str, int] = {}

    def put(name: str, array: npt.NDArray[Any]) -> None:
        write_array(fresh / f"{name}.npy", array)
        files[f"{name}.npy"] = checksum(fresh / f"{name}.npy")

    put("vectors", state.vectors)
    if with_codes:
        for name in ("mean", "codes", "scales", "errors"):
            put(name, getattr(state.codes, name))
    names: dict[str, list[str]] = {}
    for number, (name, column) in enumerate(state.table.columns.items()):
        put(f"column-{number}", column.codes if isinstance(column, Names) else column)
        if isinstance(column, Names):
            names[name] = list(column.values)
    _write_text(fresh / "names.json", json.dumps(names))
    files["names.json"] = checksum(fresh / "names.json")
    header = {
        "format": FORMAT,
        "rows": len(state.vectors),
        "dimension": int(state.vectors.shape[1]),
        "encoder": state.encoder,
        "columns": list(state.table.columns),
        "codes": with_codes,
        "files": files,
    }
    _write_text(fresh / HEADER, json.dumps(header, indent=1))


def _read(place: Path, header_checksum: int | None, verify: bool) -> IndexRows:
    # The header holds the checksums of the other files, what points to it holds its own.
    if header_checksum is not None and _sum(place / HEADER) != header_checksum:
        raise SearchError(f"The index is damaged: {HEADER} is not what was saved. Make it anew.")
    try:
        return _opened(place, _json(place / HEADER), verify)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise SearchError("The index is damaged: its files do not go together. Make it anew.") from error


def _opened(place: Path, header: dict[str, Any], verify: bool) -> IndexRows:
    from lesiondash.retrieval.index import IndexRows

    if header.get("format") != FORMAT:
        raise SearchError(
            f"The index is of format {header.get('format')!r}, this program reads {FORMAT}; make it anew."
        )
    for name, expected in header["files"].items():
        if verify and _sum(place / name) != expected:
            raise SearchError(f"The index is damaged: {name} is not what was saved. Make it anew.")
    rows, dimension = header["rows"], header["dimension"]
    vectors = mapped_array(place / "vectors.npy", np.float32, (rows, dimension))
    texts = _json(place / "names.json")
    columns: dict[str, Column] = {}
    for number, name in enumerate(header["columns"]):
        path = place / f"column-{number}.npy"
        numbers = mapped_array(path, np.int32 if name in texts else None, (rows,))
        columns[name] = Names(tuple(texts[name]), np.asarray(numbers)) if name in texts else np.asarray(numbers)
        if name in texts and rows and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(texts[name]):
            raise SearchError(f"The index is damaged: {path.name} points outside of its names. Make it anew.")
    codes = None
    if header["codes"]:
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "mean": (np.float32, (dimension,)),
            "codes": (np.int8, (rows, dimension)),
            "scales": (np.float32, (rows,)),
            "errors": (np.float32, (rows,)),
        }
        codes = Codes(**{name: mapped_array(place / f"{name}.npy", *shape) for name, shape in shapes.items()})
    return IndexRows(vectors, LesionTable(columns), header["encoder"], codes)


def mapped_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Map a file into memory; raises `SearchError` where it is not the array that it should be."""
    array = _or_damaged(path, lambda: np.load(path, mmap_mode="r" if 0 not in shape else None, allow_pickle=False))
    if array.shape != shape or (dtype is not None and array.dtype != dtype):
        raise SearchError(f"The index is damaged: {path.name} is {array.dtype} {array.shape}, not {shape}.")
    return np.asarray(array) if dtype is None else array


def _json(path: Path) -> dict[str, Any]:
    found = _or_damaged(path, lambda: json.loads(path.read_text(encoding="utf-8")))
    if not isinstance(found, dict):
        raise SearchError(f"The index is damaged: {path.name} is not what was saved. Make it anew.")
    return found


def _or_damaged(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, RecursionError, SyntaxError, TokenError) as error:
        raise SearchError(f"The index is damaged: {path.name} cannot be read. Make it anew.") from error


def _current(folder: Path) -> tuple[str, int | None]:
    """Return which state counts, and the checksum of its header; None where an older program wrote none."""
    try:
        found = _json(folder / CURRENT)
    except FileNotFoundError as error:
        raise SearchError(f"There is no index in {folder.name}; save one there first.") from error
    name, header = found.get("state"), found.get("header")
    sound = isinstance(name, str) and Path(name).name == name and name.startswith("state-")
    if not sound or found.keys() - {"state", "header"} or not isinstance(header, int | None):
        raise SearchError(f"The index is damaged: {CURRENT} names no state. Make it anew.")
    return str(name), header


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a file of numpy's, down to the disk."""
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return value


def _sum(path: Path) -> int:
    return int(_or_damaged(path, lambda: checksum(path)))


def sync(path: Path) -> None:
    """Have a file, or what a folder lists, reach the disk; where that cannot be asked for, the system sees to it."""
    if os.name != "posix":
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
