"""Starting sooner: what neither the server nor the page needs is left out of their first seconds."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

URI_GRAMMAR = "rfc3987_syntax"
KEPT_BELOW_BYTES = 4_000_000
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def without_uri_grammar() -> Iterator[None]:
    """Let jsonschema be imported as if its optional URI grammar were not installed.

    Building that grammar costs over a second of each process that imports nbformat or jupyter_events, voila and plotly
    among them; it serves a check of `"format": "uri"` that neither asks for.
    """
    with _ONE_AT_A_TIME:  # the page's own thread and the one that warms it up both ask
        if URI_GRAMMAR in sys.modules:
            yield
            return
        sys.modules[URI_GRAMMAR] = None  # type: ignore[assignment]  # how Python says: not importable
        try:
            yield
        finally:
            del sys.modules[URI_GRAMMAR]


def main() -> None:
    """Run voila with this process's arguments."""
    # Of what the kernels free, glibc keeps blocks below its threshold, which grows by itself to 32 MB: a network's
    # weights, loaded and fused, leave 90 MB behind. They are mapped apart, and given back.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(KEPT_BELOW_BYTES))
    with without_uri_grammar():
        from voila.app import main as run_voila
    run_voila()


if __name__ == "__main__":
    main()
