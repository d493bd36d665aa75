"""A gallery on disk: whole or as it was, opened while it is made anew, and what is damaged is said and mended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesiondash.errors import CollectionError
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.images.phantom import PhantomSettings, generate
from lesiondash.paths import encoder_path, gallery_dir
from lesiondash.prepare import prepare
from lesiondash.retrieval.gallery import Gallery

SMALL = PhantomSettings(patients=6, seed=1, image_px=64, dicom_patients=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small collection, and a data folder with its gallery by an encoder that has learned nothing."""
    from lesiondash.learning.encoder import Encoder

    folder = tmp_path_factory.mktemp("gallery")
    root, data = folder / "scans [1]", folder / "data"
    generate(root, SMALL, workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONDASH_DATA", str(data))
        Encoder.untrained().save(encoder_path())
        assert prepare(root).made == ("gallery",)
    return root, data


@pytest.fixture
def folder(prepared: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The gallery's folder in a copy of the data."""
    shutil.copytree(prepared[1], tmp_path / "data")
    monkeypatch.setenv("LESIONDASH_DATA", str(tmp_path / "data"))
    return gallery_dir(prepared[0])


@pytest.fixture
def collection(prepared: tuple[Path, Path]) -> DeepLesion:
    return DeepLesion(prepared[0])


def content(gallery: Gallery) -> list[Any]:
    assert gallery.classifier is not None
    arrays = (gallery.crops, gallery.vectors, gallery.xy, gallery.classifier.weights)
    return [gallery.encoder_fingerprint, gallery.index.lesions, *(array.tolist() for array in arrays)]


def in_place(folder: Path) -> None:
    """Lay a gallery out as an older program did."""
    header = json.loads((folder / "gallery.json").read_text())
    state = folder / header.pop("state")
    for path in state.iterdir():
        path.rename(folder / path.name)
    state.rmdir()
    del header["classifier"]
    (folder / "gallery.json").write_text(json.dumps({**header, "format": 3}))


FILES = ["gallery.json", "crops.npy", "xy.npy", "classifier.safetensors", "vectors.npy", "names.json", "index.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_gallery_is_told_and_prepare_mends_it(folder: Path, collection: DeepLesion, name: str) -> None:
    whole = content(Gallery.open(collection, folder))
    path = next(folder.rglob(name))
    bytes_ = path.read_bytes()
    for harm in ("a folder", "emptied", "gone", "cut"):
        if path.is_file():
            path.unlink()
        if harm == "a folder":
            path.mkdir()
        elif harm != "gone":
            path.write_bytes(bytes_[: len(bytes_) // 2] if harm == "cut" else b"")
        with pytest.raises(CollectionError, match="run `lesiondash prepare`"):
            Gallery.open(collection, folder)
        if harm == "a folder":
            path.rmdir()
    assert prepare(collection.root).made == ("gallery",)
    assert content(Gallery.open(collection, folder)) == whole


@pytest.mark.parametrize("change", [{"encoder_fingerprint": None}, {"state": "../elsewhere"}, {"format": 99}], ids=str)
def test_a_header_that_says_too_little(folder: Path, collection: DeepLesion, change: dict[str, Any]) -> None:
    header = json.loads((folder / "gallery.json").read_text())
    for text in (json.dumps({**header, **change}), '{"format": 3}', '{"format": 4}', "[]", "[" * 10**5):
        (folder / "gallery.json").write_text(text)
        with pytest.raises(CollectionError, match="run `lesiondash prepare`"):
            Gallery.open(collection, folder)
    assert prepare(collection.root).made == ("gallery",)


def test_arrays_of_another_length_are_told(folder: Path, collection: DeepLesion) -> None:
    path = next(folder.rglob("crops.npy"))
    np.save(path, np.load(path)[1:])
    with pytest.raises(CollectionError, match=r"crops\.npy is int16"):
        Gallery.open(collection, folder)


def test_a_gallery_of_an_older_program_opens_and_is_replaced(folder: Path, collection: DeepLesion) -> None:
    whole = content(Gallery.open(collection, folder))
    in_place(folder)
    kept = Gallery.open(collection, folder)
    assert content(kept) == whole
    assert prepare(collection.root).made == ()
    (folder / "xy.npy").unlink()
    assert prepare(collection.root).made == ("gallery",)
    assert content(Gallery.open(collection, folder)) == whole
    assert {path.name for path in folder.iterdir() if not path.name.startswith("state-")} == {"gallery.json", ".lock"}
    assert content(kept) == whole  # who has it open keeps it


def test_what_lies_beside_a_gallery_stays_and_what_was_killed_goes(folder: Path, collection: DeepLesion) -> None:
    (folder / "filtered").mkdir()
    (folder / "filtered" / "responses").write_text("kept")
    left = [folder.with_name(f"{folder.name}.{os.getpid()}.part"), folder / "state-0123456789ab"]
    other = folder.with_name(f"{folder.name[:-1]}.1.part")
    for path in (*left, other):
        path.mkdir()
    next(folder.rglob("crops.npy")).unlink()
    assert prepare(collection.root).made == ("gallery",)
    assert (folder / "filtered" / "responses").read_text() == "kept"
    assert [path.exists() for path in (*left, other)] == [False, False, True]
    assert len(list(folder.glob("state-*"))) == 1


def test_a_folder_that_cannot_be_written_is_told(folder: Path, collection: DeepLesion) -> None:
    shutil.rmtree(folder)
    folder.write_text("in the way")
    with pytest.raises(CollectionError, match="could not be saved"):
        prepare(collection.root)


PROGRAM = """
import os, shutil, sys
from pathlib import Path
import numpy as np
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.retrieval.gallery import Gallery, _save
from lesiondash.retrieval.index import Index
sys.path.insert(0, sys.argv[3])
from dying import die_after
root, folder = DeepLesion(Path(sys.argv[1])), Path(sys.argv[2])
first = Gallery.open(root, folder)

def save(turn):
    index = Index(first.vectors, first.index.lesions, encoder=f"e{turn}")
    _save(folder, root, index, np.full_like(first.crops, turn), np.full_like(first.xy, turn), first.classifier)

def opened():
    found = Gallery.open(root, folder)
    turn = int(found.encoder_fingerprint[1:])
    assert (found.crops == turn).all() and (found.xy == turn).all()
    return turn

def forked(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child
"""
KILLED = """
save(0)
def killed(step):
    die_after(step, (os, "fsync"), (os, "replace"), (shutil, "rmtree"))
    save(1)
outcomes, turns = [], []
while 0 not in outcomes:
    child = forked(lambda: killed(len(outcomes)))
    outcomes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    turns.append(opened())
assert outcomes[:-1] == [9] * (len(outcomes) - 1) and len(outcomes) > 15, outcomes
assert turns == sorted(turns) and turns[0] == 0 and turns[-1] == 1, turns
assert len(list(folder.glob("state-*"))) == 1
"""
READ = """
save(0)
before = Gallery.open(root, folder)
def write():
    for turn in range(1, 41):
        save(turn % 2)
child, seen, ended = forked(write), set(), 0
while not ended:
    seen.add(opened())
    ended, status = os.waitpid(child, os.WNOHANG)
assert status == 0 and seen == {0, 1}, (status, seen)
assert (before.crops == 0).all()
"""


@pytest.mark.parametrize("program", [KILLED, READ], ids=["killed at each step", "read while it is written"])
def test_a_gallery_is_whole_at_any_moment(folder: Path, collection: DeepLesion, program: str) -> None:
    arguments = [sys.executable, "-c", PROGRAM + program, str(collection.root), str(folder), str(Path(__file__).parent)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
