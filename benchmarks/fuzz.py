"""Damaged DICOM files by the thousand: each must end as a series or as a named error, in time and within memory."""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from machine import describe

FILES = Path(__file__).parents[1].parent / "shared" / "data" / "dicom"
LIMIT_S = 5.0
MEMORY_BYTES = 2**30
"""What one case may take beyond what its process needs to run at all."""
EDGES = (b"\x00", b"\xff", b"\x7f\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f")
Mutation = Callable[[random.Random, bytes, bytes], bytes]


def flipped(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """Bits turned round, a few or many, the header as likely as all the rest."""
    content = bytearray(whole)
    end = len(content) if rng.random() < 0.4 else min(len(content), 4096)
    for _ in range(rng.choice((1, 2, 4, 16, 64))):
        content[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(content)


def cut(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """The end, the beginning, or a piece of the middle missing."""
    a, b = sorted((rng.randrange(len(whole)), rng.randrange(len(whole))))
    return rng.choice((whole[:a], whole[:b], whole[:a] + whole[b:], whole[a:]))


def spliced(rng: random.Random, whole: bytes, other: bytes) -> bytes:
    """A piece of another file in place of one's own, or put in between."""
    a, b = rng.randrange(len(whole)), rng.randrange(len(other))
    piece = other[b : b + rng.choice((8, 64, 512, 4096, 65536))]
    return whole[:a] + piece + whole[a + (len(piece) if rng.random() < 0.5 else 0) :]


def relengthened(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """Lengths of elements changed: to nothing, to too much, to undefined."""
    content = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 5))):
        guesses = [rng.randrange(132, min(len(content), 8192) - 8) for _ in range(64)]
        places = [at for at in guesses if _is_element(content, at)]
        at = rng.choice(places) if places else rng.randrange(len(content) - 12)
        value = rng.choice((0, 1, 7, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF, rng.randrange(2**16), rng.randrange(2**32)))
        if rng.random() < 0.5:
            content[at + 6 : at + 8] = struct.pack("<H", value & 0xFFFF)
        else:
            content[at + 8 : at + 12] = struct.pack("<L", value)
    return bytes(content)


def _is_element(content: bytearray, at: int) -> bool:
    return content[at + 4 : at + 6].isalpha() and content[at + 4 : at + 6].isupper()


def edged(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """Values at the edge of what a field can hold."""
    content = bytearray(whole)
    for _ in range(rng.choice((1, 3, 9))):
        at, value = rng.randrange(min(len(content), 8192)), rng.choice(EDGES)
        content[at : at + len(value)] = value
    return bytes(content)


def resized(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """Rows, Columns, bits, samples and frames of another image (group 0028), wherever they stand."""
    content = bytearray(whole)
    for element in rng.sample((0x02, 0x04, 0x08, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103), 3):
        at = content.find(struct.pack("<HH", 0x28, element))
        if at >= 0:
            content[at + 8 : at + 10] = struct.pack("<H", rng.choice((0, 1, 3, 8, 16, 255, 4096, 32768, 65535)))
    return bytes(content)


MUTATIONS: tuple[Mutation, ...] = (flipped, cut, spliced, relengthened, edged, resized)


def zipped(files: list[bytes]) -> bytes:
    """Some of the files as a zip."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(files):
            archive.writestr(f"folder/{number}.dcm", file)
    return content.getvalue()


def cases(files: list[bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield a name and the content of each case; the same ones for the same seed."""
    rng = random.Random(seed)
    for number in range(count):
        mutation, which = MUTATIONS[number % len(MUTATIONS)], rng.randrange(len(files))
        content = mutation(rng, files[which], rng.choice(files))
        if rng.random() < 0.2 and len(content) > 300:
            content = rng.choice(MUTATIONS)(rng, content, rng.choice(files))
        yield f"case {number}, {mutation.__name__}, file {which}", content


def read_one(content: bytes) -> str:
    """Read a case as a person's file is read; returns what came of it."""
    from lesiondash.errors import LesionDashError
    from lesiondash.images.dicom import load_dicom

    try:
        reading = load_dicom(content)
    except LesionDashError:
        return "named error"
    except MemoryError:
        return "FAILURE: memory"
    except BaseException as error:
        return f"FAILURE: {type(error).__name__}"
    return "series" if all(series.hu.ndim == 3 for series in reading.series) else "FAILURE: no volume"


def worker(pipe: Connection) -> None:
    """Read what the pipe brings, within the limit of memory."""
    read_one(b"DICM")  # what is imported once does not count
    if sys.platform == "linux":
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, held + MEMORY_BYTES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders written in C complain there
    pipe.send("ready")
    while (content := pipe.recv_bytes()) != b"end":
        pipe.send(read_one(content))


class Reader:
    """A process that reads cases; another one takes its place when it hangs or dies."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=worker, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def read(self, content: bytes) -> tuple[str, float]:
        """Return what came of a case, and the seconds that it took."""
        start = time.perf_counter()
        try:
            self._pipe.send_bytes(content)
            outcome = self._pipe.recv() if self._pipe.poll(LIMIT_S) else "FAILURE: hang"
        except (EOFError, OSError):
            self._process.join(1)
            outcome = f"FAILURE: died ({self._process.exitcode})"
        seconds = time.perf_counter() - start
        if outcome.startswith(("FAILURE: hang", "FAILURE: died")):
            self.close()
            self._start()
        return outcome, seconds

    def close(self) -> None:
        """End the process."""
        if self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()


def run(files: list[bytes], count: int, seed: int, keep: Path | None = None) -> tuple[Counter[str], float, list[str]]:
    """Read all cases; returns the counts, the longest time in s, and the failures by name."""
    reader, counts, slowest, failures = Reader(), Counter[str](), 0.0, []
    try:
        for name, content in cases(files, count, seed):
            outcome, seconds = reader.read(content)
            counts[outcome] += 1
            slowest = max(slowest, seconds)
            if outcome.startswith("FAILURE"):
                failures.append(f"{name}: {outcome}")
                if keep is not None:
                    (keep / f"{seed}-{len(failures)}.dcm").write_bytes(content)
    finally:
        reader.close()
    return counts, slowest, failures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=20_000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--largest", type=int, default=600_000, help="bytes; larger files are left out")
    arguments.add_argument("--keep", type=Path, help="a folder for the cases that failed")
    given = arguments.parse_args()
    print(describe())
    paths = sorted(path for path in FILES.rglob("*") if path.suffix.lower() == ".dcm")
    files = [path.read_bytes() for path in paths if path.stat().st_size <= given.largest]
    small = sorted(files, key=len)[:12]
    files += [zipped(small[k : k + 3]) for k in range(0, 12, 3)]
    start = time.perf_counter()
    counts, slowest, failures = run(files, given.cases, given.seed, given.keep)
    seconds = time.perf_counter() - start
    print(f"{given.cases:,} cases of {len(files)} real files and zips of them, seed {given.seed}, {seconds:.0f} s")
    for outcome, count in counts.most_common():
        print(f"{outcome:24} {count:7,}")
    print(f"slowest {slowest:.2f} s of {LIMIT_S:g} s allowed; memory {MEMORY_BYTES / 2**20:g} MiB a case")
    print("\n".join(failures[:20]))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
