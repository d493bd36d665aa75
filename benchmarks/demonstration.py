"""The demonstration collection: what training, tuning with types and the classifier give, by seed.

    python benchmarks/demonstration.py [--seeds 0 1 2] [--steps 110]

Trains as `lesiondash prepare` does, tunes the result with triplets and with SupCon on the types of the lesions outside
of the test split, and scores all on the test split among other patients. Intervals draw patients anew; differences are
to the untrained network of the same seed on the same resamples, queries averaged over the seeds. The classifier is the
page's: a calibrated linear probe on frozen vectors.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from machine import describe

from lesiondash import DeepLesion, Encoder
from lesiondash.images.collection import collect_crops
from lesiondash.learning.dataset import finetuning_crops, training_crops
from lesiondash.learning.finetune import FinetuneSettings, finetune
from lesiondash.learning.pretrain import pretrain
from lesiondash.learning.settings import PretrainSettings
from lesiondash.paths import demo_dir
from lesiondash.records import UNLABELLED
from lesiondash.retrieval.classification import classification_scores, linear_probe
from lesiondash.retrieval.intervals import interval
from lesiondash.retrieval.protocol import evaluate

MEASURES = ("P@1", "P@10", "AP_min@10")
BAR = 0.08


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=PretrainSettings().steps)
    asked = parser.parse_args()
    print(describe())
    collection = DeepLesion(demo_dir())
    known = [lesion for lesion in collection.lesions if lesion.type != UNLABELLED]
    seen = [lesion for lesion in known if lesion.split != "test"]
    held = [lesion for lesion in known if lesion.split == "test"]
    seen_crops, held_crops = collect_crops(collection, seen), collect_crops(collection, held)
    data = training_crops(collection, PretrainSettings())
    values: dict[str, list[np.ndarray]] = {}
    for seed in asked.seeds:
        untrained = Encoder.untrained(seed=seed)
        start = time.perf_counter()
        trained = pretrain(data, PretrainSettings(seed=seed, steps=asked.steps))
        took = time.perf_counter() - start
        labelled = finetuning_crops(collection, trained.architecture)
        encoders = {
            "untrained": untrained,
            f"trained, {asked.steps} steps": trained,
            "  + triplet": finetune(trained, labelled, FinetuneSettings(seed=seed)),
            "  + SupCon": finetune(trained, labelled, FinetuneSettings(objective="supcon", seed=seed)),
        }
        for name, encoder in encoders.items():
            vectors = encoder.embed(held_crops)
            score = evaluate(vectors, held, scopes=("cross",))["cross"]
            places = [score.measures.index(measure) for measure in MEASURES]
            values.setdefault(name, []).append(score.values[:, places])
            said = "  ".join(f"{measure} {score.scores[measure]:.3f}" for measure in MEASURES)
            note = f"  ({took:.0f} s)" if name.startswith("trained") else ""
            print(f"seed {seed}  {name:<22} {said}  {classified(encoder, seen_crops, seen, vectors, held)}{note}")
    patients = score.patients
    baseline = np.mean(values["untrained"], axis=0)
    print("\nMean of the seeds, 95 % interval; then the gain over the untrained networks")
    for name, parts in values.items():
        mean = np.mean(parts, axis=0)
        print(f"{name:<22} " + "   ".join(f"{m} {interval(mean[:, k], patients)}" for k, m in enumerate(MEASURES)))
        if name != "untrained":
            gain = mean - baseline
            print(f"{'':<22} " + "   ".join(f"{m} {interval(gain[:, k], patients)}" for k, m in enumerate(MEASURES)))
            if name.startswith("trained"):
                print(f"{'':<22} P@1 at least +{BAR}: {'pass' if gain[:, 0].mean() >= BAR else 'MISS'}")


def classified(encoder, seen_crops, seen, vectors, held) -> str:
    """Say how well the page's classifier tells the held lesions' types."""
    types, patients = [lesion.type for lesion in seen], [lesion.patient_id for lesion in seen]
    told = linear_probe(encoder.embed(seen_crops), types, patients, vectors, [lesion.type for lesion in held])
    scores = classification_scores(*told)
    return "  ".join(f"{name} {scores[name]:.3f}" for name in ("accuracy", "macro F1", "calibration error"))


if __name__ == "__main__":
    main()
