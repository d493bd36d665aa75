"""Re-rankings and feedback on the demonstration's test split: what each gains over plain cosine, with intervals.

    python benchmarks/rerank.py

Other patients, near duplicates left out; the encoder that searches. Whitening learns from the training split. The
simulated user looks at the nine nearest, likes those of the query's own type and dislikes the others, once or twice;
the list that he then gets is scored on lesions that he was not shown, against the same lesions ranked without him.
"""

from __future__ import annotations

import numpy as np
from machine import describe

from lesiondash import DeepLesion, Encoder
from lesiondash.images.collection import collect_crops
from lesiondash.paths import demo_dir, encoder_path
from lesiondash.records import UNLABELLED
from lesiondash.retrieval.feedback import refine
from lesiondash.retrieval.intervals import interval
from lesiondash.retrieval.metrics import ap_min, precision_at
from lesiondash.retrieval.protocol import evaluate_rankings
from lesiondash.retrieval.rerank import (
    Whitening,
    cosine,
    hubness_corrected,
    k_reciprocal,
    query_expansion,
    ranking_of,
)
from lesiondash.retrieval.scopes import Galleries

MEASURES = ("P@1", "P@10", "AP_min@10", "MAP@R")
NINE = 9


def main() -> None:
    print(describe())
    collection, encoder = DeepLesion(demo_dir()), Encoder.load(encoder_path())
    lesions = [item for item in collection.lesions if item.split == "test" and item.type != UNLABELLED]
    training = [item for item in collection.lesions if item.split == "train"]
    vectors = encoder.embed(collect_crops(collection, lesions)).astype(np.float64)
    seen = encoder.embed(collect_crops(collection, training)).astype(np.float64)
    galleries = Galleries(lesions)
    allowed = galleries.allowed("cross")
    ways = {
        "cosine": cosine(vectors, vectors),
        "query expansion, 5 nearest": query_expansion(vectors, vectors, allowed),
        "k-reciprocal": k_reciprocal(vectors),
        "hubness corrected": hubness_corrected(vectors, vectors),
    }
    for shrinkage in (0.01, 0.1, 0.5):
        white = Whitening.fit(seen, shrinkage).apply(vectors)
        ways[f"whitened, shrinkage {shrinkage}"] = cosine(white, white)
    white = Whitening.fit(seen, 0.1).apply(vectors)
    ways["whitened .1, query expansion"] = query_expansion(white, white, allowed)
    scored = {
        name: evaluate_rankings(ranking_of(scores), lesions, scopes=("cross",), galleries=galleries)["cross"]
        for name, scores in ways.items()
    }
    plain = scored["cosine"]
    print(f"{plain.queries} queries; score, then difference to cosine [95 %]")
    for name, score in scored.items():
        parts = []
        for measure in MEASURES:
            place = score.measures.index(measure)
            gain = interval(score.values[:, place] - plain.values[:, place], plain.patients)
            parts.append(
                f"{measure} {score.scores[measure]:.3f} ({gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}])"
            )
        print(f"{name:<30} " + "  ".join(parts))
    feedback(vectors, lesions, allowed, galleries.relevant("cross"))


def feedback(vectors, lesions, allowed, relevant) -> None:
    """Score what a user who likes and dislikes gets next, on what he has not been shown."""
    patients = [lesion.patient_id for lesion in lesions]
    for rounds in (1, 2):
        gains = []
        for row in range(len(lesions)):
            query, shown = vectors[row], np.zeros(len(lesions), bool)
            liked, disliked = [], []
            for _ in range(rounds):
                scores = np.where(allowed[row] & ~shown, vectors @ query, -np.inf)
                nine = np.argsort(-scores, kind="stable")[:NINE]
                shown[nine] = True
                liked += [other for other in nine if relevant[row, other]]
                disliked += [other for other in nine if not relevant[row, other]]
                query = refine(vectors[row], vectors[liked], vectors[disliked])
            left = np.flatnonzero(allowed[row] & ~shown)
            before, after = (
                relevant[row, left[np.argsort(-(vectors[left] @ each), kind="stable")]]
                for each in (vectors[row], query)
            )
            gains.append([measure(before) for measure in SCORES] + [measure(after) for measure in SCORES])
        table = np.array(gains)
        said = []
        for k, name in enumerate(("P@9", "AP_min@10")):
            gain = interval(table[:, k + 2] - table[:, k], patients)
            means = f"{table[:, k].mean():.3f} → {table[:, k + 2].mean():.3f}"
            said.append(f"{name} {means} ({gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}])")
        print(f"simulated user, {rounds} round{'s' if rounds > 1 else ''}, unseen lesions: " + "  ".join(said))


SCORES = (lambda hits: precision_at(hits, NINE), lambda hits: ap_min(hits, 10))

if __name__ == "__main__":
    main()
