"""What a similarity is worth: where it stands among pairs of lesions that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def random_pair_similarities(
    vectors: npt.NDArray[np.floating[Any]], patient_ids: Sequence[str], *, pairs: int = 20_000, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Return the sorted cosines of random pairs of lesions of different patients.

    vectors: (n, d), unit norm. Returns at most `pairs` values, ascending; empty when there is but one patient.
    """
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, len(vectors), (2, pairs))
    patients = np.asarray(patient_ids)
    apart = patients[a] != patients[b]
    a, b = a[apart], b[apart]
    cosines = np.concatenate(
        [np.einsum("nd,nd->n", vectors[a[i : i + 2048]], vectors[b[i : i + 2048]]) for i in range(0, len(a), 2048)]
        or [np.empty(0)]
    )
    return np.sort(cosines).astype(np.float32)


def share_below(similarity: float, background: npt.NDArray[np.float32]) -> float:
    """Return the share of random pairs, in [0, 1], that are less similar; 0 for an empty background."""
    if not len(background):
        return 0.0
    return float(np.searchsorted(background, similarity) / len(background))
