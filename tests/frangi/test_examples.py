"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from running import CHECKOUT


@pytest.mark.parametrize("name", ["explain", "hessian", "interpolation", "presets", "response"])
def test_examples(name: str) -> None:
    failed, tried = doctest.testmod(import_module(f"lesiondash.frangi.{name}"))
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize("folder", ["ge_thorax_3slice", "ge_head_gantry_tilt_28"])
def test_the_lesson_holds_on_real_slices(shared_dicom: Path, folder: str) -> None:
    """Read as 8 bits few levels are left, and the released parameters leave hardly a pixel between off and on."""
    notebook = json.loads((CHECKOUT / "notebooks" / "2_frangi.ipynb").read_text(encoding="utf-8"))
    cells = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"}
    assert "scan = None" in cells["slice"]
    named: dict[str, Any] = {}
    for name in ("slice", "levels", "filters", "share"):
        exec(cells[name].replace("scan = None", f"scan = {str(shared_dicom / folder)!r}"), named)
    hu, eight_bit, body, on_or_off = (named[name] for name in ("hu", "eight_bit", "body", "on_or_off"))
    assert hu.shape == (512, 512)
    assert 20 * len(set(eight_bit[body])) < len(set(hu[body]))
    assert on_or_off[0] > 0.9 > on_or_off[1]
