"""Vectors as directions: checked, of unit norm, and compared in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import SearchError

UNIT_ROUNDOFF = float(np.finfo(np.float32).eps) / 2
"""u: the largest relative error of one rounding to float32."""
BLOCK = 65536
QUERIES = 512
"""So many queries at once: what is copied on the way stays in the processor's cache."""


def exact_cosines(vectors: npt.NDArray[np.float32], query: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return float64 products of (…, n, d) with (…, d) that depend on each row alone: equal rows get equal bits."""
    # A matrix product may sum rows differently by their place in a block; summing each row alone cannot.
    products = vectors.astype(np.float64)
    products *= query[..., None, :]
    return np.asarray(np.sum(products, axis=-1))


def float32_slack(dimension: int) -> float:
    """Return how far a float32 product of unit vectors (d,) can be from its float64 one, however it is summed.

    A proven bound, γₙ = n·u / (1 − n·u) with n = d + 2 (Higham, Accuracy and Stability of Numerical Algorithms, 3.1):
    of each of the d terms at most d roundings, one more for the query's to float32, one for norms that are 1 but for
    rounding, whose remainder exceeds what float64 and the smallest numbers leave. A dimension that it says nothing
    of gets 2, the whole range of a cosine.
    """
    roundings = (dimension + 2) * UNIT_ROUNDOFF
    return min(2.0, roundings / (1 - roundings)) if roundings < 1 else 2.0


def unit_rows(vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return vectors (n, d) as float32 of unit norm, not to be written to; raises `SearchError` for anything else."""
    rows = _table(vectors)
    unit = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), BLOCK):
        unit[start : start + BLOCK] = _unit(rows[start : start + BLOCK].astype(np.float64), "A vector of the index")
    unit.flags.writeable = False
    return unit


def unit_queries(vectors: npt.ArrayLike, dimension: int) -> npt.NDArray[np.float64]:
    """Return queries (q, d) as float64 of unit norm; raises `SearchError` as `unit_query`."""
    queries = _table(vectors)
    if queries.shape[1] != dimension:
        raise SearchError(
            f"The queries have {queries.shape[1]} numbers each, the index {dimension}; "
            "embed them with the encoder of the index."
        )
    unit = np.empty(queries.shape)
    for start in range(0, len(queries), QUERIES):
        unit[start : start + QUERIES] = _unit(queries[start : start + QUERIES].astype(np.float64), "A query")
    return unit


def unit_query(vector: npt.ArrayLike, dimension: int) -> npt.NDArray[np.float64]:
    """Return one vector (d,) as float64 of unit norm; raises `SearchError` for another shape, zero, NaN or infinity."""
    try:
        query = _real(vector).astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SearchError("The query is not a vector of numbers.") from error
    if query.shape != (dimension,):
        raise SearchError(
            f"The query has shape {query.shape}, but the index holds vectors of {dimension} numbers; "
            "embed it with the encoder of the index."
        )
    return np.asarray(_unit(query[None], "The query")[0])


def _table(vectors: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
    try:
        rows = _real(vectors)
        rows = rows if rows.dtype == np.float32 else rows.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SearchError("The vectors are not a table of numbers (n, d).") from error
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise SearchError(f"The vectors have shape {rows.shape}; give a table (n, d).")
    return rows


def _real(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return an array of real numbers; raises what numpy, or a tensor that still learns, raises where it is none."""
    array = np.asarray(values)
    if np.iscomplexobj(array):
        raise TypeError("complex numbers have no order")
    return array


def _unit(rows: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    """Return rows (n, d) divided by their norms; safe for any finite size of numbers."""
    if not np.isfinite(rows).all():
        raise SearchError(f"{name} holds NaN or infinity; embed it again.")
    largest = np.abs(rows).max(axis=1, initial=0, keepdims=True)
    if (largest == 0).any():
        raise SearchError(f"{name} is zero, so it has no direction to compare; embed it again.")
    scaled = rows / largest
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True))
