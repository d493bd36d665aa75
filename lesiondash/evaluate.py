"""Score encoders on a collection's test split, trained beside untrained, each beside chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lesiondash.errors import CollectionError
from lesiondash.images.collection import collect_crops
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.records import UNLABELLED
from lesiondash.retrieval.protocol import evaluate

SCOPE_NAMES = {"all": "all", "same": "same patient", "cross": "other patients"}


def evaluate_encoders(root: Path, weights: Path, *, partial: bool = False) -> dict[str, Any]:
    """Return the scores of the trained encoder and of the same network with random weights.

    The result nests encoder → scope → {P@1, P@10, AP_min@10, each under "score", "chance" and "ceiling", and the number
    of queries}. Raises `CollectionError` when the collection has no labelled test lesion.
    """
    from lesiondash.learning.encoder import Encoder

    collection = DeepLesion(root, partial=partial)
    lesions = [item for item in collection.lesions if item.split == "test" and item.type != UNLABELLED]
    if not lesions:
        raise CollectionError(
            f"{collection.root.name} has no labelled lesion in its test split; there is nothing to score."
        )
    crops = collect_crops(collection, lesions)
    encoder = Encoder.load(weights)
    result: dict[str, Any] = {}
    for name, each in (("trained", encoder), ("untrained", Encoder.untrained(windows=encoder.windows))):
        result[name] = {
            scope: {
                "score": dict(score.scores),
                "chance": dict(score.chance),
                "ceiling": dict(score.ceiling),
                "queries": score.queries,
            }
            for scope, score in evaluate(each.embed(crops), lesions).items()
        }
    return result


def as_table(scores: dict[str, Any]) -> str:
    """Return the scores as aligned text, one line per encoder, scope and measure."""
    lines = [f"{'encoder':<10} {'scope':<15} {'measure':<10} {'score':>6} {'chance':>7} {'ceiling':>8} {'queries':>8}"]
    for encoder, scopes in scores.items():
        for scope, part in scopes.items():
            for measure, value in part["score"].items():
                lines.append(
                    f"{encoder:<10} {SCOPE_NAMES[scope]:<15} {measure:<10} {value:>6.3f} "
                    f"{part['chance'][measure]:>7.3f} {part['ceiling'][measure]:>8.3f} {part['queries']:>8}"
                )
    return "\n".join(lines)
