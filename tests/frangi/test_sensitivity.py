"""Sensitivity maps: each cell is what filtering anew gives, over the same regions, and can be stopped at any step."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running import SHARED

from lesiondash.errors import FilterError
from lesiondash.frangi.response import frangi_filter
from lesiondash.frangi.sensitivity import Axis, sensitivity, with_value
from lesiondash.records import FrangiParams

RNG = np.random.default_rng(2)
Y, X = np.mgrid[:32, :32] - 15.5
INSIDE = np.repeat((np.hypot(Y, X) < 6)[None], 20, axis=0)
IMAGES = 0.5 * INSIDE + RNG.normal(0, 0.05, INSIDE.shape)
PARAMS = FrangiParams(sigmas=(1.0, 2.0, 3.0, 4.0))
GAMMA, SIGMA = Axis("gamma", (0.01, 0.1, 0.5)), Axis("sigma_to", (2.0, 4.0))


def contrast(response: np.ndarray, inside: np.ndarray) -> float:
    within, beyond = response[inside].mean(), response[~inside].mean()
    return float((within - beyond) / (within + beyond))


def test_cells_are_what_filtering_anew_gives() -> None:
    *_, whole = sensitivity(IMAGES, INSIDE, PARAMS, GAMMA, SIGMA)
    assert whole.mean.shape == whole.spread.shape == (3, 2)
    for r, gamma in enumerate(GAMMA.values):
        for c, last in enumerate(SIGMA.values):
            params = replace(PARAMS, gamma=gamma, sigmas=tuple(s for s in PARAMS.sigmas if s <= last))
            response = frangi_filter(IMAGES, params, dtype=np.float32).response
            each = [contrast(*pair) for pair in zip(response, INSIDE, strict=True)]
            assert whole.mean[r, c] == pytest.approx(np.mean(each), abs=1e-4)
            assert whole.spread[r, c] == pytest.approx(np.std(each), abs=1e-4)


def test_a_larger_noise_floor_raises_the_contrast_of_a_disc_in_noise() -> None:
    *_, whole = sensitivity(IMAGES, INSIDE, PARAMS, GAMMA, Axis("beta", (0.6,)))
    assert whole.mean[0, 0] < whole.mean[1, 0] < whole.mean[2, 0]


def test_every_step_counts_the_same_regions_in_each_cell() -> None:
    maps = list(sensitivity(IMAGES, INSIDE, PARAMS, GAMMA, SIGMA))
    assert [each.regions for each in maps] == [16, 20]
    first = next(sensitivity(IMAGES[:16], INSIDE[:16], PARAMS, GAMMA, SIGMA))
    np.testing.assert_array_equal(first.mean, maps[0].mean)
    assert np.isfinite(maps[0].mean).all()


def test_neighbours_do_not_change_where_nothing_changes() -> None:
    images = RNG.random((30, 16, 16))
    *_, whole = sensitivity(
        images, images > 0.5, PARAMS, Axis("gamma", (0.0444, 0.5)), Axis("rho", (1.0, 0.0)), "neighbours"
    )
    assert whole.mean[0, 0] == 0
    assert 0 < whole.mean[1, 1] <= 9


def test_neighbours_by_vectors_are_those_of_the_vectors() -> None:
    """Points on a circle; at γ = 0.5 every other one is turned by half of it, elsewhere nothing moves."""
    angles = np.linspace(0, 1, 40, endpoint=False) * 2 * np.pi
    asked = []

    def vectors(part: slice, params: FrangiParams) -> np.ndarray:
        asked.append(params)
        turned = angles + np.pi * (np.arange(40) % 2) * (params.gamma == 0.5)
        return np.stack([np.cos(turned), np.sin(turned)], axis=1)[part]

    params, images = replace(PARAMS, gamma=0.1), RNG.random((40, 16, 16))
    maps = list(sensitivity(images, images > 0.5, params, GAMMA, SIGMA, "neighbours", vectors=vectors))
    assert [each.regions for each in maps] == [16, 32, 40]
    assert {(each.gamma, each.sigmas[-1]) for each in asked} == {(g, s) for g in GAMMA.values for s in SIGMA.values}
    np.testing.assert_array_equal(maps[-1].mean[:2], 0)
    # Of the five pairs at one to five steps, those at an odd number of steps are gone: more than half of the nine.
    assert (maps[-1].mean[2] >= 4).all()


def test_the_map_knows_where_it_departs_from() -> None:
    at = Axis("gamma", (0.01, 0.0444)), Axis("sigma_to", (2.0, 4.0))
    assert next(sensitivity(IMAGES[:2], INSIDE[:2], PARAMS, *at)).present == (1, 1)
    assert next(sensitivity(IMAGES[:2], INSIDE[:2], PARAMS, GAMMA, SIGMA)).present is None


def test_the_formula_of_scikit_image_is_mapped_too() -> None:
    params = replace(PARAMS, formula="skimage", sigmas=(1.0, 2.0))
    *_, whole = sensitivity(IMAGES[:2], INSIDE[:2], params, Axis("gamma", (0.01, 0.1)), Axis("beta", (0.6,)))
    for row, gamma in enumerate((0.01, 0.1)):
        response = frangi_filter(IMAGES[:2], replace(params, gamma=gamma)).response
        each = [contrast(*pair) for pair in zip(response, INSIDE[:2], strict=True)]
        assert whole.mean[row, 0] == pytest.approx(np.mean(each), abs=1e-4)


def test_overlap_of_a_map_with_itself_is_one() -> None:
    blobs = np.exp(-(Y**2 + X**2) / 50)[None]
    params = replace(PARAMS, sigmas=(4.0,))
    response = frangi_filter(blobs, params, dtype=np.float32).response
    from skimage.filters import threshold_otsu

    mask = response > threshold_otsu(response)
    *_, whole = sensitivity(blobs, mask, params, Axis("beta", (0.6,)), Axis("rho", (1.0,)), "overlap")
    assert whole.mean[0, 0] == 1.0


def test_csv_and_png_hold_the_map() -> None:
    *_, whole = sensitivity(IMAGES, INSIDE, PARAMS, GAMMA, SIGMA)
    rows = list(csv.DictReader(io.StringIO(whole.to_csv())))
    assert [float(row["gamma"]) for row in rows] == [0.01, 0.01, 0.1, 0.1, 0.5, 0.5]
    np.testing.assert_array_equal([float(row["contrast_mean"]) for row in rows], whole.mean.ravel())
    assert {row["regions"] for row in rows} == {"20"}
    picture = np.asarray(Image.open(io.BytesIO(whole.to_png())))
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 6


def test_real_masks() -> None:
    """On a real DeepLesion sub-volume the response inside the lesion is not that outside, and depends on γ."""
    path = next((SHARED / "deeplesion" / "npz_masks").glob("*.npz"), None)
    if path is None:
        pytest.skip("the real masks are not here")
    with np.load(path) as file:
        volume, masks = file["imgs"] / 255, file["gts"] > 0
    k = int(masks.sum(axis=(1, 2)).argmax())
    y, x = (int(v.mean()) for v in np.nonzero(masks[k]))
    part = (slice(max(y - 32, 0), max(y - 32, 0) + 64), slice(max(x - 32, 0), max(x - 32, 0) + 64))
    *_, whole = sensitivity(
        volume[k][part][None], masks[k][part][None], PARAMS, Axis("gamma", (0.02, 0.3)), Axis("beta", (0.6,))
    )
    assert whole.mean[0, 0] != whole.mean[1, 0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(FilterError, match="both be"):
        sensitivity(IMAGES, INSIDE[:3], PARAMS, GAMMA, SIGMA)
    with pytest.raises(FilterError, match="no outcome"):
        sensitivity(IMAGES, INSIDE, PARAMS, GAMMA, SIGMA, "luck")
    with pytest.raises(FilterError, match="no nine"):
        sensitivity(IMAGES[:5], INSIDE[:5], PARAMS, GAMMA, SIGMA, "neighbours")
    with pytest.raises(FilterError, match="no value of gamma"):
        sensitivity(IMAGES, INSIDE, PARAMS, Axis("gamma", ()), SIGMA)
    with pytest.raises(FilterError, match="nan"):
        sensitivity(IMAGES * np.nan, INSIDE, PARAMS, GAMMA, SIGMA)
    with pytest.raises(FilterError, match="polarity"):
        sensitivity(IMAGES, INSIDE, replace(PARAMS, polarity="grey"), GAMMA, SIGMA)  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="Both parameters are gamma"):
        sensitivity(IMAGES, INSIDE, PARAMS, GAMMA, GAMMA)
    with pytest.raises(FilterError, match="region 2 is empty"):
        sensitivity(IMAGES, INSIDE * (np.arange(20) != 2)[:, None, None], PARAMS, GAMMA, SIGMA)
    with pytest.raises(FilterError, match="give FrangiParams"):
        sensitivity(IMAGES, INSIDE, None, GAMMA, SIGMA)  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="vary"):
        with_value(PARAMS, "delta", 1)
    with pytest.raises(FilterError, match="gamma"):
        with_value(PARAMS, "gamma", -1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_masks_of_numbers_are_masks(dtype: Any) -> None:
    wanted, found = (
        list(sensitivity(IMAGES, mask, PARAMS, GAMMA, Axis("beta", (0.6,)))) for mask in (INSIDE, INSIDE.astype(dtype))
    )
    np.testing.assert_array_equal(found[-1].mean, wanted[-1].mean)


def test_only_a_sweep_has_an_end_to_move() -> None:
    assert with_value(PARAMS, "sigma_to", 6).sigmas == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert with_value(replace(PARAMS, sigmas=(1.0, 2.0)), "sigma_from", 0.5).sigmas == (0.5, 1.5)
    for sigmas in ((1.0, 2.0, 4.0, 8.0), (4.0,), (3.0, 2.0, 1.0)):
        with pytest.raises(FilterError, match="no sweep of equal steps"):
            with_value(replace(PARAMS, sigmas=sigmas), "sigma_to", 3.0)


def test_a_small_gamma_is_computed_in_float64() -> None:
    images = 0.5 + 1e-3 * RNG.random((2, 16, 16))
    axis = Axis("gamma", (2e-8, 0.1))
    *_, whole = sensitivity(images, INSIDE[:2, 8:24, 8:24], PARAMS, axis, Axis("beta", (0.6,)))
    response = frangi_filter(images.astype(np.float32), replace(PARAMS, gamma=2e-8)).response
    each = [contrast(*pair) for pair in zip(response, INSIDE[:2, 8:24, 8:24], strict=True)]
    assert whole.mean[0, 0] == pytest.approx(np.mean(each), abs=1e-9)
