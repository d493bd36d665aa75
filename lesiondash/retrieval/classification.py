"""How well vectors tell types apart: a linear probe and the vote of nearest neighbours, scored alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError
from lesiondash.learning.classifier import LesionClassifier, calibration_error
from lesiondash.records import FloatArray
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.intervals import Interval, covering, resampled_sums

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


def classification_intervals(
    probabilities: FloatArray, truth: npt.NDArray[np.intp], patients: Sequence[str]
) -> dict[str, Interval]:
    """Return accuracy, balanced accuracy and macro F1 with their intervals, patients drawn anew.

    A resample is scored by its counts of (truth, told), types that do not occur in its truth left out.
    """
    types = probabilities.shape[1]
    pairs = np.eye(types * types)[truth * types + probabilities.argmax(axis=1)]
    resampled = _scores_of_counts(resampled_sums(pairs, patients).reshape(-1, types, types))
    plain = _scores_of_counts(pairs.sum(axis=0).reshape(1, types, types))
    return {name: covering(float(plain[name][0]), values) for name, values in resampled.items()}


def _scores_of_counts(counts: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the scores of tables of counts, (n, truth, told)."""
    right, of_truth, told = np.einsum("nkk->nk", counts), counts.sum(axis=2), counts.sum(axis=1)
    occurs = of_truth > 0
    recall = np.divide(right, of_truth, out=np.zeros_like(right), where=occurs)
    f1 = np.divide(2 * right, of_truth + told, out=np.zeros_like(right), where=occurs)
    kinds = occurs.sum(axis=1)
    return {
        "accuracy": right.sum(axis=1) / of_truth.sum(axis=1),
        "balanced accuracy": recall.sum(axis=1) / kinds,
        "macro F1": f1.sum(axis=1) / kinds,
    }


def linear_probe(
    seen: FloatArray,
    seen_types: Sequence[str],
    seen_patients: Sequence[str],
    held: FloatArray,
    held_types: Sequence[str],
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Fit the calibrated linear probe to labelled vectors; return what it says of those of other patients.

    Probabilities (n, types), types in order of their names, and which is true, (n,), as `classification_scores` takes
    them. Raises `SearchError` for a true type that was never seen, `TrainingError` where there is too little to fit.
    """
    model = LesionClassifier.fit(seen, seen_types, seen_patients)
    return model.probabilities(held), _truth(model.types, held_types)


def nearest_vote(
    seen: FloatArray, seen_types: Sequence[str], held: FloatArray, held_types: Sequence[str], k: int = NEIGHBOURS
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Return the share of each type among the k nearest labelled vectors, and the truth, as `linear_probe` does."""
    kinds = tuple(sorted(set(seen_types)))
    count = len(seen_types)
    ids = [str(row) for row in range(count)]
    index = Index(seen, {"lesion_id": ids, "patient_id": ids, "type": list(seen_types)})
    rows, _ = index.search_many(held, min(k, count))
    found = np.array([kinds.index(kind) for kind in seen_types])[rows]
    return vote(found, len(kinds)), _truth(kinds, held_types)


def blind_guess(seen_types: Sequence[str], held_types: Sequence[str]) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Return what knows only how frequent the types are, and the truth, as `linear_probe` does: chance."""
    kinds, counts = np.unique(np.asarray(seen_types), return_counts=True)
    truth = _truth(kinds.tolist(), held_types)
    return np.tile(counts / counts.sum(), (len(truth), 1)), truth


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
