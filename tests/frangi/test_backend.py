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
from lesiondash.frangi.hessian import Setting, piece_eigenvalues, scale_spaces
from lesiondash.frangi.presets import PRESETS
from lesiondash.frangi.response import _merge
from lesiondash.records import DEFAULT_SIGMAS, FrangiParams


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


@pytest.mark.parametrize("device", ["nowhere", "cuda:99", "meta", "", 99, []])
def test_unknown_device(device: Any) -> None:
    pytest.importorskip("torch")
    with pytest.raises(FilterError, match=r"The device .* leave device out"):
        frangi.frangi_filter(np.eye(20), FrangiParams(sigmas=(1.0,)), device=device)


def test_cuda_without_a_gpu_is_a_sentence() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for refused in (
        lambda: frangi.frangi_filter(np.eye(20), device="cuda"),
        lambda: frangi.HessianStack.compute(np.eye(20), (1.0,), device="cuda"),
    ):
        with pytest.raises(FilterError, match="'cuda' cannot be used"):
            refused()


def test_a_callers_precision_does_not_reach_a_device() -> None:
    """Within autocast a product would be of 8 bits, and of another type than what it is added to."""
    torch = pytest.importorskip("torch")
    image, params = np.random.default_rng(0).random((2, 40, 40)), FrangiParams(sigmas=(1.0, 4.0))
    wanted = frangi.frangi_filter(image, params).response
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = frangi.frangi_filter(image, params, dtype=np.float32, device="cpu").response
            stack = frangi.HessianStack.compute(image, params.sigmas, dtype=np.float32, device="cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    for response in (found, stack.respond(params).response):
        assert response.dtype == np.float32
        assert np.quantile(np.abs(response - wanted), 0.999) < 1e-5


@pytest.mark.parametrize(("ndim", "tolerance"), [(2, None), (2, 1e-3), (3, None)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_is_computed_on_the_device(ndim: int, tolerance: Any, dtype: Any) -> None:
    """torch's "meta" device computes shapes alone: it shows what would meet from two devices without having a GPU."""
    torch = pytest.importorskip("torch")
    from torch.overrides import TorchFunctionMode

    class OneDevice(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = [each for each in (*args, *(kwargs or {}).values()) if isinstance(each, torch.Tensor)]
            kinds = {each.device.type for each in given if each.ndim}
            assert len(kinds) < 2, f"{function} takes tensors on {kinds}"
            return function(*args, **(kwargs or {}))

    pixels = np.random.default_rng(0).random((4, 40, 44)).astype(dtype)
    setting = Setting.checked(DEFAULT_SIGMAS[::4], None, ndim, tolerance, "meta")
    with OneDevice():
        for images, space in scale_spaces(pixels, setting):
            best = torch.zeros(space.pixels.shape, dtype=space.pixels.dtype, device="meta")
            index = torch.zeros(best.shape, dtype=torch.int32, device="meta")
            for piece in space.pieces():
                assert {each.device.type for each in piece.components} == {"meta"}
                for params in (FrangiParams(), FrangiParams(rho=0.5, polarity="both"), PRESETS["objectness"]):
                    values = piece_eigenvalues(piece.components, None)
                    part = best[piece.where].reshape(-1), index[piece.where].reshape(-1)
                    _merge(values, params, piece.scales.start, *part, None)
            assert images.stop == len(pixels)


def test_neither_torch_nor_numba_comes_with_the_import() -> None:
    code = (
        "import sys, numpy; from lesiondash.frangi import HessianStack; from lesiondash import FrangiParams; "
        "params = FrangiParams(sigmas=(1.0, 2.0)); "
        "HessianStack.compute(numpy.eye(9), params.sigmas, dtype='f4').respond(params); "
        "heavy = {'torch', 'numba', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
