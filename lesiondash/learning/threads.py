"""Linear algebra on one thread for a while, which is set for the whole process: by one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep numpy's products to one thread each; whoever asks meanwhile in another thread waits.

    Of two limits that overlap, the second would find one thread and leave it behind for good as what was there before.
    """
    from threadpoolctl import threadpool_limits

    with _ONE_AT_A_TIME, threadpool_limits(1, "blas"):
        yield
