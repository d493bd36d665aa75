"""The evaluation protocol on DeepLesion's real test table, no pixels needed: what can be scored, by chance and at best.

    python benchmarks/protocol.py FOLDER

FOLDER holds `DL_info_test_4927.csv`. A perfect and a random ranking are known for every query from what there is to
find, so that chance and ceiling of each scope are exact. One ranking (random vectors) is scored as well, which shows
that chance is met, and how long the evaluation takes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from machine import describe

from lesiondash.images.deeplesion_table import read_table
from lesiondash.retrieval.protocol import evaluate
from lesiondash.retrieval.scopes import EVAL_SCOPES, Galleries

MEASURES = ("P@1", "P@10", "P@10 available", "AP_min@10", "AP_hit@10", "mP@10", "MAP@R")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    print(describe())
    rows, problems = read_table(asked.folder / "DL_info_test_4927.csv")
    if problems:
        raise SystemExit(f"{len(problems)} rows cannot be read.")
    lesions = [row.lesion(asked.folder) for row in rows]
    galleries = Galleries(lesions)
    duplicates, follow_ups = galleries.duplicates, galleries.follow_ups
    np.fill_diagonal(duplicates, False)
    print(
        f"{len(lesions):,} lesions of {len({lesion.patient_id for lesion in lesions}):,} patients; "
        f"{int(duplicates.sum()) // 2:,} pairs of near duplicates, of {int(duplicates.any(axis=1).sum()):,} lesions; "
        f"{int(follow_ups.sum()) // 2:,} pairs of likely follow-ups, of {int(follow_ups.any(axis=1).sum()):,} lesions "
        f"({follow_ups.any(axis=1).mean():.1%})"
    )
    start = time.perf_counter()
    vectors = np.random.default_rng(0).normal(size=(len(lesions), 64))
    scores = evaluate(vectors, lesions, scopes=EVAL_SCOPES)
    took = time.perf_counter() - start
    print(f"{'scope':<20}{'queries':>8}{'skipped':>8}{'of':>7}{'':>10}" + "".join(f"{name:>16}" for name in MEASURES))
    for scope, score in scores.items():
        median = int(np.median(score.candidates)) if score.queries else 0
        for said, part in (("chance", score.chance), ("ceiling", score.ceiling), ("random", score.scores)):
            head = f"{scope:<20}{score.queries:>8,}{score.skipped:>8,}{median:>7,}" if said == "chance" else " " * 43
            print(f"{head}{said:>10}" + "".join(f"{part[name]:>16.4f}" for name in MEASURES))
    print(f"evaluated in {took:.1f} s")


if __name__ == "__main__":
    main()
