"""How sure a mean is: patients are drawn anew, since lesions of one patient are alike."""

from __future__ import annotations

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
    if not len(table) or len(table) != len(patients):
        raise SearchError(f"There are {len(table)} values of {len(patients)} queries; give one for each, at least one.")
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    count = int(codes.max()) + 1
    columns = table.reshape(len(table), -1)
    sums = np.stack([np.bincount(codes, column, minlength=count) for column in columns.T], axis=1)
    sizes = np.bincount(codes, minlength=count)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    means = (times @ sums) / (times @ sizes)[:, None]
    return np.asarray(means.reshape(resamples, *table.shape[1:]))


def interval(values: npt.ArrayLike, patients: Sequence[Any] | npt.NDArray[Any], **options: Any) -> Interval:
    """Return mean and interval of values (q,), or of the difference of two methods, given as values."""
    table = np.asarray(values, np.float64)
    edge = (1 - COVERED) / 2
    low, high = np.quantile(resampled_means(table, patients, **options), (edge, 1 - edge))
    return Interval(float(table.mean()), float(low), float(high))
