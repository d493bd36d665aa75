"""How well vectors tell types apart: a linear probe and the vote of nearest neighbours, scored alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.learning.classifier import LesionClassifier, calibration_error
from lesiondash.records import FloatArray
from lesiondash.retrieval.index import Index

NEIGHBOURS = 20


def classification_scores(probabilities: FloatArray, truth: npt.NDArray[np.intp]) -> dict[str, float]:
    """Return accuracy, balanced accuracy, macro and weighted F1, macro mAP and calibration error.

    probabilities: (n, types); truth: (n,). Means over types are over those that occur in truth; "mAP" is each type's
    average precision of all ranked by its probability. Raises `SearchError` for arrays that do not go together.
    """
    from sklearn.metrics import average_precision_score, f1_score, recall_score

    if probabilities.ndim != 2 or len(probabilities) != len(truth) or not len(truth):
        raise SearchError(f"Probabilities {probabilities.shape} do not go with {len(truth)} truths.")
    told, kinds = probabilities.argmax(axis=1), np.unique(truth)
    precisions = [average_precision_score(truth == kind, probabilities[:, kind]) for kind in kinds]
    return {
        "accuracy": float(np.mean(told == truth)),
        "balanced accuracy": float(recall_score(truth, told, labels=kinds, average="macro", zero_division=0.0)),
        "macro F1": float(f1_score(truth, told, labels=kinds, average="macro", zero_division=0.0)),
        "weighted F1": float(f1_score(truth, told, labels=kinds, average="weighted", zero_division=0.0)),
        "macro mAP": float(np.mean(precisions)),
        "calibration error": calibration_error(probabilities, truth),
    }


def linear_probe(
    seen: FloatArray,
    seen_types: Sequence[str],
    seen_patients: Sequence[str],
    held: FloatArray,
    held_types: Sequence[str],
) -> dict[str, float]:
    """Fit the calibrated linear probe to labelled vectors and score it on those of other patients."""
    model = LesionClassifier.fit(seen, seen_types, seen_patients)
    truth = _truth(model.types, held_types)
    return classification_scores(model.probabilities(held), truth)


def nearest_vote(
    seen: FloatArray, seen_types: Sequence[str], held: FloatArray, held_types: Sequence[str], k: int = NEIGHBOURS
) -> dict[str, float]:
    """Score the share of each type among the k nearest labelled vectors."""
    kinds = tuple(sorted(set(seen_types)))
    count = len(seen_types)
    ids = [str(row) for row in range(count)]
    index = Index(seen, {"lesion_id": ids, "patient_id": ids, "type": list(seen_types)})
    rows, _ = index.search_many(held, min(k, count))
    found = np.array([kinds.index(kind) for kind in seen_types])[rows]
    return classification_scores(vote(found, len(kinds)), _truth(kinds, held_types))


def vote(found: npt.NDArray[np.intp], types: int) -> FloatArray:
    """Return the share of each type among neighbours: type numbers (n, k), −1 for none, to (n, types)."""
    shares = (found[:, :, None] == np.arange(types)).mean(axis=1)
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=np.full_like(shares, 1 / types), where=total > 0))


def _truth(kinds: Sequence[str], types: Sequence[str]) -> npt.NDArray[np.intp]:
    unknown = sorted(set(types) - set(kinds))
    if unknown:
        raise SearchError(f"There is no labelled lesion of type {unknown[0]!r} to learn from.")
    return np.array([kinds.index(kind) for kind in types], np.intp)
