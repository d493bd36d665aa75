"""The response: closed forms, the table of ρ, metamorphic properties and parity with scikit-image."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from math import exp, sqrt
from typing import Any

import numpy as np
import pytest
from scenes import scene, scene_3d

from lesiondash.errors import FilterError
from lesiondash.frangi import response
from lesiondash.frangi.formulas import response_of
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.presets import PRESETS
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import DEFAULT_SIGMAS, FrangiParams

Image = np.ndarray[Any, Any]
SIGMAS = (1.0, 2.2, 4.0, 9.0)
GAIN = 1 - exp(-0.5)
N = 129
Y, X = np.mgrid[:N, :N] - N // 2


def sure(stack: HessianStack) -> Image:
    """Pixels where no scale is near the sign change of the trace, at which the response jumps."""
    norm = np.hypot(stack.small, stack.big)
    return np.asarray((np.abs(stack.small + stack.big) > 1e-5 * norm).all(axis=0))


def assert_same(first: Image, second: Image, mask: Image, tolerance: float = 1e-9) -> None:
    assert mask.mean() > 0.99
    assert np.abs(first - second)[mask].max() < tolerance


@pytest.mark.parametrize(
    ("image", "sigma", "expected", "tolerance"),
    [
        (0.5 * np.exp(-(X**2 + Y**2) / 8), 2, 0.249262, 1e-5),
        (0.5 * np.exp(-(X**2) / 8), 2 * sqrt(2), 0.999917, 1e-5),
        (0.5 * np.exp(-(X**2) / 8), 1, 0.868540, 1e-4),
        (0.5 * (np.abs(X) <= 4.5), 4.5, 1.0, 1e-5),
    ],
)
def test_closed_form_response_at_the_centre(image: Image, sigma: float, expected: float, tolerance: float) -> None:
    params = FrangiParams(sigmas=(sigma,), normalise=True)
    assert frangi_filter(image, params).response[N // 2, N // 2] == pytest.approx(expected, abs=tolerance)


def test_step_edge_is_a_plateau_over_the_scales() -> None:
    stack = HessianStack.compute(np.where(X >= 0, 0.5, 0), DEFAULT_SIGMAS)
    best = stack.respond(FrangiParams(normalise=True)).response[N // 2, N // 2 + 3 : N // 2 + 8]
    assert best == pytest.approx(np.full(5, 0.974884), abs=3e-3)


@pytest.mark.parametrize("tau", [2.0, 4.0, 7.0])
def test_winning_scale_is_the_size_of_the_blob(tau: float) -> None:
    weak = 0.05 * np.exp(-(X**2 + Y**2) / (2 * tau**2))
    result = frangi_filter(weak)
    assert result.sigmas[result.scale_index[N // 2, N // 2]] == pytest.approx(tau, abs=0.01)


def test_adding_a_constant_changes_nothing() -> None:
    image, params = scene(), FrangiParams(sigmas=SIGMAS)
    mask = sure(HessianStack.compute(image, SIGMAS))
    assert_same(frangi_filter(image, params).response, frangi_filter(image + 5, params).response, mask)


@pytest.mark.parametrize("rho", [0, 0.4, 1])
def test_bright_of_an_image_is_dark_of_its_negative_and_both_is_their_maximum(rho: float) -> None:
    image, params = scene(), FrangiParams(sigmas=SIGMAS, rho=rho)
    bright, dark, both = (replace(params, polarity=name) for name in ("bright", "dark", "both"))  # type: ignore[arg-type]
    responses = [frangi_filter(image, each).response for each in (bright, dark, both)]
    assert np.array_equal(responses[0], frangi_filter(-image, dark).response)
    assert np.array_equal(np.maximum(responses[0], responses[1]), responses[2])
    assert not np.array_equal(responses[0], responses[1])


def test_contrast_and_gamma_scale_together() -> None:
    image, params = scene(), FrangiParams(sigmas=SIGMAS)
    scaled = frangi_filter(7 * image, replace(params, gamma=7 * 0.0444)).response
    mask = sure(HessianStack.compute(image, SIGMAS))
    assert_same(frangi_filter(image, params).response, scaled, mask)


@pytest.mark.parametrize("transform", [np.fliplr, np.flipud, np.rot90, np.transpose])
@pytest.mark.parametrize("rho", [0.3, 1])
def test_flips_and_turns_commute(transform: Any, rho: float) -> None:
    image, params = scene()[:50], FrangiParams(sigmas=SIGMAS, rho=rho)
    mask = transform(sure(HessianStack.compute(image, SIGMAS)))
    turned = frangi_filter(transform(image), params).response
    assert_same(turned, transform(frangi_filter(image, params).response), mask)


def test_more_scales_never_lower_and_their_order_does_not_matter() -> None:
    image = scene()
    for gamma in (0.0444, "auto"):
        params = FrangiParams(sigmas=SIGMAS, gamma=gamma)  # type: ignore[arg-type]
        plain = frangi_filter(image, params)
        turned = frangi_filter(image, replace(params, sigmas=SIGMAS[::-1]))
        assert np.array_equal(plain.response, turned.response)
    few = frangi_filter(image, FrangiParams(sigmas=SIGMAS[:2])).response
    assert (frangi_filter(image, FrangiParams(sigmas=SIGMAS)).response >= few).all()


@pytest.mark.parametrize("rho", [0, 0.5, 1])
def test_bounds_and_limits(rho: float) -> None:
    image, params = scene(), FrangiParams(sigmas=SIGMAS, rho=rho)
    response = frangi_filter(image, params).response
    assert response.min() >= 0
    assert 0.01 < response.max() <= GAIN + 1e-12
    normalised = frangi_filter(image, replace(params, normalise=True)).response
    assert normalised == pytest.approx(response / GAIN)
    assert frangi_filter(image, replace(params, gamma=1e9)).response.max() < 1e-12
    for extreme in (1e-30, 1e30):
        for name in ("alpha", "beta", "gamma"):
            for dtype in (np.float32, np.float64):
                stack = HessianStack.compute(image, SIGMAS, dtype=dtype)
                each = stack.respond(replace(params, normalise=True, **{name: extreme})).response  # type: ignore[arg-type]
                assert np.isfinite(each).all()
                assert each.max() <= 1 + 1e-6


def test_result_is_the_first_largest_of_the_scales() -> None:
    params = FrangiParams(sigmas=SIGMAS)
    stack = HessianStack.compute(scene(), SIGMAS)
    every, result = stack.responses(params), stack.respond(params)
    assert every.shape == (4, 64, 64)
    assert np.array_equal(result.response, every.max(axis=0))
    assert np.array_equal(result.scale_index, every.argmax(axis=0))
    assert (result.scale_index[result.response == 0] == 0).all()


def test_zoomed_image_at_doubled_scale() -> None:
    coarse, fine = (0.5 * np.exp(-(X**2 / 2 + Y**2) / (2 * (t * 3) ** 2)) for t in (1, 2))
    one = frangi_filter(coarse, FrangiParams(sigmas=(3.0,))).response
    two = frangi_filter(fine, FrangiParams(sigmas=(6.0,))).response
    middle = slice(N // 2 - 10, N // 2 + 11)
    wide = slice(N // 2 - 20, N // 2 + 21, 2)
    assert two[wide, wide] == pytest.approx(one[middle, middle], abs=1e-4)


def test_auto_gamma_is_half_the_largest_norm_of_each_image() -> None:
    images = np.stack([scene(1), 0.2 * scene(2), np.full((64, 64), 0.3)])
    params = FrangiParams(sigmas=SIGMAS, gamma="auto")
    stack = HessianStack.compute(images, SIGMAS)
    batch = stack.respond(params).response
    for row in range(2):
        gamma = 0.5 * float(np.hypot(stack.small[:, row], stack.big[:, row]).max())
        fixed = frangi_filter(images[row], replace(params, gamma=gamma)).response
        assert_same(batch[row], fixed, sure(HessianStack.compute(images[row], SIGMAS)))
    assert not batch[2].any()
    assert stack.auto_gamma[2] == 1
    assert stack.auto_gamma[:2] == pytest.approx(stack.peak_norm[:2] / 2)


def test_batch_equals_one_by_one() -> None:
    images = np.stack([scene(1), scene(2)])
    params = FrangiParams(sigmas=SIGMAS, rho=0.6)
    batch = frangi_filter(images, params)
    assert batch.scale_index.shape == images.shape
    for row, image in enumerate(images):
        mask = sure(HessianStack.compute(image, SIGMAS))
        assert_same(batch.response[row], frangi_filter(image, params).response, mask)


def test_spacing_equals_scales_in_pixels() -> None:
    image = scene()
    mm = frangi_filter(image, FrangiParams(sigmas=(1.6, 4.0)), spacing_mm=(0.8, 0.8)).response
    px = frangi_filter(image, FrangiParams(sigmas=(2.0, 5.0))).response
    assert_same(mm, px, sure(HessianStack.compute(image, (2.0, 5.0))))


@pytest.mark.parametrize("gamma", [0.0444, "auto"])
@pytest.mark.parametrize("rho", [0, 0.5, 1])
def test_constant_image_gives_exactly_nothing(gamma: Any, rho: float) -> None:
    result = frangi_filter(np.full((10, 70), 0.1), FrangiParams(gamma=gamma, rho=rho, polarity="both"))
    assert not result.response.any()
    assert not result.scale_index.any()


@pytest.mark.parametrize("polarity", ["bright", "dark"])
def test_equals_scikit_image_with_scale_normalisation(polarity: Any) -> None:
    frangi = pytest.importorskip("skimage.filters").frangi
    image, pad = scene(3), 72
    # Its border mirrors a first derivative wrongly, so it gets a wide mirrored margin; and it lacks σ², which a
    # γ divided by σ² puts in, one scale at a time.
    padded = np.pad(image, pad, mode="symmetric")
    sigmas = (2.0, 3.4, 5.0, 9.0)
    expected = np.max(
        [frangi(padded, [s], beta=0.6, gamma=0.0444 / s**2, black_ridges=polarity == "dark") for s in sigmas],
        axis=0,
    )[pad:-pad, pad:-pad]
    response = frangi_filter(image, FrangiParams(sigmas=sigmas, polarity=polarity)).response
    assert_same(response, GAIN * expected, sure(HessianStack.compute(image, sigmas)), 1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"alpha": 0}, "alpha is 0"),
        ({"beta": -0.6}, "beta is -0.6"),
        ({"gamma": 0.0}, "gamma is 0.0"),
        ({"gamma": "half"}, "gamma is 'half'"),
        ({"gamma": float("nan")}, "gamma is nan"),
        ({"alpha": "1"}, "alpha is '1'"),
        ({"rho": 1.01}, "rho is 1.01"),
        ({"rho": float("nan")}, "rho is nan"),
        ({"sigmas": ()}, "empty"),
        ({"sigmas": (0.0,)}, "sigma = 0"),
        ({"polarity": "grey"}, "'grey'"),
        ({"formula": "other"}, "'other'"),
        ({"normalise": "yes"}, "'yes'"),
    ],
)
def test_refuses_parameters_outside_the_domain(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FilterError, match=words):
        frangi_filter(np.eye(5), replace(FrangiParams(), **change))


@pytest.mark.parametrize("rho", [0, 0.68, 1])
@pytest.mark.parametrize("formula", ["promotion", "strict"])
def test_volume_of_equal_slices_is_the_slice(rho: float, formula: Any) -> None:
    image, params = scene(4, (48, 56)), FrangiParams(sigmas=SIGMAS, rho=rho, formula=formula)
    flat = frangi_filter(image, params)
    volume = frangi_filter(np.stack([image] * 5), params, ndim=3)
    mask = sure(HessianStack.compute(image, SIGMAS))
    for slice_, index in zip(volume.response, volume.scale_index, strict=True):
        # λ1 is 0 up to the half of the digits that equal eigenvalues leave.
        assert_same(slice_, flat.response, mask, 2e-6)
        assert (index == flat.scale_index)[mask].mean() > 0.999


def test_volume_follows_scikit_image_in_the_literal_reading() -> None:
    frangi = pytest.importorskip("skimage.filters").frangi
    image, pad, sigmas = scene_3d(0, (10, 24, 28)), 26, (2.0, 3.0)
    padded = np.pad(image, pad, mode="symmetric")
    expected = np.max(
        [frangi(padded, [s], alpha=1, beta=0.6, gamma=0.0444 / s**2, black_ridges=False) for s in sigmas], 0
    )
    found = frangi_filter(image, FrangiParams(sigmas=sigmas, rho=0, formula="strict"), ndim=3).response
    stack = HessianStack.compute(image, sigmas, ndim=3)
    assert stack.first is not None
    # The response jumps where two magnitudes of different sign change places.
    l1, l2, l3 = (np.abs(each) / np.abs(stack.big) for each in (stack.first, stack.small, stack.big))
    # And scikit-image does not quite close its gate where λ1 is near 0.
    shut = (stack.big >= 0) | (stack.small >= 0)
    clear = ((l2 - l1 > 1e-3) & (l3 - l2 > 1e-3) & (~shut | (l1 > 0.01))).all(axis=0)
    error = np.abs(found - expected[pad:-pad, pad:-pad, pad:-pad])[clear]
    assert clear.mean() > 0.9
    assert error.max() < 2e-6


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("rho", [0, 0.68, 1])
def test_turned_volume(axes: tuple[int, int, int], rho: float) -> None:
    image, params = scene_3d(2), FrangiParams(sigmas=(1.0, 3.0), rho=rho)
    plain = frangi_filter(image, params, ndim=3).response
    turned = frangi_filter(image.transpose(axes), params, ndim=3).response
    stack = HessianStack.compute(image, params.sigmas, ndim=3)
    mask = (np.abs(stack.big) - np.abs(stack.small) > 1e-4 * np.abs(stack.big)).all(axis=0)
    assert_same(turned, plain.transpose(axes), mask.transpose(axes), 1e-6)


@pytest.mark.parametrize("gamma", [0.0444, "auto"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_streaming_equals_the_stack(ndim: int, gamma: Any) -> None:
    image = scene_3d(3)
    params = FrangiParams(sigmas=SIGMAS[:3], gamma=gamma, rho=0.5)
    stack = HessianStack.compute(image, params.sigmas, ndim=ndim)
    streamed, kept = frangi_filter(image, params, ndim=ndim), stack.respond(params, per_scale=True)
    mask = sure(stack)
    assert_same(streamed.response, kept.response, mask)
    assert streamed.responses is None
    assert kept.responses is not None
    assert np.array_equal(kept.responses.max(axis=0), kept.response)
    again = frangi_filter(image, params, ndim=ndim, per_scale=True)
    assert again.responses is not None
    assert np.array_equal(again.responses, stack.responses(params))


def test_each_scale_is_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    params = FrangiParams(sigmas=SIGMAS)
    stack, calls = HessianStack.compute(scene(), SIGMAS), []
    monkeypatch.setattr(response, "response_of", lambda *given: (calls.append(given), response_of(*given))[1])
    found = stack.respond(params, per_scale=True)
    assert len(calls) == len(SIGMAS)
    assert found.scale_index.dtype == np.int32


def test_one_pixel_and_one_line() -> None:
    params = FrangiParams(sigmas=(1.0, 4.0), gamma="auto")
    for shape, ndim in (((1, 1), 2), ((1, 30), 2), ((3, 1, 1), 2), ((1, 1, 1), 3), ((1, 8, 9), 3)):
        for dtype in (np.float32, np.float64):
            image = np.random.default_rng(0).random(shape)
            found = frangi_filter(image, params, ndim=ndim, dtype=dtype)
            assert found.response.shape == shape
            assert found.response.dtype == dtype
            assert np.isfinite(found.response).all()
            if image[..., 0].size == image.size and image.ndim == 2 and 1 in shape and max(shape) == 1:
                assert not found.response.any()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("per_scale", [True, False])
def test_a_small_gamma_is_exact_in_float32_too(compiled: bool, per_scale: bool) -> None:
    image, params = scene().astype(np.float32), PRESETS["released-code"]
    found = frangi_filter(image, params, dtype=np.float32, compile=compiled, per_scale=per_scale)
    wanted = frangi_filter(image, params, per_scale=per_scale)
    assert found.response.dtype == np.float32
    assert np.abs(found.response - wanted.response).max() < 1e-6
    assert np.array_equal(found.scale_index, wanted.scale_index)
    if per_scale:
        assert found.responses is not None
        assert found.responses.dtype == np.float32


@pytest.mark.parametrize("gamma", [0.0444, "auto"])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_is_what_is_said(ndim: int, gamma: Any, dtype: Any) -> None:
    image = np.random.default_rng(0).random((1000, 900) if ndim == 2 else (20, 220, 230)).astype(dtype)
    params = FrangiParams(sigmas=(1.0, 3.0), gamma=gamma)
    frangi_filter(image, params, ndim=ndim, dtype=dtype)  # what is kept for the next image is another matter
    tracemalloc.start()
    frangi_filter(image, params, ndim=ndim, dtype=dtype, compile=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * image.nbytes + 12_000_000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_refuses_more_than_memory_before_it_copies(dtype: Any) -> None:
    huge = np.broadcast_to(np.float32(0), (2000, 2048, 2048))
    with pytest.raises(FilterError, match=r"2000 × 2048 × 2048 needs [\d,]+ MB.*limit of 4,096 MB.*parts"):
        frangi_filter(huge, ndim=3, dtype=dtype)
    with pytest.raises(FilterError, match=r"MB.*frangi_filter"):
        HessianStack.compute(huge[:32, :512, :512], DEFAULT_SIGMAS, ndim=3, dtype=np.float32)


def test_refuses_the_formula_of_other_derivatives() -> None:
    stack = HessianStack.compute(np.eye(5), (1.0, 2.0))
    with pytest.raises(FilterError, match="call frangi_filter"):
        stack.respond(FrangiParams(sigmas=(1.0, 2.0), formula="skimage"))


def test_refuses_other_scales_than_the_stack_holds() -> None:
    stack = HessianStack.compute(np.eye(5), (1.0, 2.0))
    with pytest.raises(FilterError, match="compute a HessianStack"):
        stack.respond(FrangiParams(sigmas=(1.0, 3.0)))
