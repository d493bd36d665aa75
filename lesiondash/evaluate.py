"""Score encoders on a collection's test split: retrieval in every scope, classification, and what needs no labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import CollectionError
from lesiondash.images.collection import collect_stacks
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.meters import alignment, effective_rank, uniformity
from lesiondash.records import UNLABELLED, Lesion
from lesiondash.retrieval.classification import linear_probe, nearest_vote
from lesiondash.retrieval.guards import Guard, guards
from lesiondash.retrieval.intervals import Interval, interval
from lesiondash.retrieval.metrics import hubness
from lesiondash.retrieval.protocol import DEFAULT_SCOPES, ScopeScore, evaluate
from lesiondash.retrieval.scopes import EvalScope

if TYPE_CHECKING:
    from lesiondash.learning.encoder import Encoder

SCOPE_NAMES: dict[str, str] = {
    "all": "all",
    "same": "same patient",
    "cross": "other patients",
    "same-strict": "same, no follow-ups",
    "track": "follow-ups",
    "released-code": "released code, all",
    "released-code-same": "released code, same",
}
HEADLINE = "cross"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one encoder's vectors of a split scored.

    scopes: by name; classification: "linear probe" and "20 nearest", empty where there is nothing to learn from;
    label_free: alignment (two neighbouring slices), uniformity, RankMe, hubness; guards: what had to hold.
    """

    name: str
    lesions: tuple[Lesion, ...]
    vectors: npt.NDArray[np.float32]
    scopes: dict[str, ScopeScore]
    classification: dict[str, dict[str, float]]
    label_free: dict[str, float]
    guards: list[Guard]

    def intervals(self, scope: str) -> dict[str, Interval]:
        """Return mean and 95 % interval, patients drawn anew, of each measure of a scope."""
        score = self.scopes[scope]
        return {name: interval(score.values[:, place], score.patients) for place, name in enumerate(score.measures)}


def evaluate_encoders(
    root: Path,
    encoders: Mapping[str, Encoder],
    *,
    split: str = "test",
    scopes: Sequence[EvalScope] = DEFAULT_SCOPES,
    partial: bool = False,
    progress: Progress | None = None,
) -> dict[str, Evaluation]:
    """Evaluate encoders, by name, on a split of a collection.

    The linear probe and the vote learn from the labelled lesions outside of the split. Raises `CollectionError` when
    the split has no labelled lesion, `SearchError` for an unknown scope.
    """
    collection, say = DeepLesion(root, partial=partial), progress or (lambda step, done, total: None)
    lesions = [item for item in collection.lesions if item.split == split and item.type != UNLABELLED]
    if not lesions:
        raise CollectionError(
            f"{collection.root.name} has no labelled lesion in its {split} split; there is nothing to score."
        )
    others = [item for item in collection.lesions if item.split != split]
    found = {}
    for number, (name, encoder) in enumerate(encoders.items()):
        say(f"Evaluate ({name})", number, len(encoders))
        found[name] = _evaluation(name, encoder, collection, lesions, others, scopes)
    say("Evaluate", len(encoders), len(encoders))
    return found


def _evaluation(
    name: str,
    encoder: Encoder,
    collection: DeepLesion,
    lesions: Sequence[Lesion],
    others: Sequence[Lesion],
    scopes: Sequence[EvalScope],
) -> Evaluation:
    slices = encoder.architecture.slices

    def embedded(chosen: Sequence[Lesion], offset: int = 0) -> npt.NDArray[np.float32]:
        return encoder.embed(collect_stacks(collection, chosen, slices, slice_offset=offset))

    seen = labelled(others)
    return evaluate_vectors(
        name, embedded(lesions), lesions, others, embedded(seen) if seen else None, embedded(lesions, 1), scopes=scopes
    )


def evaluate_vectors(
    name: str,
    vectors: npt.NDArray[np.float32],
    lesions: Sequence[Lesion],
    others: Sequence[Lesion],
    seen_vectors: npt.NDArray[np.float32] | None,
    beside: npt.NDArray[np.float32],
    *,
    scopes: Sequence[EvalScope] = DEFAULT_SCOPES,
) -> Evaluation:
    """Evaluate the vectors (n, d) of a split's labelled lesions.

    others: the lesions outside of the split; seen_vectors: of those of them that `labelled` returns, None where there
    is none; beside: (n, d), of the same lesions a slice further. Raises `SearchError` for vectors that do not fit.
    """
    scores = evaluate(vectors, lesions, scopes=scopes)
    label_free = {
        "alignment": alignment(vectors, beside),
        "uniformity": uniformity(vectors),
        "RankMe": effective_rank(vectors),
    }
    if HEADLINE in scores and scores[HEADLINE].queries:
        label_free["hubness"] = hubness(scores[HEADLINE].nearest, len(lesions))
    return Evaluation(
        name,
        tuple(lesions),
        vectors,
        dict(scores),
        {} if seen_vectors is None else _classification(seen_vectors, labelled(others), vectors, lesions),
        label_free,
        guards(vectors, lesions, others),
    )


def labelled(lesions: Sequence[Lesion]) -> list[Lesion]:
    """Return the lesions that have a type."""
    return [item for item in lesions if item.type != UNLABELLED]


def _classification(
    seen_vectors: npt.NDArray[np.float32],
    seen: Sequence[Lesion],
    vectors: npt.NDArray[np.float32],
    lesions: Sequence[Lesion],
) -> dict[str, dict[str, float]]:
    known = {lesion.type for lesion in seen}
    rows = [row for row, lesion in enumerate(lesions) if lesion.type in known]
    if len(known) < 2 or not rows:
        return {}
    types, truth = [lesion.type for lesion in seen], [lesions[row].type for row in rows]
    return {
        "linear probe": linear_probe(seen_vectors, types, [item.patient_id for item in seen], vectors[rows], truth),
        "20 nearest": nearest_vote(seen_vectors, types, vectors[rows], truth),
    }


def differences(found: Mapping[str, Evaluation], scope: str) -> list[tuple[str, str, dict[str, Interval]]]:
    """Return (first encoder, another, measure → interval of the difference), query by query on the same resamples."""
    (first, own), *others = found.items()
    score = own.scopes[scope]
    result = []
    for name, other in others:
        theirs = other.scopes[scope]
        if not score.queries or theirs.rows.tolist() != score.rows.tolist():
            continue
        gain = score.values - theirs.values
        gains = {measure: interval(gain[:, k], score.patients) for k, measure in enumerate(score.measures)}
        result.append((first, name, gains))
    return result


def as_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain numbers, for JSON; no lesion or patient is named."""
    return {
        "scopes": {
            scope: {
                "queries": score.queries,
                "skipped": score.skipped,
                "coverage": score.coverage,
                "measures": {
                    name: {
                        "score": found.mean,
                        "interval": [found.low, found.high],
                        "chance": score.chance[name],
                        "ceiling": score.ceiling[name],
                        "macro": score.macro[name],
                    }
                    for name, found in (evaluation.intervals(scope) if score.queries else {}).items()
                },
                "per_type": {kind: {"queries": part.queries, **part.scores} for kind, part in score.per_type.items()},
            }
            for scope, score in evaluation.scopes.items()
        },
        "classification": evaluation.classification,
        "label_free": evaluation.label_free,
        "guards": [{"name": each.name, "passed": each.passed, "found": each.found} for each in evaluation.guards],
    }


def as_table(found: Mapping[str, Evaluation]) -> str:
    """Return evaluations as aligned text, one line for each encoder, scope and measure.

    "by type" is the mean over types, each counting alike; skipped queries have nothing relevant to find.
    """
    head = ("encoder", "scope", "measure", "score", "95 %", "chance", "ceiling", "by type", "queries", "skipped")
    lines = ["{:<12} {:<19} {:<14} {:>6} {:>15} {:>7} {:>8} {:>8} {:>8} {:>8}".format(*head)]
    for name, evaluation in found.items():
        for scope, score in evaluation.scopes.items():
            by_type = score.macro
            for measure, part in (evaluation.intervals(scope) if score.queries else {}).items():
                lines.append(
                    f"{name:<12} {SCOPE_NAMES[scope]:<19} {measure:<14} {part.mean:>6.3f} "
                    f"{f'{part.low:.3f} – {part.high:.3f}':>15} {score.chance[measure]:>7.3f} "
                    f"{score.ceiling[measure]:>8.3f} {by_type[measure]:>8.3f} {score.queries:>8} {score.skipped:>8}"
                )
            if not score.queries:
                lines.append(f"{name:<12} {SCOPE_NAMES[scope]:<19} no query has anything relevant to find here")
    for scope in next(iter(found.values())).scopes:
        for first, other, gains in differences(found, scope):
            for measure, gain in gains.items():
                said = f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
                lines.append(f"{f'{first} − {other}':<25} {SCOPE_NAMES[scope]:<19} {measure:<14} {said}")
    for name, evaluation in found.items():
        for probe, scores in evaluation.classification.items():
            lines.append(f"{name}, {probe}: " + ", ".join(f"{key} {value:.3f}" for key, value in scores.items()))
        lines.append(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in evaluation.label_free.items()))
        for guard in evaluation.guards:
            if not guard.passed:
                lines.append(f"{name}: DO NOT TRUST these scores: {guard.name} does not hold ({guard.found})")
    return "\n".join(lines)
