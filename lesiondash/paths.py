"""Where generated things live: the collection, the encoders and the galleries."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def data_dir() -> Path:
    """Return the folder of everything generated: `LESIONDASH_DATA`, a checkout's `data/`, or one in the home folder."""
    named = os.environ.get("LESIONDASH_DATA")
    if named:
        return Path(named).expanduser().resolve()
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    return Path.home() / ".local" / "share" / "lesiondash"


def demo_dir() -> Path:
    """Return the root of the demonstration collection."""
    return data_dir() / "demo"


def encoder_path() -> Path:
    """Return the checkpoint that `lesiondash prepare` trains."""
    return data_dir() / "models" / "simclr-gem-demo.safetensors"


def runs_dir() -> Path:
    """Return the folder of trainings, one folder each."""
    return data_dir() / "runs"


def gallery_dir(root: Path) -> Path:
    """Return the gallery folder of a collection: outside of it, since a data set on disk is not ours to write to."""
    return data_dir() / "galleries" / _name_of(root)


def added_dir(root: Path) -> Path:
    """Return the folder of the lesions that people added to a collection: it outlives every gallery."""
    return data_dir() / "added" / _name_of(root)


def annotations_dir() -> Path:
    """Return the folder of annotations, a file for each series: `LESIONDASH_ANNOTATIONS`, or one in the data folder."""
    named = os.environ.get("LESIONDASH_ANNOTATIONS")
    return Path(named).expanduser().resolve() if named else data_dir() / "annotations"


def _name_of(root: Path) -> str:
    resolved = root.resolve()
    return f"{resolved.name}-{hashlib.sha256(str(resolved).encode()).hexdigest()[:8]}"


def chosen_collection() -> Path:
    """Return the collection that the page opens: `LESIONDASH_COLLECTION`, or the demonstration."""
    named = os.environ.get("LESIONDASH_COLLECTION")
    return Path(named).expanduser().resolve() if named else demo_dir()
