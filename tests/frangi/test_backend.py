"""What computes, and how it says so."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from lesiondash import frangi
from lesiondash.errors import FilterError
from lesiondash.frangi import backend
from lesiondash.records import FrangiParams


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_ready", None)
    monkeypatch.setattr(backend, "_failure", "")


@pytest.mark.usefixtures("cold")
def test_says_who_serves() -> None:
    assert frangi.engine().startswith("numpy serves until")
    assert frangi.warm_up() == frangi.engine()
    assert frangi.engine().startswith("Compiled kernels (numba")


@pytest.mark.usefixtures("cold")
def test_a_slider_does_not_wait_for_a_compiler() -> None:
    params = FrangiParams(sigmas=(1.0, 2.0))
    stack = frangi.HessianStack.compute(np.eye(20), params.sigmas, dtype=np.float32)
    stack.respond(params)
    assert backend._ready is None
    frangi.frangi_filter(np.eye(20), params, dtype=np.float32, compile=True)
    assert backend._ready is not None


@pytest.mark.usefixtures("cold")
def test_numpy_serves_where_numba_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lesiondash.frangi.compiled", None)
    monkeypatch.delattr(frangi, "compiled", raising=False)
    assert "cannot be loaded" in frangi.warm_up()
    result = frangi.frangi_filter(np.eye(20), FrangiParams(sigmas=(1.0,)), dtype=np.float32, compile=True)
    assert result.response.max() > 0


def test_float64_is_numpys() -> None:
    assert backend.kernels(True, np.float64) is None
    assert backend.kernels(False, np.float32) is None


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_unknown_device(device: Any) -> None:
    pytest.importorskip("torch")
    with pytest.raises(FilterError, match=device):
        frangi.frangi_filter(np.eye(20), FrangiParams(sigmas=(1.0,)), device=device)


def test_neither_torch_nor_numba_comes_with_the_import() -> None:
    code = (
        "import sys, numpy; from lesiondash.frangi import HessianStack; from lesiondash import FrangiParams; "
        "params = FrangiParams(sigmas=(1.0, 2.0)); "
        "HessianStack.compute(numpy.eye(9), params.sigmas, dtype='f4').respond(params); "
        "heavy = {'torch', 'numba', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
