"""Settings suggested from a box: scales that hold the lesion's best one, and a γ that follows its contrast."""

from __future__ import annotations

import numpy as np
import pytest

from lesiondash.errors import FilterError
from lesiondash.frangi.estimate import HALF_RESPONSE, LIMITS, _middle, estimate
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import FrangiParams


def disc(radius: float, contrast: float = 0.5) -> np.ndarray:
    y, x = np.mgrid[:64, :64] - 31.5
    return contrast * np.clip(radius - np.hypot(y, x) + 0.5, 0, 1)


@pytest.mark.parametrize("radius", [3.0, 6.0, 12.0])
def test_the_sweep_holds_the_best_scale_of_a_disc(radius: float) -> None:
    params = estimate(disc(radius), (2 * radius, 2 * radius))
    assert params.sigmas[0] < radius / np.sqrt(2) < params.sigmas[-1]
    assert len(params.sigmas) <= 41


def test_gamma_follows_the_contrast() -> None:
    weak, strong = (estimate(disc(6, contrast), (12, 12)).gamma for contrast in (0.1, 0.5))
    assert float(strong) == pytest.approx(5 * float(weak), rel=0.1)


def test_the_lesion_stands_out_with_the_suggestion() -> None:
    """Against noise of a fifth of its contrast, the lesion's inside answers more than what is round it."""
    image = disc(6, 0.3) + np.random.default_rng(0).normal(0, 0.06, (64, 64))
    response = frangi_filter(image, estimate(image, (12, 12))).response
    assert response[26:38, 26:38].mean() > 1.5 * response[:12].mean()


def test_other_parameters_are_kept() -> None:
    params = estimate(disc(5), (10, 14), FrangiParams(alpha=0.4, beta=0.9, polarity="both"))
    assert (params.alpha, params.beta, params.polarity) == (0.4, 0.9, "both")


@pytest.mark.parametrize("size", [(0, 3), (4, -1), (float("nan"), 3), (float("inf"), 3), ("4", 3), (4,), (None, 3)])
def test_sizes_must_be_sizes(size: tuple[float, float]) -> None:
    with pytest.raises(FilterError, match="size"):
        estimate(disc(4), size)


def test_gamma_is_of_the_lesions_own_pixels() -> None:
    assert [_middle(64, size) for size in (10, 1, 0.3, 200)] == [
        slice(27, 37),
        slice(32, 33),
        slice(32, 33),
        slice(0, 64),
    ]
    stack_of = estimate(disc(5), (10, 14))
    stack = HessianStack.compute(disc(5), stack_of.sigmas, dtype=np.float32)
    norm = np.hypot(stack.small, stack.big).max(axis=0)[27:37, 25:39]
    assert stack_of.gamma == float(f"{np.median(norm) / HALF_RESPONSE:.2g}")


def test_scales_stay_within_their_limits() -> None:
    for size in (0.5, 9, 60, 1000):
        sigmas = estimate(disc(5), (size, size)).sigmas
        assert LIMITS[0] <= sigmas[0] <= LIMITS[1] / 2
        assert sigmas[-1] <= LIMITS[1]


def test_a_batch_is_refused() -> None:
    with pytest.raises(FilterError, match="one slice"):
        estimate(np.stack([disc(4), disc(5)]), (9, 9))


def test_a_flat_box_is_said() -> None:
    with pytest.raises(FilterError, match="flat"):
        estimate(np.zeros((64, 64)), (9, 9))
