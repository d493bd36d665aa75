"""Bit parity with the installed scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scenes import scene, scene_3d

from lesiondash.errors import FilterError
from lesiondash.frangi.parity import skimage_frangi
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import FrangiParams

SIGMAS = (1.0, 2.2, 4.0, 9.0)


def parameters(**changes: Any) -> FrangiParams:
    return FrangiParams(**{"sigmas": SIGMAS, "formula": "skimage", **changes})


@pytest.mark.parametrize("gamma", [0.0444, "auto"])
@pytest.mark.parametrize("polarity", ["bright", "dark"])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_equals_scikit_image(ndim: int, polarity: Any, gamma: Any, dtype: Any, tolerance: float) -> None:
    frangi = pytest.importorskip("skimage.filters").frangi
    image = (scene(0, (48, 60)) if ndim == 2 else scene_3d(0, (9, 20, 17))).astype(dtype)
    found = frangi_filter(image, parameters(gamma=gamma, polarity=polarity), ndim=ndim, dtype=dtype)
    expected = frangi(
        image, SIGMAS, alpha=1, beta=0.6, gamma=None if gamma == "auto" else gamma, black_ridges=polarity == "dark"
    )
    assert found.response.dtype == expected.dtype == dtype
    assert np.abs(found.response - expected).max() <= tolerance
    assert expected.max() > 0.02


def test_order_of_scales_matters_there() -> None:
    image = scene()
    forth = frangi_filter(image, parameters(gamma="auto")).response
    back = frangi_filter(image, parameters(gamma="auto", sigmas=SIGMAS[::-1])).response
    assert np.abs(forth - back).max() > 0.1


def test_its_border_is_what_the_default_corrects() -> None:
    image = scene(5)
    sigma, pad = 9.0, 80
    wide = np.pad(image, pad, mode="symmetric")
    theirs = [frangi_filter(each, parameters(sigmas=(sigma,), gamma=0.0444 / 81)).response for each in (image, wide)]
    wrong = np.abs(theirs[0] - theirs[1][pad:-pad, pad:-pad])
    assert (wrong > 0.05).mean() > 0.02
    ours = [frangi_filter(each, FrangiParams(sigmas=(sigma,))).response for each in (image, wide)]
    same = np.abs(ours[0] - ours[1][pad:-pad, pad:-pad])
    assert np.quantile(same, 0.995) < 1e-9


def test_batch_both_and_per_scale() -> None:
    images = np.stack([scene(1), scene(2)])
    bright, dark, both = (
        frangi_filter(images, parameters(polarity=name), per_scale=True) for name in ("bright", "dark", "both")
    )
    assert np.array_equal(both.response, np.maximum(bright.response, dark.response))
    assert both.responses is not None
    assert both.responses.shape == (4, *images.shape)
    assert np.array_equal(both.responses.argmax(axis=0), both.scale_index)
    assert np.array_equal(bright.response[1], frangi_filter(images[1], parameters()).response)


def test_constant_image() -> None:
    assert not frangi_filter(np.full((20, 30), 0.4), parameters()).response.any()


def test_refuses_what_scikit_image_cannot() -> None:
    with pytest.raises(FilterError, match="spacing"):
        frangi_filter(scene(), parameters(), spacing_mm=(1, 1))
    with pytest.raises(FilterError, match="nan"):
        frangi_filter(scene() * np.nan, parameters())
    with pytest.raises(FilterError, match="1024 pixels"):
        frangi_filter(np.zeros((4, 2000)), parameters())


def test_refuses_parameters_outside_their_domain() -> None:
    for wrong in ({"beta": -1.0}, {"polarity": "grey"}, {"sigmas": (0.0,)}):
        with pytest.raises(FilterError):
            skimage_frangi(scene(), parameters(**wrong))
