"""The compiled kernels where they can be had: without numba, or where it cannot work, numpy and a dictionary serve."""

from __future__ import annotations

from functools import cache
from types import ModuleType


@cache
def kernels() -> ModuleType | None:
    """Return the module `kernels`, loaded once, or None where it cannot be: a first call may compile, for seconds."""
    try:
        from lesiondash.retrieval import kernels as loaded

        loaded.exercise()
    # Whatever keeps a compiler from working on some machine (also a folder that its cache cannot be written to),
    # a search has another path.
    except Exception:
        return None
    return loaded
