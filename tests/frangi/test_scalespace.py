"""Every path to the Hessian gives the float64 reference: bands, cosines, chunks, kernels, tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scenes import Image, scene, scene_3d

from lesiondash.frangi import scalespace
from lesiondash.frangi.backend import fetch
from lesiondash.frangi.derivatives import derivative_operators
from lesiondash.frangi.hessian import HessianStack, Setting, scale_spaces
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import FrangiParams

Floats = tuple[float, ...]
SIGMAS: Floats = (1.0, 1.8, 3.0, 5.0, 9.0)


def components(
    pixels: Image, sigmas: tuple[float, ...], spacing: tuple[float, ...], device: str | None = None
) -> Image:
    """All components, (scales, components, *pixels.shape), put together from their pieces."""
    found = np.full((len(sigmas), 3 if len(spacing) == 2 else 6, *pixels.shape), np.nan)
    for images, space in scale_spaces(pixels, Setting(sigmas, spacing, None, device)):
        for piece in space.pieces():
            for number, each in enumerate(piece.components):
                target = found[piece.scales, number, images]
                part = (target if space.ndim == 3 else target.swapaxes(1, 2))[(slice(None), *piece.where)]
                assert np.isnan(part).all()  # each pixel once
                part[...] = fetch(each).reshape(part.shape)
    return found


def reference(pixels: Image, sigmas: Floats, spacing: Floats) -> Image:
    """The same by one dense matrix an axis."""
    orders = ((0, 2, 0), (0, 1, 1), (0, 0, 2), (1, 1, 0), (1, 0, 1), (2, 0, 0))
    found = []
    for sigma in sigmas:
        operators = [
            derivative_operators(n, sigma / s) for n, s in zip(pixels.shape[-len(spacing) :], spacing, strict=True)
        ]
        if len(spacing) == 2:
            operators.insert(0, np.stack([np.eye(len(pixels))] * 3))
        z, y, x = operators
        pairs = orders[:3] if len(spacing) == 2 else orders
        each = [np.einsum("az,by,cx,zyx->abc", z[i], y[j], x[k], pixels, optimize=True) for i, j, k in pairs]
        found.append(each)
    return np.array(found)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 3e-6)])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((1, 64, 64), (1.0, 1.0)), ((20, 64, 64), (1.0, 1.0)), ((2, 150, 330), (1.0, 1.0)), ((3, 33, 70), (0.5, 0.9))],
)
def test_slices(shape: tuple[int, ...], spacing: tuple[float, ...], dtype: Any, tolerance: float, device: Any) -> None:
    pixels = np.random.default_rng(0).random(shape) - 0.5
    found = components(pixels.astype(dtype), SIGMAS, spacing, device)
    assert np.abs(found - reference(pixels, SIGMAS, spacing)).max() < tolerance


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 3e-6)])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((7, 40, 50), (1.0, 1.0, 1.0)), ((11, 70, 130), (2.5, 0.8, 0.7)), ((1, 9, 8), (1.0, 1.0, 1.0))],
)
def test_volumes(shape: tuple[int, ...], spacing: tuple[float, ...], dtype: Any, tolerance: float, device: Any) -> None:
    pixels = np.random.default_rng(1).random(shape) - 0.5
    found = components(pixels.astype(dtype), SIGMAS[1:4], spacing, device)
    assert np.abs(found - reference(pixels, SIGMAS[1:4], spacing)).max() < tolerance


def test_the_size_of_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = scene_3d(0, (5, 70, 60))
    whole = [components(pixels, SIGMAS, (1.0,) * ndim) for ndim in (2, 3)]
    monkeypatch.setattr(scalespace, "CHUNK_PX", 100)
    monkeypatch.setattr(scalespace, "SLAB", 2)
    for ndim, each in zip((2, 3), whole, strict=True):
        assert components(pixels, SIGMAS, (1.0,) * ndim) == pytest.approx(each, abs=1e-13)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("rho", [0.0, 0.68, 1.0])
def test_float32_response_follows_float64(ndim: int, rho: float, device: Any, compiled: bool) -> None:
    image = np.stack([scene(seed, (64, 72)) for seed in range(3)]) if ndim == 2 else scene_3d(1)
    params = FrangiParams(sigmas=SIGMAS, rho=rho)
    exact = frangi_filter(image, params, ndim=ndim)
    quick = frangi_filter(image, params, ndim=ndim, dtype=np.float32, device=device, compile=compiled)
    assert quick.response.dtype == np.float32
    stack = HessianStack.compute(image, SIGMAS, ndim=ndim)
    # The response jumps where the largest two magnitudes, of different sign, change places.
    clear = ((1 - np.abs(stack.small / stack.big) > 1e-3) | (stack.small * stack.big > 0)).all(axis=0)
    error = np.abs(quick.response - exact.response)
    assert clear.mean() > 0.95
    assert error[clear].max() < 1e-5
    assert np.quantile(error, 0.999) < 1e-5
    assert (quick.scale_index == exact.scale_index)[clear].mean() > 0.999


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("gamma", [0.0444, "auto"])
def test_stack_on_a_torch_device(ndim: int, gamma: Any) -> None:
    pytest.importorskip("torch")
    image, params = scene_3d(2), FrangiParams(sigmas=SIGMAS[:3], gamma=gamma)
    numpys = HessianStack.compute(image, params.sigmas, ndim=ndim).respond(params, per_scale=True)
    stack = HessianStack.compute(image, params.sigmas, ndim=ndim, device="cpu")
    torchs = stack.respond(params, per_scale=True)
    assert isinstance(torchs.response, np.ndarray)
    assert torchs.scale_index.dtype == np.int32
    assert np.quantile(np.abs(torchs.response - numpys.response), 0.9999) < 1e-9
    assert torchs.responses is not None
    assert torchs.responses.shape == (3, *image.shape)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_interpolated_scales_on_a_device(dtype: Any, device: Any) -> None:
    pytest.importorskip("torch")
    image, params = scene(2, (40, 48)), FrangiParams()
    stack = HessianStack.compute(image, params.sigmas, dtype=dtype, tolerance=1e-4, device=device)
    wanted = HessianStack.compute(image, params.sigmas, tolerance=1e-4)
    assert fetch(stack.big).dtype == dtype
    assert np.abs(np.abs(fetch(stack.big)) - np.abs(wanted.big)).max() < 1e-5


def test_cuda_agrees() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    image = np.random.default_rng(0).random((20, 64, 64))
    exact = frangi_filter(image).response
    error = np.abs(frangi_filter(image, dtype=np.float32, device="cuda").response - exact)
    assert np.quantile(error, 0.9999) < 1e-5
