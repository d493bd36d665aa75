"""Which code computes: compiled kernels where they are ready, numpy otherwise, torch on a device of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import numpy as np

from lesiondash.errors import FilterError
from lesiondash.frangi.eigenvalues import Array

COMPILE_FROM = 20_000_000
"""Pixels times scales from which waiting seconds for a first compilation pays."""

_lock = threading.Lock()
_ready: ModuleType | None = None
_failure = ""


def warm_up() -> str:
    """Load the compiled kernels, compiling them where no earlier process did, and return `engine()`.

    Takes 0.4 s from numba's cache, 3 s without it. A page calls it from a thread; until it is through, and where
    numba cannot compile, numpy serves. Safe to call again, and from several threads.
    """
    global _ready, _failure
    with _lock:
        if _ready is None and not _failure:
            try:
                from lesiondash.frangi import compiled

                compiled.exercise()
                _ready = compiled
            # Whatever keeps a compiler from working on some machine, the filter has another path.
            except Exception as error:
                _failure = f"{type(error).__name__}: {error}"
    return engine()


def engine() -> str:
    """Return a sentence on what computes the filter in float32 in this process."""
    if _ready is not None:
        return f"Compiled kernels (numba {version('numba')}) serve float32; numpy serves float64."
    if _failure:
        return f"numpy serves, as the compiled kernels cannot be loaded ({_failure.splitlines()[0]})."
    try:
        return f"numpy serves until the compiled kernels (numba {version('numba')}) are warm."
    except PackageNotFoundError:
        return "numpy serves, as numba is not installed."


def kernels(compile: bool | None, dtype: Any, work: int = 0) -> ModuleType | None:
    """Return the compiled kernels if they are to serve, else None.

    compile: True waits for them, False does without, None takes them when they are warm or `work`, in pixels times
    scales, is worth the wait. They are of float32 only.
    """
    if compile is False or np.dtype(dtype) != np.dtype(np.float32):
        return None
    if _ready is None and (compile or work >= COMPILE_FROM):
        warm_up()
    return _ready


def place(array: Any, device: str | None) -> Array:
    """Return the array where it is computed: as it is, or as a torch tensor on `device`.

    Raises `FilterError` when torch does not know or cannot reach the device.
    """
    if device is None:
        return array
    import torch

    try:
        # Operators are kept read-only, which torch can only warn about.
        return torch.from_numpy(np.array(array)).to(device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise FilterError(
            f"The device {device!r} cannot be used ({reason}); leave device out to compute on the processor."
        ) from error


def fetch(array: Array) -> Any:
    """Return the array as numpy's, from wherever it was computed.

    Raises `FilterError` for a device that holds no values, torch's "meta".
    """
    if isinstance(array, np.ndarray | np.generic):
        return array
    try:
        return array.cpu().numpy()
    except NotImplementedError as error:
        raise FilterError(f"The device {str(array.device)!r} holds no values; leave device out.") from error


@contextmanager
def full_precision(device: str | None) -> Iterator[None]:
    """Let products on a device be of all digits: neither TF32 nor the half floats of a caller's autocast."""
    if device is None:
        yield
        return
    import torch

    kept = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(_kind_of(device), enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(kept)


def _kind_of(device: Any) -> str:
    """Return the kind of a device that autocast knows; an unknown one is refused by `place`, in its own words."""
    import torch

    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError):
        return "cpu"
    return kind if torch.amp.is_autocast_available(kind) else "cpu"
