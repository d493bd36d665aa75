"""Where numba is missing, or has no folder to keep what it compiled: the same answers without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_many_rows import clustered, table

import lesiondash
from lesiondash.retrieval.compiled import kernels
from lesiondash.retrieval.index import Index
from lesiondash.retrieval.table import Where

COUNT = 9_000
PROGRAM = """
import sys
{first}
import numpy as np
import lesiondash
sys.path.insert(0, sys.argv[1])
from test_compiled_search import answers
from lesiondash.retrieval.compiled import kernels
assert kernels() is None
assert lesiondash.__file__ == sys.argv[2]
np.savez(sys.argv[3], *answers())
"""


def answers() -> list[np.ndarray]:  # type: ignore[type-arg]
    """What a large index says to single queries, thousands of names, and many queries at once."""
    random = np.random.default_rng(0)
    index = Index(clustered(random, COUNT, 32), table(random, COUNT))
    named = Where(ids=[f"L{n}" for n in range(3_000)])
    found = [[hit.row for hit in index.search(index.vectors[7], 9, where=where)] for where in (None, named)]
    return [np.array(found), *index.search_many(index.vectors[:600], 9)]


@pytest.mark.parametrize("lacking", ["numba", "a folder for its cache"])
def test_same_answers_without_compiled_kernels(lacking: str, tmp_path: Path) -> None:
    package = Path(lesiondash.__file__).parent
    first, here = "", {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    if lacking == "numba":
        first = "sys.modules['numba'] = None"
    else:
        shutil.copytree(package, tmp_path / "lesiondash", ignore=shutil.ignore_patterns("__pycache__"))
        package = tmp_path / "lesiondash"
        (package / "retrieval" / "__pycache__").touch()  # a file, where numba would make a folder
        here.update(HOME=str(package / "errors.py"), XDG_CACHE_HOME=str(package / "errors.py"))
    arguments = (str(Path(__file__).parent), str(package / "__init__.py"), str(tmp_path / "found.npz"))
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM.format(first=first), *arguments],
        cwd=tmp_path,
        env={**here, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert kernels() is not None  # the judge is the compiled one
    with np.load(tmp_path / "found.npz") as found:
        for name, expected in zip(found.files, answers(), strict=True):
            assert np.array_equal(found[name], expected)
