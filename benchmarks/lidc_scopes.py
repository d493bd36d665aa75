"""The best model on real lung nodules, in every scope of the protocol that applies, between chance and ceiling.

    python benchmarks/lidc_scopes.py FOLDER [--model simclr-gem-frangi-channel] [--field 32] [--seeds 0 1 2]

FOLDER, target, split and training are those of `lidc.py`; the queries of all seeds are averaged, the interval is of
2,000 resamples of patients. Each nodule stands in one scan of its patient, so there are no follow-ups: "track" has no
query, and "same, no follow-ups" is "same".
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from lidc import FIELD_PX, MODELS, Nodules, interval, read, settings_for
from machine import describe

from lesiondash import Encoder
from lesiondash.learning.pretrain import pretrain
from lesiondash.records import Box, Lesion
from lesiondash.retrieval.protocol import ScopeScore, evaluate

SCOPES = ("all", "same", "cross")
KINDS = ("calcified", "non-solid", "suspicious", "benign")


def lesions_of(nodules: Nodules) -> list[Lesion]:
    """The nodules as lesions; each in a series of its own, since where they lie in the scan is not known here."""
    return [
        Lesion(
            lesion_id=f"{row:05d}",
            patient_id=f"{patient:04d}",
            study_id=f"{patient:04d}_01",
            series_id=f"{patient:04d}_01_{row:05d}",
            slice_index=1,
            box=Box(0, 0, 64, 64),
            type=KINDS[kind],
            split="test",
            diameters_mm=(1.0, 1.0),
            spacing_mm=(1.0, 1.0, 1.0),
            normalized_location=(0.5, 0.5, 0.5),
            slice_range=(1, 1),
            image_path=Path(),
        )
        for row, (patient, kind) in enumerate(zip(nodules.patients, nodules.kinds, strict=True))
    ]


def show(name: str, per_seed: list[dict[str, ScopeScore]]) -> None:
    for scope in SCOPES:
        scores = [found[scope] for found in per_seed]
        first = scores[0]
        values = np.stack([score.values for score in scores])  # (seeds, q, measures)
        patients = np.array([int(patient) for patient in first.patients])
        print(f"\n{name}, {scope}: {first.queries} queries, {first.skipped} with nothing to find")
        for place, measure in enumerate(first.measures):
            said = interval(values.mean(axis=0)[:, place : place + 1], patients)
            chance, ceiling = first.chances[:, place].mean(), first.ceilings[:, place].mean()
            print(f"  {measure:<14} {said}   chance {chance:.3f}   ceiling {ceiling:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=MODELS, default="simclr-gem-frangi-channel")
    parser.add_argument("--field", type=int, default=FIELD_PX, help="pixels of the middle that is seen; 64 is all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    print(describe())
    nodules = read(asked.folder, "test", asked.field)
    lesions = lesions_of(nodules)
    untrained, trained = [], []
    for seed in asked.seeds:
        settings = settings_for(asked.model, seed, [])
        before = Encoder.untrained(seed, architecture=replace(settings.architecture, frangi="none"))
        untrained.append(evaluate(before.embed(nodules.middles), lesions, scopes=SCOPES))
        encoder = pretrain(nodules.crops(settings.architecture), settings)
        trained.append(evaluate(encoder.embed(nodules.middles), lesions, scopes=SCOPES))
        print(f"seed {seed}: {trained[-1]['cross'].scores}", flush=True)
    show("untrained", untrained)
    show(asked.model, trained)


if __name__ == "__main__":
    main()
