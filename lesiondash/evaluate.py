"""Score encoders on a collection's test split: retrieval in every scope, classification, and what needs no labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import CollectionError
from lesiondash.images.collection import collect_stacks
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.meters import alignment, effective_rank, uniformity
from lesiondash.records import UNLABELLED, FloatArray, Lesion
from lesiondash.retrieval.classification import (
    blind_guess,
    classification_intervals,
    classification_scores,
    linear_probe,
    nearest_vote,
)
from lesiondash.retrieval.guards import Guard, guards
from lesiondash.retrieval.intervals import Interval, interval, macro_interval
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

    scopes: by name; classification: "linear probe", "20 nearest" and "chance" (how frequent the types are, no more),
    empty where there is nothing to learn from; classification_intervals: of those of its scores that have one;
    label_free: alignment (two neighbouring slices), uniformity, RankMe, hubness; guards: what had to hold.
    """

    name: str
    lesions: tuple[Lesion, ...]
    vectors: npt.NDArray[np.float32]
    scopes: dict[str, ScopeScore]
    classification: dict[str, dict[str, float]]
    classification_intervals: dict[str, dict[str, Interval]]
    label_free: dict[str, float]
    guards: list[Guard]

    def intervals(self, scope: str) -> dict[str, Interval]:
        """Return mean and 95 % interval, patients drawn anew, of each measure of a scope."""
        score = self.scopes[scope]
        return {name: interval(score.values[:, place], score.patients) for place, name in enumerate(score.measures)}

    def macro_intervals(self, scope: str) -> dict[str, Interval]:
        """Return the same of the mean over types, each type counting alike."""
        score = self.scopes[scope]
        return {
            name: macro_interval(score.values[:, place], score.types, score.patients)
            for place, name in enumerate(score.measures)
        }


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

    The linear probe and the vote learn from the labelled lesions outside of the split, and never from the test split: a
    model that is chosen on another must not have seen it. Raises `CollectionError` when the split has no labelled
    lesion, `SearchError` for an unknown scope.
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

    seen = [item for item in others if item.may_teach]
    found = evaluate_vectors(
        name, embedded(lesions), lesions, others, embedded(seen) if seen else None, embedded(lesions, 1), scopes=scopes
    )
    return replace(found, guards=[*found.guards, _types_not_learned(encoder, lesions)])


def _types_not_learned(encoder: Encoder, lesions: Sequence[Lesion]) -> Guard:
    """Tuning takes the types of every split but the test split: there, and only there, its encoders can be scored."""
    tuned, splits = "finetuned" in encoder.header.get("training", {}), {lesion.split for lesion in lesions}
    return Guard(
        "the encoder did not learn from these lesions' types",
        not tuned or splits == {"test"},
        "it was tuned with types of the other splits than test" if tuned else "it learned from no type",
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

    others: the lesions outside of the split; seen_vectors: of those of them that may teach a type, None where
    there is none; beside: (n, d), of the same lesions a slice further. Raises `SearchError` for vectors that do not
    fit.
    """
    scores = evaluate(vectors, lesions, scopes=scopes)
    label_free = {
        "alignment": alignment(vectors, beside),
        "uniformity": uniformity(vectors),
        "RankMe": effective_rank(vectors),
    }
    if HEADLINE in scores and scores[HEADLINE].queries:
        label_free["hubness"] = hubness(scores[HEADLINE].nearest, len(lesions))
    seen = [item for item in others if item.may_teach]
    told = {} if seen_vectors is None else _told(seen_vectors, seen, vectors, lesions)
    return Evaluation(
        name,
        tuple(lesions),
        vectors,
        dict(scores),
        {name: classification_scores(told, truth) for name, (told, truth, _) in told.items()},
        {name: classification_intervals(*each) for name, each in told.items()},
        label_free,
        guards(vectors, lesions, scores, others),
    )


def _told(
    seen_vectors: npt.NDArray[np.float32],
    seen: Sequence[Lesion],
    vectors: npt.NDArray[np.float32],
    lesions: Sequence[Lesion],
) -> dict[str, tuple[FloatArray, npt.NDArray[np.intp], list[str]]]:
    """Return by what types are told: probabilities, the truth, and whose lesions they are."""
    known = {lesion.type for lesion in seen}
    rows = [row for row, lesion in enumerate(lesions) if lesion.type in known]
    if len(known) < 2 or not rows:
        return {}
    types, truth = [lesion.type for lesion in seen], [lesions[row].type for row in rows]
    patients = [lesions[row].patient_id for row in rows]
    probe = linear_probe(seen_vectors, types, [item.patient_id for item in seen], vectors[rows], truth)
    nearest = nearest_vote(seen_vectors, types, vectors[rows], truth)
    chance = blind_guess(types, truth)
    return {"linear probe": (*probe, patients), "20 nearest": (*nearest, patients), "chance": (*chance, patients)}


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
                "measures": _measures(evaluation, scope) if score.queries else {},
                "per_type": {kind: {"queries": part.queries, **part.scores} for kind, part in score.per_type.items()},
            }
            for scope, score in evaluation.scopes.items()
        },
        "classification": evaluation.classification,
        "classification_intervals": {
            told: {name: [part.low, part.high] for name, part in parts.items()}
            for told, parts in evaluation.classification_intervals.items()
        },
        "label_free": evaluation.label_free,
        "guards": [{"name": each.name, "passed": each.passed, "found": each.found} for each in evaluation.guards],
    }


def _measures(evaluation: Evaluation, scope: str) -> dict[str, dict[str, Any]]:
    def said(found: Interval, chance: float, ceiling: float) -> dict[str, Any]:
        return {"score": found.mean, "interval": [found.low, found.high], "chance": chance, "ceiling": ceiling}

    score, by_type = evaluation.scopes[scope], evaluation.macro_intervals(scope)
    chance, ceiling = score.macro_chance, score.macro_ceiling
    return {
        name: {
            **said(found, score.chance[name], score.ceiling[name]),
            "macro": said(by_type[name], chance[name], ceiling[name]),
        }
        for name, found in evaluation.intervals(scope).items()
    }


def as_table(found: Mapping[str, Evaluation]) -> str:
    """Return evaluations as aligned text, one line for each encoder, scope and measure.

    "by type" is the mean over types, each counting alike; skipped queries have nothing relevant to find.
    """
    head = ("encoder", "scope", "measure", "score", "95 %", "chance", "ceiling", "queries", "skipped")
    lines = ["{:<12} {:<19} {:<22} {:>6} {:>15} {:>7} {:>8} {:>8} {:>8}".format(*head)]
    for name, evaluation in found.items():
        for scope, score in evaluation.scopes.items():
            if not score.queries:
                lines.append(f"{name:<12} {SCOPE_NAMES[scope]:<19} no query has anything relevant to find here")
                continue
            for measure, each in _measures(evaluation, scope).items():
                for said, part in ((measure, each), (f"{measure} by type", each["macro"])):
                    low, high = part["interval"]
                    lines.append(
                        f"{name:<12} {SCOPE_NAMES[scope]:<19} {said:<22} {part['score']:>6.3f} "
                        f"{f'{low:.3f} – {high:.3f}':>15} {part['chance']:>7.3f} {part['ceiling']:>8.3f} "
                        f"{score.queries:>8} {score.skipped:>8}"
                    )
    for scope in next(iter(found.values())).scopes:
        for first, other, gains in differences(found, scope):
            for measure, gain in gains.items():
                said = f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
                lines.append(f"{f'{first} − {other}':<25} {SCOPE_NAMES[scope]:<19} {measure:<14} {said}")
    for name, evaluation in found.items():
        for probe, scores in evaluation.classification.items():
            sure = evaluation.classification_intervals[probe]
            values = (f"{key} {sure.get(key, f'{value:.3f}')}" for key, value in scores.items())
            lines.append(f"{name}, {probe}: " + ", ".join(values))
        lines.append(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in evaluation.label_free.items()))
        for guard in evaluation.guards:
            if not guard.passed:
                lines.append(f"{name}: DO NOT TRUST these scores: {guard.name} does not hold ({guard.found})")
    return "\n".join(lines)
