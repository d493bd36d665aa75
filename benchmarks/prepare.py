"""How long `lesiondash prepare` takes from nothing and again, step by step, how much it writes, and what it scores."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from machine import describe


def main() -> None:
    import os

    with tempfile.TemporaryDirectory() as folder:
        os.environ["LESIONDASH_DATA"] = folder
        from lesiondash import Encoder
        from lesiondash.evaluate import as_table, evaluate_encoders
        from lesiondash.prepare import prepare

        marks: dict[str, tuple[float, float]] = {}

        def mark(step: str, done: int, total: int) -> None:
            name, now = step.partition(" (")[0], time.perf_counter()
            marks[name] = (marks.get(name, (now, now))[0], now)

        start = time.perf_counter()
        prepared = prepare(progress=mark)
        total = time.perf_counter() - start
        start = time.perf_counter()
        prepare()
        again = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder, "demo").rglob("*") if path.is_file()) / 1e6
        print(describe())
        previous = 0.0
        first = min(begin for begin, _ in marks.values())
        for name, (_, end) in marks.items():
            print(f"{name:<36} {end - first - previous:7.1f} s")
            previous = end - first
        print(f"{'prepare, from nothing':<36} {total:7.1f} s")
        print(f"{'prepare, again':<36} {again:7.2f} s")
        print(f"{'collection on disk':<36} {size:7.0f} MB")
        encoders = {"trained": Encoder.load(prepared.encoder), "untrained": Encoder.untrained()}
        print(as_table(evaluate_encoders(prepared.root, encoders)))


if __name__ == "__main__":
    main()
