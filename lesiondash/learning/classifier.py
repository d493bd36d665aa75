"""The type of a lesion and how sure that is: a linear probe on frozen vectors, with calibrated probabilities."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import EncoderError, TrainingError
from lesiondash.learning.checkpoint import HEADER_KEY
from lesiondash.learning.threads import one_blas_thread
from lesiondash.records import FloatArray

FOLDS = 5
STRENGTHS = (0.003, 0.03, 0.3)
"""Inverse regularisation of the logistic regression; the best in the folds is taken."""
LOG_TEMPERATURES = (-1.0, 3.0)
"""Bounds: types that are told apart without a mistake would ask for a temperature of 0, which makes all certain."""
BINS = 10


@dataclass(frozen=True, eq=False)
class LesionClassifier:
    """A linear classifier of unit vectors. weights: (types, d), bias: (types,), already divided by the temperature.

    encoder: the fingerprint of the encoder whose vectors it was fitted to.
    """

    types: tuple[str, ...]
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    encoder: str = ""

    @classmethod
    def fit(
        cls, vectors: FloatArray, types: Sequence[str], patients: Sequence[str], *, encoder: str = ""
    ) -> LesionClassifier:
        """Fit to labelled vectors (n, d).

        Strength and temperature are chosen on predictions for patients that a fold did not see, by their log
        likelihood; then all vectors are fitted. Raises `TrainingError` unless two types are seen in two patients.
        """
        from scipy.optimize import minimize_scalar

        names = np.unique(types)
        if len(names) < 2 or len(set(patients)) < 2:
            raise TrainingError("A classifier needs labelled lesions of two types and two patients or more.")
        x, y = np.asarray(vectors, np.float64), np.searchsorted(names, types)
        scores = {strength: _out_of_fold(x, y, patients, strength) for strength in STRENGTHS}
        temperature, loss = {}, {}
        for strength, (held, truth) in scores.items():
            found = minimize_scalar(
                lambda log_t, held=held, truth=truth: _log_loss(held / np.exp(log_t), truth),
                bounds=LOG_TEMPERATURES,
                method="bounded",
            )
            temperature[strength], loss[strength] = float(np.exp(found.x)), float(found.fun)
        best = min(loss, key=lambda strength: loss[strength])
        weights, bias = _fit_linear(x, y, len(names), best)
        t = temperature[best]
        return cls(tuple(map(str, names)), (weights / t).astype(np.float32), (bias / t).astype(np.float32), encoder)

    def probabilities(self, vectors: npt.ArrayLike) -> FloatArray:
        """Return each type's probability: (n, types) for vectors (n, d), (types,) for one."""
        scores = np.asarray(vectors, np.float32) @ self.weights.T + self.bias
        return _softmax(scores)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        from safetensors.numpy import save

        header = {"types": list(self.types), "encoder": self.encoder}
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            tensors = {"weights": self.weights, "bias": self.bias}
            part.write_bytes(save(tensors, metadata={HEADER_KEY: json.dumps(header)}))
            os.replace(part, path)
        except OSError as error:
            raise EncoderError(f"The classifier could not be written to {path.name} ({error.strerror}).") from error
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> LesionClassifier:
        """Read what `save` wrote; raises `EncoderError`, naming the file, where it cannot be used."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                header = json.loads((file.metadata() or {})[HEADER_KEY])
                weights, bias = file.get_tensor("weights"), file.get_tensor("bias")
            types = tuple(map(str, header["types"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise EncoderError(f"{path.name} is no classifier of lesiondash ({type(error).__name__}).") from error
        if weights.ndim != 2 or len(types) != len(weights) or bias.shape != (len(types),):
            raise EncoderError(f"{path.name} does not fit together; fit the classifier anew.")
        return cls(types, weights, bias, str(header.get("encoder", "")))


def calibration_error(probabilities: FloatArray, truth: npt.NDArray[np.intp]) -> float:
    """Return the expected calibration error: how far the confidence in the chosen type is from how often it is right.

    probabilities: (n, types); truth: (n,). The mean gap over ten bins of equal width, by their share (Guo et al. 2017).
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def _out_of_fold(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.intp], patients: Sequence[str], strength: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Return scores of vectors whose patient was left out of the fit, and their labels."""
    from sklearn.model_selection import GroupKFold

    count = int(y.max()) + 1
    parts, truths = [], []
    for seen, held in GroupKFold(min(FOLDS, len(set(patients)))).split(x, y, np.asarray(patients)):
        if len(np.unique(y[seen])) < 2:
            continue
        weights, bias = _fit_linear(x[seen], y[seen], count, strength)
        parts.append(x[held] @ weights.T + bias)
        truths.append(y[held])
    if not parts:
        raise TrainingError("A classifier needs each of two types in two patients or more.")
    return np.concatenate(parts), np.concatenate(truths)


def _fit_linear(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.intp], count: int, strength: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fit a logistic regression to standardised vectors; returns weights (count, d) and bias for plain ones.

    A type without examples gets so low a bias that it is never chosen.
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    with one_blas_thread():  # many small products: threads would wait for each other
        model: Any = LogisticRegression(C=strength, max_iter=500, tol=1e-3).fit((x - mean) / scale, y)
    weights, bias = np.zeros((count, x.shape[1])), np.full(count, -30.0)
    two = len(model.classes_) == 2
    # Of two classes sklearn keeps one row, the second's against the first's.
    rows = np.vstack([-model.coef_, model.coef_]) / 2 if two else model.coef_
    heights = np.concatenate([-model.intercept_, model.intercept_]) / 2 if two else model.intercept_
    weights[model.classes_] = rows / scale
    bias[model.classes_] = heights - (rows / scale) @ mean
    return weights, bias


def _softmax(scores: FloatArray) -> FloatArray:
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def _log_loss(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.intp]) -> float:
    chosen = _softmax(scores)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())
