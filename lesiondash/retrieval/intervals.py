"""How sure a mean is: patients are drawn anew, since lesions of one patient are alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError

RESAMPLES = 2000
COVERED = 0.95
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that holds 95 % of the means of resampled patients."""

    mean: float
    low: float
    high: float

    @property
    def clear_of_zero(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def resampled_means(
    values: npt.ArrayLike, patients: Sequence[Any] | npt.NDArray[Any], *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Return the means of resampled patients: values (q,) or (q, m) to (resamples,) or (resamples, m).

    A resample draws as many patients as there are, with repetition, and takes all queries of each. The same patients
    and seed give the same resamples, so that means of two methods can be subtracted pair by pair. Raises `SearchError`
    for no value, or patients that do not go with them. Source: Davison & Hinkley 1997, section 3.8.
    """
    table = np.asarray(values, np.float64)
    sums = resampled_sums(
        np.column_stack([np.ones(len(table)), table.reshape(len(table), math.prod(table.shape[1:]))]),
        patients,
        resamples,
        seed,
    )
    return np.asarray((sums[:, 1:] / sums[:, :1]).reshape(resamples, *table.shape[1:]))


def resampled_sums(
    values: npt.ArrayLike, patients: Sequence[Any] | npt.NDArray[Any], resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Return the sums of the same resamples: values (q, m) to (resamples, m)."""
    table = np.asarray(values, np.float64)
    if not len(table) or len(table) != len(patients):
        raise SearchError(f"There are {len(table)} values of {len(patients)} queries; give one for each, at least one.")
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    count = int(codes.max()) + 1
    sums = np.stack([np.bincount(codes, column, minlength=count) for column in table.T], axis=1)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.asarray(times @ sums)


def macro_interval(
    values: npt.ArrayLike, types: Sequence[str], patients: Sequence[Any] | npt.NDArray[Any], **options: Any
) -> Interval:
    """Return mean and interval of values (q,) averaged within each type first, every type counting alike.

    A type of which a resample has no query counts for nothing in it.
    """
    table, (kinds, codes) = np.asarray(values, np.float64), np.unique(np.asarray(types), return_inverse=True)
    of_type = codes[:, None] == np.arange(len(kinds))
    sums = resampled_sums(np.column_stack([of_type, of_type * table[:, None]]), patients, **options)
    sizes, totals = np.split(sums, 2, axis=1)
    means = np.divide(totals, sizes, out=np.full_like(totals, np.nan), where=sizes > 0)
    mean = float(np.mean([table[chosen].mean() for chosen in of_type.T]))
    return covering(mean, np.nanmean(means, axis=1))


def interval(values: npt.ArrayLike, patients: Sequence[Any] | npt.NDArray[Any], **options: Any) -> Interval:
    """Return mean and interval of values (q,), or of the difference of two methods, given as values."""
    table = np.asarray(values, np.float64)
    resampled = resampled_means(table, patients, **options)
    return covering(float(table.mean()), resampled)


def covering(mean: float, resampled: Floats) -> Interval:
    """Return the interval that holds 95 % of what resamples (resamples,) gave."""
    edge = (1 - COVERED) / 2
    low, high = np.quantile(resampled, (edge, 1 - edge))
    return Interval(mean, float(low), float(high))
