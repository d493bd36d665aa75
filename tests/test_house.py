"""The rules of the house, held: import direction, thin notebooks, whole environment, a light import."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "lesiondash"
# Data flow down this list; imports point back up it.
ORDER = [
    "errors",
    "records",
    "paths",
    "startup",
    "images",
    "annotations",
    "frangi",
    "learning",
    "retrieval",
    "prepare",
    "train",
    "evaluate",
    "report",
    "reproduce",
    "dashboard",
    "serve",
    "screen",
    "cli_pacs",
    "cli_search",
    "cli_evaluate",
    "cli_train",
    "cli",
]
CONDA_NAMES = {"torch": "pytorch"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms that a file imports from, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lesiondash."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names.update(alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lesiondash."))
    return names


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_back(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return
    here = ORDER.index(room(path))
    for name in imported(path):
        assert ORDER.index(name) <= here, f"{path.name} imports {name}, which comes later in the data flow"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 50, f"{node.name} is too long"


def test_import_is_light() -> None:
    code = (
        "import sys, lesiondash; heavy = {'torch', 'umap', 'pandas', 'skimage', 'plotly'} & set(sys.modules); "
        "assert not heavy, heavy; from lesiondash import *; assert lesiondash.read_dicom"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_public_names_have_docstrings() -> None:
    import lesiondash

    for name in lesiondash.__all__:
        assert getattr(lesiondash, name).__doc__, name


def test_environment_holds_every_dependency() -> None:
    environment = yaml.safe_load((CHECKOUT / "environment.yml").read_text(encoding="utf-8"))
    plain = [item for item in environment["dependencies"] if isinstance(item, str)]
    pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert pip[-1] == "-e ."
    known = {item.split(">")[0].split("=")[0] for item in [*plain, *pip]}
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for dependency in project["dependencies"]:
        name = dependency.split(">")[0]
        assert CONDA_NAMES.get(name, name) in known, f"{name} is missing from environment.yml"


def test_constraints_pin_every_dependency() -> None:
    pinned = {
        line.split("==")[0].lower() for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for dependency in project["dependencies"]:
        assert dependency.split(">")[0].lower() in pinned


@pytest.mark.parametrize("path", sorted((CHECKOUT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebook_is_thin(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 12
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert "def " not in cell.source
            assert "class " not in cell.source


@pytest.mark.parametrize("path", sorted((CHECKOUT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebook_runs(in_demonstration: Path, path: Path) -> None:
    """Cell by cell in a kernel, as JupyterLab runs it."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=400, resources={"metadata": {"path": str(CHECKOUT / "notebooks")}}).execute()
    shown = notebook.cells[-1].outputs
    assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in shown)


def test_voila_settings() -> None:
    settings = json.loads((CHECKOUT / "voila.json").read_text(encoding="utf-8"))
    assert settings["MappingKernelManager"]["cull_idle_timeout"] > 0
    assert settings["VoilaConfiguration"]["template"] == "lesiondash"


def test_page_names_no_outside_host() -> None:
    for path in (PACKAGE / "dashboard").rglob("*"):
        if path.suffix in {".js", ".css", ".j2", ".py"}:
            assert "https://" not in path.read_text(encoding="utf-8"), path
