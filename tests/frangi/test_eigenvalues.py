"""Closed-form eigenvalues against LAPACK, on numpy arrays and torch tensors, and where they are double."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lesiondash.frangi.eigenvalues import by_magnitude, eigenvalues

Image = np.ndarray[Any, Any]


def matrix(parts: Image) -> Image:
    yy, yx, xx, *rest = parts
    if not rest:
        return np.stack([np.stack([yy, yx], -1), np.stack([yx, xx], -1)], -1)
    zy, zx, zz = rest
    rows = [np.stack(row, -1) for row in ((zz, zy, zx), (zy, yy, yx), (zx, yx, xx))]
    return np.stack(rows, -1)


def reference(parts: Image) -> Image:
    values = np.linalg.eigvalsh(matrix(parts.astype(np.float64)))
    return np.take_along_axis(values, np.argsort(np.abs(values), axis=-1), axis=-1).T


def closed(parts: Any) -> Image:
    return np.stack([np.asarray(each) for each in eigenvalues(list(parts)) if each is not None])


def degenerate(kind: str, count: int = 500) -> Image:
    """Turned matrices with two or three equal eigenvalues, as (6, count)."""
    rng = np.random.default_rng(1)
    turns = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    spectrum = {"ball": (-1, -1, -1), "tube": (0, -1, -1), "plate": (0, 0, -1), "nothing": (0, 0, 0)}[kind]
    m = turns @ (np.array(spectrum)[:, None] * turns.swapaxes(1, 2))
    return np.stack([m[:, 1, 1], m[:, 1, 2], m[:, 2, 2], m[:, 0, 1], m[:, 0, 2], m[:, 0, 0]])


@pytest.mark.parametrize("count", [3, 6])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_random_matrices(count: int, dtype: Any, tolerance: float) -> None:
    parts = np.random.default_rng(0).normal(size=(count, 20_000)).astype(dtype)
    found, expected = closed(parts), reference(parts)
    assert found.dtype == dtype
    # Where two magnitudes are equal within rounding, either order is right.
    error = np.abs(np.sort(np.abs(found), axis=0) - np.abs(expected)) / np.abs(expected[-1])
    assert error.max() < tolerance
    assert np.quantile(np.abs(found - expected), 0.999) < 10 * tolerance


@pytest.mark.parametrize("kind", ["ball", "tube", "plate", "nothing"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 5e-8), (np.float32, 1e-3)])
def test_equal_eigenvalues_cost_half_of_the_digits(kind: str, dtype: Any, tolerance: float) -> None:
    parts = degenerate(kind).astype(dtype)
    assert closed(parts) == pytest.approx(reference(parts), abs=tolerance)


@pytest.mark.parametrize("scale", [1e-12, 1, 1e12])
def test_any_magnitude(scale: float) -> None:
    parts = scale * np.random.default_rng(2).normal(size=(6, 200))
    assert closed(parts) / scale == pytest.approx(reference(parts) / scale, abs=1e-12)


def test_torch_takes_the_same_path() -> None:
    torch = pytest.importorskip("torch")
    for count in (3, 6):
        parts = np.random.default_rng(3).normal(size=(count, 500))
        assert closed(torch.from_numpy(parts)) == pytest.approx(closed(parts), abs=1e-12)


def test_by_magnitude() -> None:
    every = np.array([[a, b, c] for a in (-3, 1, 2) for b in (-2, 0, 3) for c in (-1, 1, 4)], float).T
    found = np.stack(by_magnitude(*every))
    assert np.array_equal(np.abs(found), np.sort(np.abs(every), axis=0))
    assert np.array_equal(np.sort(found, axis=0), np.sort(every, axis=0))
