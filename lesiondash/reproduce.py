"""The paper's tables again, beside its numbers: eight trainings by a linear probe, and retrieval after tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import CollectionError
from lesiondash.images.collection import collect_crops
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.settings import RATE_BATCH, PretrainSettings, settings_of
from lesiondash.records import UNLABELLED, Lesion
from lesiondash.retrieval.intervals import interval
from lesiondash.retrieval.scopes import EvalScope

if TYPE_CHECKING:
    from lesiondash.learning.dataset import TrainingCrops
    from lesiondash.retrieval.protocol import ScopeScore

PAPER: dict[tuple[str, bool, bool], tuple[float, float]] = {
    ("simclr", False, False): (64.52, 65.57),
    ("simclr", True, False): (80.39, 78.93),
    ("simclr", False, True): (69.24, 67.74),
    ("simclr", True, True): (80.73, 77.83),
    ("vae", False, False): (74.04, 68.83),
    ("vae", True, False): (74.35, 75.79),
    ("vae", False, True): (76.34, 73.78),
    ("vae", True, True): (76.04, 75.24),
}
"""Accuracy and F1 in %, by model, Frangi and GeM (Qi et al. 2023, Table 1)."""
PAPER_RETRIEVAL: dict[tuple[str, str], tuple[float, float, float]] = {
    ("vae", "all"): (0.688, 0.699, 0.581),
    ("vae", "same"): (0.707, 0.746, 0.630),
    ("vae", "cross"): (0.378, 0.408, 0.370),
    ("simclr", "all"): (0.729, 0.734, 0.643),
    ("simclr", "same"): (0.713, 0.757, 0.633),
    ("simclr", "cross"): (0.465, 0.503, 0.458),
}
"""mAP@10, P@1 and P@10, by model and whose lesions are searched (Table 2)."""
RELEASED: dict[str, EvalScope] = {"all": "released-code", "same": "released-code-same", "cross": "cross"}
"""Whose lesions the paper's code searches: but among other patients, the query itself is one of them."""
RETRIEVAL_MEASURES = ("mP@10", "AP_min@10", "AP_hit@10", "P@1", "P@10")
SMALL_STEPS = 110
FULL_EPOCHS = 1000
SEEDS = (0, 1, 2)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Cell:
    """One cell of the table: accuracy and macro F1 on the test split, in %, of each seed.

    accuracy_interval: 95 %, of patients drawn anew with the seeds pooled.
    """

    model: str
    frangi: bool
    gem: bool
    accuracy: tuple[float, ...]
    f1: tuple[float, ...]
    accuracy_interval: tuple[float, float]
    steps: int


def table1(
    root: Path,
    *,
    full: bool = False,
    seeds: Sequence[int] = SEEDS,
    batch: int = RATE_BATCH,
    partial: bool = False,
    use: str = "replace",
    progress: Progress | None = None,
) -> list[Cell]:
    """Train the eight cells and score them; full is the paper's schedule, 1000 epochs at its rate.

    batch: lesions a step, with which the rate is scaled as the schedule says.
    use: how a cell with Frangi sees the response, in place of the image as the paper does, or as a "channel" beside it.
    A cell's classifier is fitted to the vectors of labelled lesions outside of the test split, and touches that once.
    Raises `CollectionError` where lesions of a type are missing to fit or to score.
    """
    from lesiondash.learning.dataset import steps_of_epochs, training_crops

    collection = DeepLesion(root, partial=partial)
    say = progress or (lambda step, done, total: None)
    seen, held = _labelled(collection)
    cells: list[Cell] = []
    total, crops = len(PAPER) * len(seeds), {}
    for model, frangi, gem in PAPER:
        parts = []
        for seed in seeds:
            settings = cell_settings(model, frangi, gem, seed, full=full, batch=batch, use=use)
            if full:
                settings = replace(settings, steps=steps_of_epochs(collection, settings, FULL_EPOCHS))
            if frangi not in crops:
                crops[frangi] = training_crops(collection, settings)
            parts.append(_train_and_score(collection, crops[frangi], settings, seen, held))
            say("Train the cells of Table 1", len(cells) * len(seeds) + len(parts), total)
        cells.append(_cell(model, frangi, gem, parts, held))
    return cells


def cell_settings(
    model: str,
    frangi: bool,
    gem: bool,
    seed: int,
    *,
    full: bool = False,
    batch: int = RATE_BATCH,
    use: str = "replace",
) -> PretrainSettings:
    """Return the settings of a cell; the full schedule's number of steps is set when the collection is known."""
    response: Any = use if frangi else "none"
    architecture = Architecture(frangi=response, pool="gem" if gem else "average")
    own: dict[str, Any] = {"steps": SMALL_STEPS}
    if full:
        own = {"optimiser": "lars", "learning_rate": 0.05, "scaling": "linear", "loss": "nt_xent", "temperature": 0.5}
    return settings_of(model, architecture=architecture, seed=seed, batch=batch, **own)  # type: ignore[arg-type]


def as_table(cells: Sequence[Cell]) -> str:
    """Return the cells as aligned text, the paper's numbers beside ours."""
    head = ("model", "Frangi", "GeM", "accuracy", "95 %", "F1", "paper: accuracy", "F1")
    lines = ["{:<7} {:<6} {:<4} {:>9} {:>13} {:>6}   {:>15} {:>6}".format(*head)]
    for cell in cells:
        paper = PAPER[cell.model, cell.frangi, cell.gem]
        low, high = cell.accuracy_interval
        lines.append(
            f"{cell.model:<7} {'yes' if cell.frangi else 'no':<6} {'yes' if cell.gem else 'no':<4} "
            f"{np.mean(cell.accuracy):>9.2f} {f'{low:.1f} – {high:.1f}':>13} {np.mean(cell.f1):>6.2f}   "
            f"{paper[0]:>15.2f} {paper[1]:>6.2f}"
        )
    lines.append(
        f"Mean of {len(cells[0].accuracy)} seeds, {cells[0].steps:,} steps each. The paper's are of DeepLesion with "
        "its own split and schedule: compare the order of the cells, not the numbers."
    )
    return "\n".join(lines)


@dataclass(frozen=True)
class RetrievalRow:
    """One line of Table 2: means over the seeds of each measure, with its chance, by the protocol and as released."""

    model: str
    scope: str
    scores: dict[str, float]
    chance: dict[str, float]
    released: dict[str, float]
    p1_interval: tuple[float, float]
    seeds: int


def table2(
    root: Path,
    *,
    full: bool = False,
    seeds: Sequence[int] = SEEDS,
    batch: int = RATE_BATCH,
    partial: bool = False,
    progress: Progress | None = None,
) -> list[RetrievalRow]:
    """Train SimCLR and VAE with GeM, tune them with triplets as the paper does, and score retrieval on the test split.

    Tuned with the labelled lesions outside of the test split. Raises `CollectionError` where lesions of a type are
    missing to tune with or to score.
    """
    from lesiondash.learning.dataset import finetuning_crops, steps_of_epochs, training_crops
    from lesiondash.learning.finetune import FinetuneSettings, finetune
    from lesiondash.learning.pretrain import pretrain
    from lesiondash.retrieval.protocol import evaluate

    collection, say = DeepLesion(root, partial=partial), progress or (lambda step, done, total: None)
    _, held = _labelled(collection)
    crops = collect_crops(collection, held)
    labelled = finetuning_crops(collection, Architecture())
    data = training_crops(collection, cell_settings("simclr", False, True, 0))
    rows, done = [], 0
    for model in ("vae", "simclr"):
        found = []
        for seed in seeds:
            settings = cell_settings(model, False, True, seed, full=full, batch=batch)
            if full:
                settings = replace(settings, steps=steps_of_epochs(collection, settings, FULL_EPOCHS))
            tuned = finetune(pretrain(data, settings), labelled, FinetuneSettings(seed=seed))
            found.append(evaluate(tuned.embed(crops), held, scopes=("all", "same", *RELEASED.values())))
            done += 1
            say("Train and tune for Table 2", done, 2 * len(seeds))
        rows += [_retrieval_row(model, scope, found) for scope in RELEASED]
    return rows


def _retrieval_row(model: str, scope: str, found: Sequence[dict[str, ScopeScore]]) -> RetrievalRow:
    def mean(parts: Sequence[dict[str, float]]) -> dict[str, float]:
        return {name: float(np.mean([part[name] for part in parts])) for name in RETRIEVAL_MEASURES}

    first = found[0][scope]
    place = first.measures.index("P@1")
    p1 = interval(np.mean([each[scope].values[:, place] for each in found], axis=0), first.patients)
    return RetrievalRow(
        model,
        scope,
        mean([each[scope].scores for each in found]),
        mean([each[scope].chance for each in found]),
        mean([each[RELEASED[scope]].scores for each in found]),
        (p1.low, p1.high),
        len(found),
    )


def as_retrieval_table(rows: Sequence[RetrievalRow]) -> str:
    """Return the rows as aligned text: ours, chance, ours by the released code's rules, the paper's."""
    names = {"all": "all", "same": "same patient", "cross": "other patients"}
    measures = "".join(f"{name:>11}" for name in RETRIEVAL_MEASURES)
    lines = [f"{'model':<7} {'among':<15} {'':<14}{measures}"]
    for row in rows:
        low, high = row.p1_interval
        for said, scores in (("ours", row.scores), ("chance", row.chance), ("as released", row.released)):
            note = f"   P@1 95 %: {low:.3f} – {high:.3f}" if said == "ours" else ""
            values = "".join(f"{scores[name]:>11.3f}" for name in RETRIEVAL_MEASURES)
            lines.append(f"{row.model:<7} {names[row.scope]:<15} {said:<14}{values}{note}")
        mean, first, ten = PAPER_RETRIEVAL[row.model, row.scope]
        lines.append(
            f"{row.model:<7} {names[row.scope]:<15} {'paper':<14}{mean:>11.3f}{'':>22}{first:>11.3f}{ten:>11.3f}"
        )
    lines.append(
        f"Mean of {rows[0].seeds} seeds. The paper calls mAP@10 what its code computes as the mean of P@i, here mP@10; "
        'it leaves the query in the gallery of "all" and "same patient", as the lines "as released" do.'
    )
    return "\n".join(lines)


def _labelled(collection: DeepLesion) -> tuple[list[Lesion], list[Lesion]]:
    seen = [lesion for lesion in collection.lesions if lesion.may_teach]
    held = [lesion for lesion in collection.lesions if lesion.type != UNLABELLED and lesion.split == "test"]
    if len({lesion.type for lesion in seen}) < 2 or not held:
        raise CollectionError(f"{collection.root.name} has too few labelled lesions to fit and to score a classifier.")
    return seen, held


def _train_and_score(
    collection: DeepLesion, data: TrainingCrops, settings: PretrainSettings, seen: list[Lesion], held: list[Lesion]
) -> tuple[npt.NDArray[np.bool_], float, int]:
    """Return which test lesions were told right, macro F1, and the number of steps."""
    from sklearn.metrics import f1_score

    from lesiondash.learning.classifier import LesionClassifier
    from lesiondash.learning.pretrain import pretrain

    encoder = pretrain(data, settings)
    model = LesionClassifier.fit(
        encoder.embed(collect_crops(collection, seen)),
        [lesion.type for lesion in seen],
        [lesion.patient_id for lesion in seen],
    )
    found = model.probabilities(encoder.embed(collect_crops(collection, held))).argmax(axis=1)
    told, truth = [model.types[k] for k in found], [lesion.type for lesion in held]
    f1 = 100 * float(f1_score(truth, told, average="macro"))
    return np.array(told) == np.array(truth), f1, settings.steps


def _cell(
    model: str,
    frangi: bool,
    gem: bool,
    parts: list[tuple[npt.NDArray[np.bool_], float, int]],
    held: list[Lesion],
) -> Cell:
    right = np.stack([part[0] for part in parts])
    found = interval(right.mean(axis=0), [lesion.patient_id for lesion in held])
    return Cell(
        model,
        frangi,
        gem,
        accuracy=tuple(100 * float(row.mean()) for row in right),
        f1=tuple(part[1] for part in parts),
        accuracy_interval=(100 * found.low, 100 * found.high),
        steps=parts[0][2],
    )
