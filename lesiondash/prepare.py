"""Everything that must exist before the page opens: collection, encoder and gallery, each made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lesiondash.errors import CollectionError
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.checkpoint import fingerprint_of
from lesiondash.paths import demo_dir, encoder_path, gallery_dir
from lesiondash.retrieval.gallery import Gallery, read_header

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prepared:
    """What `prepare` found or made: paths, and the names of the steps it had to take."""

    root: Path
    encoder: Path
    gallery: Path
    made: tuple[str, ...]


def prepare(
    root: Path | None = None, *, partial: bool = False, train: bool = False, progress: Progress | None = None
) -> Prepared:
    """Make what is missing of the demonstration collection, the encoder, and the gallery of a collection.

    root: a DeepLesion folder, or None for the demonstration. partial: go on with the usable rows where images are
    missing. train: train the encoder on this collection's training split instead of the demonstration's. Nothing that
    exists and fits is made again. Raises `CollectionError` for a folder that cannot be used.
    """
    made = []
    say = progress or (lambda step, done, total: None)
    if root is None and draw_demonstration(say):
        made.append("collection")
    collection = DeepLesion(root or demo_dir(), partial=partial)
    weights = encoder_path()
    if train or not weights.is_file():
        if root is not None and not train:
            made.extend(prepare(progress=progress).made)  # an encoder for this one comes from the demonstration
        else:
            _train(collection, weights, say)
            made.append("encoder")
    if index_with(collection, weights, progress):
        made.append("gallery")
    return Prepared(collection.root, weights, gallery_dir(collection.root), tuple(made))


def index_with(collection: DeepLesion, weights: Path, progress: Progress | None = None) -> bool:
    """Make a collection's gallery by an encoder's file, unless it fits already; returns whether it was made."""
    folder = gallery_dir(collection.root)
    if _gallery_fits(folder, collection, weights):
        return False
    from lesiondash.learning.encoder import Encoder

    Gallery.build(collection, Encoder.load(weights), folder, progress=progress)
    return True


def draw_demonstration(progress: Progress | None = None) -> bool:
    """Draw the demonstration collection where it is missing; returns whether it was.

    Of several processes one draws, and the others wait for it.
    """
    manifest = demo_dir() / "manifest.json"
    if manifest.is_file():
        return False
    from lesiondash.images.phantom import generate

    say = progress or (lambda step, done, total: None)
    demo_dir().parent.mkdir(parents=True, exist_ok=True)
    with FileLock(demo_dir().with_suffix(".lock")):
        if manifest.is_file():
            return False
        generate(demo_dir(), progress=lambda done, total: say("Draw the demonstration collection", done, total))
    return True


def _train(collection: DeepLesion, weights: Path, say: Progress) -> None:
    """Pre-train on the training split; the slices next to each key slice are further views of the same lesion."""
    from lesiondash.learning.dataset import training_crops
    from lesiondash.learning.pretrain import pretrain
    from lesiondash.learning.settings import PretrainSettings

    settings = PretrainSettings()
    data = training_crops(collection, settings, progress=lambda done, total: say("Cut training crops", done, total))
    encoder = pretrain(
        data, settings, progress=lambda step, total, loss: say(f"Train the encoder (loss {loss:.2f})", step, total)
    )
    encoder.save(weights)


def _gallery_fits(folder: Path, collection: DeepLesion, weights: Path) -> bool:
    """Whether the gallery on disk is of this collection and of this encoder, and can be opened."""
    header = read_header(folder)
    if header is None or header.encoder != fingerprint_of(weights):
        return False
    try:
        Gallery.open(collection, folder)
    except CollectionError:
        return False
    return True
