"""Retrieval scores of one ranked list, each with its chance (random ranking) and its ceiling (perfect ranking)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError

Relevance = Sequence[int] | Sequence[bool] | npt.NDArray[Any]


def precision_at(relevant: Relevance, k: int) -> float:
    """Return P@k in its strict form, hits among the first k divided by k, also where the list is shorter.

    relevant: 0 or 1 by rank, best first: a list, an array, a tensor. Raises `SearchError` for other values, and for a k
    that is no whole number from 1, as all functions here do. An empty list scores 0.

    >>> precision_at([1, 0, 1], 10)
    0.2
    """
    return float(_first(relevant, k).sum() / k)


def ap_min(relevant: Relevance, k: int, total_relevant: int | None = None) -> float:
    """Return AP_min@k = Σ rel_i P@i / min(k, R), with R all relevant candidates; 0 where R is 0.

    total_relevant: R; by default the number in `relevant`, which must then be the full ranking.

    >>> ap_min([1, 0, 1], 10)  # (1 + 2/3) / 2
    0.8333333333333333
    """
    count, summed = _total(relevant, total_relevant), _summed_precision(relevant, k)
    return summed / min(k, count) if count else 0.0


def ap_hit(relevant: Relevance, k: int) -> float:
    """Return AP_hit@k = Σ rel_i P@i / max(1, H), with H the hits among the first k: misses below cost nothing."""
    return _summed_precision(relevant, k) / max(1, int(_first(relevant, k).sum()))


def mean_precision(relevant: Relevance, k: int) -> float:
    """Return mP@k, the mean of P@i over i = 1 … k; ranks beyond the end of the list count as misses."""
    flags = _first(relevant, k)
    hits = np.cumsum(np.pad(flags, (0, k - len(flags))))
    return float(np.mean(hits / np.arange(1, k + 1)))


def precision_available(relevant: Relevance, k: int) -> float:
    """Return P@k in its available form, hits divided by min(k, what the list holds): `relevant` is the full ranking."""
    flags = _first(relevant, k)
    return float(flags.mean()) if len(flags) else 0.0


def map_at_r(relevant: Relevance, total_relevant: int | None = None) -> float:
    """Return MAP@R = Σ_{i ≤ R} rel_i P@i / R, with R all relevant candidates; 0 where R is 0.

    `relevant` must reach to rank R; ranks beyond its end count as misses. Source: Musgrave et al. 2020, section 3.2.

    >>> map_at_r([1, 0, 1])
    0.5
    """
    count = _total(relevant, total_relevant)
    return _summed_precision(relevant, count) / count if count else 0.0


def precision_chance(candidates: int, relevant: int, k: int) -> float:
    """Return the expectation of strict P@k when the candidates are ranked at random: R min(k, n) / (n k)."""
    _check_counts(candidates, relevant, k)
    return relevant * min(k, candidates) / (candidates * k) if candidates else 0.0


def precision_ceiling(candidates: int, relevant: int, k: int) -> float:
    """Return strict P@k of a perfect ranking: min(k, R) / k."""
    _check_counts(candidates, relevant, k)
    return min(k, relevant) / k


def ap_min_chance(candidates: int, relevant: int, k: int) -> float:
    """Return the expectation of AP_min@k when n candidates, R of them relevant, are ranked at random.

    Rank i is relevant with probability R/n, and then each of the i − 1 ranks above it with (R − 1)/(n − 1), so that

        E[rel_i P@i] = R/n · (1 + (i − 1)(R − 1)/(n − 1)) / i

    summed over i = 1 … min(k, n), over min(k, R). With p = R/n, q = (R − 1)/(n − 1), m = min(k, n) and the
    harmonic number H_m the sum is p (q m + (1 − q) H_m). 0 where nothing is relevant.
    """
    _check_counts(candidates, relevant, k)
    return _expected_sum(candidates, relevant, min(k, candidates)) / min(k, relevant) if relevant else 0.0


def ap_min_ceiling(candidates: int, relevant: int, k: int) -> float:
    """Return AP_min@k of a perfect ranking: 1, or 0 where nothing is relevant."""
    _check_counts(candidates, relevant, k)
    return 1.0 if relevant else 0.0


def available_chance(candidates: int, relevant: int, k: int) -> float:
    """Return the expectation of available P@k when the candidates are ranked at random: R / n."""
    _check_counts(candidates, relevant, k)
    return relevant / candidates if candidates else 0.0


def available_ceiling(candidates: int, relevant: int, k: int) -> float:
    """Return available P@k of a perfect ranking: min(k, R) / min(k, n)."""
    _check_counts(candidates, relevant, k)
    return min(k, relevant) / min(k, candidates) if candidates else 0.0


def ap_hit_chance(candidates: int, relevant: int, k: int) -> float:
    """Return the expectation of AP_hit@k when n candidates, R of them relevant, are ranked at random.

    Of the first m = min(k, n) ranks h are hits with the hypergeometric probability of drawing h of R in m of n. These
    h lie anywhere among the m, so that Σ rel_i P@i has the expectation of `ap_min_chance` with h of m in place of R of
    n; divided by h and averaged over h > 0.
    """
    _check_counts(candidates, relevant, k)
    ranks = min(k, candidates)
    total = 0.0
    for hits in range(1, min(ranks, relevant) + 1):
        share = math.comb(relevant, hits) * math.comb(candidates - relevant, ranks - hits)
        total += share / math.comb(candidates, ranks) * _expected_sum(ranks, hits, ranks) / hits
    return total


def ap_hit_ceiling(candidates: int, relevant: int, k: int) -> float:
    """Return AP_hit@k of a perfect ranking: 1, or 0 where nothing is relevant."""
    return ap_min_ceiling(candidates, relevant, k)


def mean_precision_chance(candidates: int, relevant: int, k: int) -> float:
    """Return the expectation of mP@k when the candidates are ranked at random: the mean of that of P@1 … P@k."""
    _check_counts(candidates, relevant, k)
    return sum(precision_chance(candidates, relevant, i) for i in range(1, k + 1)) / k


def mean_precision_ceiling(candidates: int, relevant: int, k: int) -> float:
    """Return mP@k of a perfect ranking: the mean of min(i, R) / i over i = 1 … k."""
    _check_counts(candidates, relevant, k)
    return sum(precision_ceiling(candidates, relevant, i) for i in range(1, k + 1)) / k


def map_at_r_chance(candidates: int, relevant: int) -> float:
    """Return the expectation of MAP@R when the candidates are ranked at random; 0 where nothing is relevant."""
    _check_counts(candidates, relevant, 1)
    return _expected_sum(candidates, relevant, relevant) / relevant if relevant else 0.0


def hubness(nearest: npt.NDArray[np.integer[Any]], count: int) -> float:
    """Return the skew of N_k, how often each of `count` lesions is among the k nearest of others; 0 where all alike.

    nearest: (q, k) rows found, −1 for none. Above 1 a few lesions are everyone's neighbours. Source: Radovanović et al.
    2010, section 3.
    """
    found = np.bincount(nearest[nearest >= 0], minlength=count).astype(np.float64)
    apart = found - found.mean()
    spread = float(np.mean(apart**2))
    return float(np.mean(apart**3)) / spread**1.5 if spread > 0 else 0.0


def _first(relevant: Relevance, k: int) -> npt.NDArray[np.float64]:
    """Return the first k entries as floats, checked."""
    _check_rank(k)
    return _flags(relevant)[:k]


def _flags(relevant: Relevance) -> npt.NDArray[np.float64]:
    """Return a ranked list as zeros and ones."""
    try:
        given = np.asarray(relevant)
        flags = given.astype(np.float64) if given.dtype.kind in "biufO" else np.empty((0, 0))
    except (TypeError, ValueError, RuntimeError):  # a tensor that still learns raises the last
        flags = np.empty((0, 0))
    if flags.ndim != 1 or not ((flags == 0) | (flags == 1)).all():
        raise SearchError("A ranked list must hold 0 or 1 for each rank, best first.")
    return flags


def _total(relevant: Relevance, told: int | None) -> int:
    """Return R, as it was told or by the list."""
    inside = int(_flags(relevant).sum())
    if told is None:
        return inside
    if not isinstance(told, int | np.integer) or told < inside:
        raise SearchError(f"total_relevant is {told}, less than the relevant items in the list itself, or no number.")
    return int(told)


def _summed_precision(relevant: Relevance, k: int) -> float:
    """Return Σ rel_i P@i over the first k ranks."""
    flags = _first(relevant, k)
    return float(np.sum(flags * np.cumsum(flags) / np.arange(1, len(flags) + 1)))


def _expected_sum(candidates: int, relevant: int, ranks: int) -> float:
    """Return the expectation of Σ rel_i P@i over the first ranks of a random ranking."""
    others = (relevant - 1) / (candidates - 1) if candidates > 1 else 0.0
    harmonic = float(np.sum(1 / np.arange(1, ranks + 1)))
    return relevant / candidates * (others * ranks + (1 - others) * harmonic)


def _check_counts(candidates: int, relevant: int, k: int) -> None:
    _check_rank(k)
    if not 0 <= relevant <= candidates:
        raise SearchError(f"{relevant} relevant of {candidates} candidates at k = {k} is not a ranking.")


def _check_rank(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise SearchError(f"k is {k!r}; give a rank, a whole number from 1.")
