"""The demonstration collection: CT anatomy and lesions drawn by a program. It holds no patient data.

It is written in DeepLesion's own form, so that the loader of the real set reads it, with some patients as DICOM too.
Densities and proportions are rounded from textbook anatomy; it teaches and tests a search, not radiology.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from lesiondash.errors import CollectionError
from lesiondash.images.phantom_files import series_instance_uid, table_row, write_dicom, write_png, write_table
from lesiondash.images.phantom_study import Finding, Study, make_studies, measure
from lesiondash.records import LESION_TYPES

GENERATOR_VERSION = 2
SPLIT_SHARES = (0.70, 0.15, 0.15)
TEST_SPLIT = 3
NEIGHBOURS = 1
CASE_SLICES = 30


@dataclass(frozen=True)
class PhantomSettings:
    """How large a collection to draw; every second patient has two studies, each lesion a few slices."""

    patients: int = 400
    seed: int = 0
    image_px: int = 256
    dicom_patients: int = 12


def generate(
    root: Path,
    settings: PhantomSettings = PhantomSettings(),
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the collection under `root`: `DL_info.csv`, `Images_png/`, `dicom/`, `cases.json`, last `manifest.json`.

    The same settings give the same bytes, whatever the number of workers. An earlier collection at `root` is
    replaced when the new one is whole; an interrupted run leaves it as it was. progress(done, total) counts patients.
    Raises `CollectionError` where `root` holds anything that is not a generated collection: it is not ours to delete.
    """
    _check_replaceable(root)
    fresh = root.with_name(f"{root.name}.{os.getpid()}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "Images_png").mkdir(parents=True)
    splits = _splits(settings)
    try:
        rows: list[list[str]] = []
        jobs = [(fresh, settings, number, splits[number - 1]) for number in range(1, settings.patients + 1)]
        for done, part in enumerate(_in_parallel(_write_patient, jobs, workers), start=1):
            rows.extend(part)
            if progress:
                progress(done, len(jobs))
        write_table(fresh / "DL_info.csv", rows)
        chosen = _choose_cases(settings, splits)
        cases = list(
            _in_parallel(_write_case, [(fresh, settings, place, *case) for place, case in enumerate(chosen)], workers)
        )
        (fresh / "cases.json").write_text(json.dumps(cases, indent=1), encoding="utf-8")
        manifest = {
            "generator": GENERATOR_VERSION,
            "settings": asdict(settings),
            "patients": settings.patients,
            "series": len(list((fresh / "Images_png").iterdir())),
            "slices": sum(1 for _ in (fresh / "Images_png").glob("*/*.png")),
            "lesions": len(rows),
            "dicom_series": len(cases),
        }
        (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        shutil.rmtree(root, ignore_errors=True)
        fresh.rename(root)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check_replaceable(root: Path) -> None:
    """Raise `CollectionError` unless `root` is absent, empty, or a collection that this module wrote."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    try:
        ours = "generator" in json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise CollectionError(
            f"{root.name} exists and is not a generated collection, so it is not replaced; move it away, or choose "
            "another folder with LESIONDASH_DATA."
        )


def _in_parallel(work: Callable[[Any], Any], jobs: list[Any], workers: int | None) -> Any:
    """Yield the results in the jobs' order; spawned processes, since a fork of a process with torch in it can hang."""
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count <= 1:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(work, jobs, chunksize=2)


def _one_thread() -> None:
    """Keep each worker's linear algebra to one thread: on small matrices more threads only wait for one another."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _splits(settings: PhantomSettings) -> list[int]:
    """DeepLesion's split code of each patient, in the order of their numbers."""
    rng = np.random.default_rng([settings.seed, 0])
    bounds = np.cumsum(SPLIT_SHARES)[:-1] * settings.patients
    codes = np.digitize(np.arange(settings.patients), bounds) + 1
    return [int(code) for code in rng.permutation(codes)]


def _findings(study: Study, code: int | None = None) -> list[Finding]:
    """Measure the lesions of a study, or those of one type."""
    found = [measure(study, growth) for growth in study.growths if code in (None, growth.code)]
    return [finding for finding in found if finding is not None]


def _write_patient(job: tuple[Path, PhantomSettings, int, int]) -> list[list[str]]:
    """Write a patient's slices and return their rows of the table."""
    root, settings, number, split = job
    rows: list[list[str]] = []
    for study in make_studies(settings.seed, number, settings.image_px):
        findings = _findings(study)
        around = {finding.index + k for finding in findings for k in range(-NEIGHBOURS, NEIGHBOURS + 1)}
        indices = sorted(index for index in around if 1 <= index <= study.last_slice)
        folder = root / "Images_png" / study.series_id
        folder.mkdir()
        for index in indices:
            write_png(folder / f"{index:03d}.png", study.render(index))
        rows.extend(table_row(study, finding, split, _run(indices, finding.index)) for finding in findings)
    return rows


def _run(indices: list[int], key: int) -> tuple[int, int]:
    """First and last of the consecutive slices that hold the key slice."""
    for _, group in groupby(enumerate(indices), lambda item: item[1] - item[0]):
        run = [index for _, index in group]
        if key in run:
            return run[0], run[-1]
    raise AssertionError("the key slice is among its own slices")


def _choose_cases(settings: PhantomSettings, splits: list[int]) -> list[tuple[int, int]]:
    """Choose test patients as demonstration cases, (patient, code), going round the types."""
    waiting = [number for number, split in enumerate(splits, start=1) if split == TEST_SPLIT]
    order = [4, 5, 6, 3, 2, 1, 8, 7]
    cases: list[tuple[int, int]] = []
    for place in range(settings.dicom_patients):
        code = order[place % len(order)]
        for number in waiting:
            study = make_studies(settings.seed, number, settings.image_px)[0]
            if any(10 < max(f.diameters_px) * study.spacing_mm < 45 for f in _findings(study, code)):
                cases.append((number, code))
                waiting.remove(number)
                break
    return cases


def _write_case(job: tuple[Path, PhantomSettings, int, int, int]) -> dict[str, Any]:
    """Write a case's DICOM series and return its entry in `cases.json`."""
    root, settings, place, number, code = job
    study = make_studies(settings.seed, number, settings.image_px)[0]
    findings = _findings(study)
    shown = next(f for f in findings if f.code == code and 10 < max(f.diameters_px) * study.spacing_mm < 45)
    first = min(max(1, shown.index - CASE_SLICES // 2), max(1, study.last_slice - CASE_SLICES + 1))
    indices = range(first, min(first + CASE_SLICES, study.last_slice + 1))
    name = f"case_{place + 1:02d}"
    write_dicom(root / "dicom" / name, study, indices, reverse_names=place % 3 == 1)
    inside = [shown, *(f for f in findings if f is not shown and f.index in indices)]
    return {
        "case": name,
        "folder": f"dicom/{name}",
        "patient_id": f"{number:06d}",
        "series_id": study.series_id,
        "series_instance_uid": series_instance_uid(study),
        "first_slice_index": first,
        "lesion_ids": [_lesion_id(study, findings, finding) for finding in inside],
        "type": LESION_TYPES[code - 1],
        "title": f"{LESION_TYPES[code - 1].capitalize()}, {max(shown.diameters_px) * study.spacing_mm:.0f} mm",
    }


def _lesion_id(study: Study, findings: list[Finding], finding: Finding) -> str:
    """The id that the loader gives a row: its image, and its place among the rows of that image."""
    same = [other for other in findings if other.index == finding.index]
    return f"{study.series_id}_{finding.index:03d}#{same.index(finding)}"
