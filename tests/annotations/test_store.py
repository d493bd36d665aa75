"""Annotations on disk: kept at every change, found again, never half, never lost."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from marked_series import marked_series, marks, reordered

from lesiondash.annotations.store import AnnotationStore
from lesiondash.records import Annotation

SERIES = marked_series()


def opened(folder: Path | None) -> AnnotationStore:
    store = AnnotationStore(folder)
    store.know(SERIES)
    return store


def test_what_is_drawn_is_there_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path / "kept")
    assert first.of(SERIES.uid) == ()
    first.replace(SERIES.uid, marks(SERIES))
    again = opened(tmp_path / "kept")
    assert again.of(SERIES.uid) == marks(SERIES)
    again.replace(SERIES.uid, marks(SERIES)[:2])
    assert opened(tmp_path / "kept").of(SERIES.uid) == marks(SERIES)[:2]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [f"{SERIES.uid}.json"]
    assert first.pop_problems() == again.pop_problems() == ()


def test_without_a_folder_they_are_kept_in_memory() -> None:
    store = opened(None)
    store.replace(SERIES.uid, marks(SERIES))
    assert store.of(SERIES.uid) == marks(SERIES)
    assert store.path(SERIES.uid) is None


def test_of_a_series_that_nobody_knows_nothing_is_written(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path)
    store.replace("unknown", marks(SERIES))
    assert store.of("unknown") == marks(SERIES)
    assert list(tmp_path.iterdir()) == []


def test_a_uid_is_no_path(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path / "kept")
    for uid in ("../../x", "a/b", "lesion 000001_01_01_109"):
        path = store.path(uid)
        assert path is not None
        assert path.parent == tmp_path / "kept"


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": "x"}', b"\xff\xfe", b"[1, 2]"])
def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / f"{SERIES.uid}.json"
    path.write_bytes(content)
    store = opened(tmp_path)
    assert store.of(SERIES.uid) == ()
    (said,) = store.pop_problems()
    store.replace(SERIES.uid, marks(SERIES)[:1])
    (aside,) = [other for other in tmp_path.iterdir() if other != path]
    assert aside.name in said
    assert aside.read_bytes() == content
    assert opened(tmp_path).of(SERIES.uid) == marks(SERIES)[:1]


def test_a_file_is_set_aside_also_where_it_was_never_asked_for(tmp_path: Path) -> None:
    path = tmp_path / f"{SERIES.uid}.json"
    path.write_text("damaged")
    opened(tmp_path).replace(SERIES.uid, marks(SERIES))
    assert sorted(other.read_text()[:7] for other in tmp_path.iterdir())[0] == "damaged"


def test_slices_that_are_not_loaded_keep_their_annotations(tmp_path: Path) -> None:
    opened(tmp_path).replace(SERIES.uid, marks(SERIES))
    part = AnnotationStore(tmp_path)
    part.know(reordered(SERIES, [1, 2]))
    assert [(one.id, one.slice_index) for one in part.of(SERIES.uid)] == [("a", 0), ("b", 1), ("d", 0)]
    assert "3 kept annotations" in part.pop_problems()[0]
    part.replace(SERIES.uid, part.of(SERIES.uid)[1:])
    assert {one.id for one in opened(tmp_path).of(SERIES.uid)} == {"b", "c", "d", "e", "f"}


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_series_read_again_with_more_slices_keeps_them_on_theirs(tmp_path: Path, on_disk: bool) -> None:
    store = AnnotationStore(tmp_path if on_disk else None)
    store.know(reordered(SERIES, [2, 3]))
    store.replace(SERIES.uid, [Annotation("x", "box", SERIES.uid, 0, ((1, 1), (5, 5)))])
    store.know(SERIES)
    assert [one.slice_index for one in store.of(SERIES.uid)] == [2]


def test_a_disk_that_refuses_is_said_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here no folder can be")
    store = opened(tmp_path / "file" / "kept")
    store.replace(SERIES.uid, marks(SERIES))
    assert store.of(SERIES.uid) == marks(SERIES)
    assert any("save them as JSON" in said for said in store.pop_problems())


def _write_often(folder: str, count: int) -> None:
    store = opened(Path(folder))
    for _ in range(40):
        store.replace(SERIES.uid, marks(SERIES)[:count])


def test_of_two_writers_the_last_wins_and_no_file_is_half(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_often, args=(str(tmp_path), count)) for count in (2, 6)]
    for writer in writers:
        writer.start()
    path, seen = tmp_path / f"{SERIES.uid}.json", set()
    while any(writer.is_alive() for writer in writers):
        if path.is_file():
            seen.add(len(json.loads(path.read_text(encoding="utf-8"))["annotations"]))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen <= {2, 6}
    assert len(opened(tmp_path).of(SERIES.uid)) in {2, 6}
    assert [other.name for other in tmp_path.iterdir()] == [path.name]
