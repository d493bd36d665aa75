"""Damaged real files: each ends as a series or as a named error, within 5 s and its memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from running import CHECKOUT

CASES = 600


@pytest.fixture(scope="module")
def fuzz(shared_dicom: Path):  # type: ignore[no-untyped-def]
    """The benchmark's own mutations and its reader in a process with limits."""
    sys.path.insert(0, str(CHECKOUT / "benchmarks"))
    try:
        import fuzz

        yield fuzz
    finally:
        sys.path.remove(str(CHECKOUT / "benchmarks"))


def test_damage_ends_in_a_series_or_a_named_error(fuzz, shared_dicom: Path) -> None:  # type: ignore[no-untyped-def]
    paths = sorted(path for path in shared_dicom.rglob("*.dcm") if path.stat().st_size < 80_000)
    small = [path.read_bytes() for path in paths]
    syntaxes = [path.read_bytes() for path in sorted((shared_dicom / "transfer_syntaxes").glob("*JPEG*"))]
    counts, slowest, failures = fuzz.run([*small, *syntaxes, fuzz.zipped(small[:4])], CASES, seed=3)
    assert failures == []
    assert sum(counts.values()) == CASES
    assert set(counts) == {"series", "named error"}, "some are still read, some are not"
    assert slowest < fuzz.LIMIT_S


def test_the_reader_notices_what_hangs_and_what_dies(fuzz, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    assert fuzz.read_one(b"no scan at all") == "named error"
    reader = fuzz.Reader()
    reader.close()
    assert reader.read(b"x")[0].startswith("FAILURE: died")
    assert reader.read(b"x" * 200)[0] == "named error", "another process took its place"
    reader.close()
