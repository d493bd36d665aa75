"""One thread for a while: what was there before comes back, whoever asks in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from lesiondash.learning.classifier import LesionClassifier
from lesiondash.learning.threads import one_blas_thread
from lesiondash.retrieval.index import Index


def blas_threads() -> set[int]:
    """Of the libraries that count for the whole process; OpenMP's count for the thread that asks."""
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {library["num_threads"] for library in blas if library.get("threading_layer") != "openmp"}


@pytest.fixture
def _two_threads() -> Iterator[None]:
    """Set by a thread that is gone: one that lives would keep others from any limit."""
    LesionClassifier.fit(np.eye(4), ["lung", "liver"] * 2, ["1", "1", "2", "2"])  # loads every library
    before = max(blas_threads())
    for count in (2, before):
        setter = threading.Thread(target=threadpool_limits, args=(count, "blas"))
        setter.start()
        setter.join()
        if count == 2:
            yield


@pytest.mark.usefixtures("_two_threads")
def test_limits_that_overlap_leave_the_threads_as_they_were() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with one_blas_thread():
            inside.set()
            leave.wait(10)

    first = threading.Thread(target=hold)
    first.start()
    inside.wait(10)
    assert blas_threads() == {1}
    timer = threading.Timer(0.2, leave.set)
    timer.start()
    with one_blas_thread(), one_blas_thread():
        first.join()
        assert blas_threads() == {1}
    assert blas_threads() == {2}


@pytest.mark.usefixtures("_two_threads")
def test_searches_and_fits_side_by_side_leave_the_threads_as_they_were() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(400, 64))
    ids = [f"L{row}" for row in range(400)]
    index = Index(vectors, {"lesion_id": ids, "patient_id": ids, "type": ids})

    def work(turn: int) -> Any:
        if turn % 4:
            return index.search_many(vectors, 5)
        return LesionClassifier.fit(vectors[:60], ["lung", "liver"] * 30, [f"P{row // 3}" for row in range(60)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(24)))
    assert blas_threads() == {2}
