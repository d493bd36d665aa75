"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["explain", "hessian", "interpolation", "presets", "response"])
def test_examples(name: str) -> None:
    failed, tried = doctest.testmod(import_module(f"lesiondash.frangi.{name}"))
    assert tried > 0
    assert failed == 0
