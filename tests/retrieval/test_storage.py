"""An index on disk: the same answers, whole or not at all, and damage is said."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesiondash.errors import SearchError
from lesiondash.retrieval import index as index_module
from lesiondash.retrieval.index import Index


def made(seed: int, count: int = 60, encoder: str = "e1") -> Index:
    random = np.random.default_rng(seed)
    lesions: dict[str, Any] = {
        "lesion_id": [f"L{row}" for row in range(count)],
        "patient_id": [f"P{row // 3}" for row in range(count)],
        "type": ["lung", "liver"] * (count // 2),
        "size_mm": random.uniform(3, 50, count).tolist(),
    }
    return Index(random.normal(size=(count, 20)), lesions, encoder=encoder)


@pytest.mark.parametrize("codes_from", [1, 10_000])
def test_reads_back_what_was_saved(tmp_path: Path, codes_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "CODES_FROM", codes_from)
    index = made(0)
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index", encoder="e1")
    assert isinstance(loaded.vectors, np.memmap)
    assert loaded.lesions == index.lesions
    for query in index.vectors[::7]:
        assert loaded.search(query) == index.search(query)
    loaded.add(made(1).vectors[:1], {"lesion_id": ["new"], "patient_id": ["P"], "type": ["lung"], "size_mm": [4.0]})
    loaded.save(tmp_path / "index")
    assert len(Index.load(tmp_path / "index")) == 61
    assert len(list((tmp_path / "index").glob("state-*"))) == 1


def test_vectors_of_another_encoder_are_refused_with_both_names(tmp_path: Path) -> None:
    made(0).save(tmp_path)
    with pytest.raises(SearchError, match=r"e2.*e1"):
        Index.load(tmp_path, encoder="e2")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="no index in"):
        Index.load(tmp_path / "nowhere")


def test_every_damaged_file_is_told(tmp_path: Path) -> None:
    made(0).save(tmp_path / "whole")
    state = next((tmp_path / "whole").glob("state-*")).name
    names = [f"{state}/{path.name}" for path in (tmp_path / "whole" / state).iterdir()] + ["index.json"]
    assert len(names) >= 6
    for name in names:
        for harm in ("cut", "flip", "gone", "folder"):
            damaged = tmp_path / f"{Path(name).name}-{harm}"
            shutil.copytree(tmp_path / "whole", damaged)
            path = damaged / name
            content = path.read_bytes()
            if harm == "cut":
                path.write_bytes(content[: len(content) // 2])
            elif harm == "flip":
                path.write_bytes(content[:-5] + bytes([content[-5] ^ 0x10]) + content[-4:])
            else:
                path.unlink()
                if harm == "folder":
                    path.mkdir()
            with pytest.raises(SearchError):
                Index.load(damaged)


def test_cut_off_vectors_are_told_without_checksums(tmp_path: Path) -> None:
    made(0).save(tmp_path)
    path = next(tmp_path.glob("state-*")) / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SearchError, match=r"vectors\.npy"):
        Index.load(tmp_path, verify=False)


@pytest.mark.parametrize("name", ["header.json", "index.json", "names.json", "vectors.npy", "column-0.npy"])
def test_a_changed_bit_anywhere_is_told(tmp_path: Path, name: str) -> None:
    """Also one in what holds the checksums; unchecked, it may be missed, but nothing but a SearchError comes of it."""
    made(0, 8).save(tmp_path)
    path = next(tmp_path.rglob(name))
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for place in range(0, len(content), 1 if len(content) < 1000 else 9):
        changed = bytearray(content)
        changed[place] ^= 1 << random.integers(8)
        path.unlink()  # what an older loop still has mapped stays as it is
        path.write_bytes(changed)
        with pytest.raises(SearchError):
            Index.load(tmp_path)
        with contextlib.suppress(SearchError):
            Index.load(tmp_path, verify=False).search(np.ones(20))


def test_an_index_of_an_older_program_opens(tmp_path: Path) -> None:
    """Its pointer holds no checksum of the header."""
    made(0).save(tmp_path)
    pointer = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({"state": pointer["state"]}))
    assert Index.load(tmp_path).lesions == made(0).lesions


def test_a_save_that_is_killed_leaves_the_index_before_or_the_new_one(tmp_path: Path) -> None:
    """The process dies after each file in turn."""
    made(0).save(tmp_path)
    program = """
import os, sys
import numpy as np
sys.path.insert(0, sys.argv[3])
from dying import die_after
from test_storage import made
die_after(int(sys.argv[2]), (os, "fsync"), (os, "replace"))
made(1, 40, "e2").save(sys.argv[1])
"""
    outcomes, seen, states = [], [], [made(0).lesions, made(1, 40).lesions]
    for step in range(20):
        arguments = [sys.executable, "-c", program, str(tmp_path), str(step), str(Path(__file__).parent)]
        outcomes.append(subprocess.run(arguments, timeout=120).returncode)
        if outcomes[-1] == 0:
            break
        seen.append(states.index(Index.load(tmp_path).lesions))
    assert outcomes[-1] == 0
    assert outcomes.count(9) >= 6
    assert seen == sorted(seen)  # once the new one counts, it stays
    assert seen.count(0) >= 6
    assert Index.load(tmp_path).encoder == "e2"
    assert len(list(tmp_path.glob("state-*"))) == 1  # what the killed ones left is gone


def _write(folder: str, times: int) -> None:
    for turn in range(times):
        made(turn % 2, 60 if turn % 2 else 40, f"e{turn % 2}").save(folder)


def test_two_processes_read_while_one_writes(tmp_path: Path) -> None:
    _write(str(tmp_path), 1)
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_write, args=(str(tmp_path), 60))
    writer.start()
    seen, queries = set(), {40: made(0, 40).vectors, 60: made(1, 60).vectors}
    while writer.is_alive():
        index = Index.load(tmp_path)
        query = queries[len(index)][3]
        assert index.search(query, 1)[0].lesion_id == "L3"  # vectors, table and length are of one state
        assert index.encoder == {40: "e0", 60: "e1"}[len(index)]
        seen.add(len(index))
    writer.join()
    assert writer.exitcode == 0
    assert seen == {40, 60}


def test_a_pointer_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    made(0).save(tmp_path / "index")
    (tmp_path / "index" / "index.json").write_text(json.dumps({"state": "../elsewhere"}))
    with pytest.raises(SearchError, match="names no state"):
        Index.load(tmp_path / "index")
