"""What the filter accepts, and the sentence that each refusal says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lesiondash.errors import FilterError
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.inputs import checked_image, is_number
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import FrangiParams


def test_masked_pixels_are_not_filtered_as_if_they_were_not() -> None:
    image = np.ma.array(np.eye(8), mask=False)
    assert checked_image(image, np.float32).shape == (1, 8, 8)
    image[2, 3] = np.ma.masked
    with pytest.raises(FilterError, match="masked"):
        frangi_filter(image)


@pytest.mark.parametrize(("factor", "dtype"), [(1e20, np.float32), (1e200, np.float64), (3e38, np.float32)])
@pytest.mark.parametrize("gamma", [0.0444, "auto"])
def test_refuses_a_range_whose_squares_overflow(factor: float, dtype: Any, gamma: Any) -> None:
    image = factor * (np.eye(9) - np.eye(9)[::-1])
    with pytest.raises(FilterError, match="span"):
        frangi_filter(image, FrangiParams(sigmas=(1.0,), gamma=gamma), dtype=dtype)


def test_the_largest_range_is_filtered() -> None:
    for dtype in (np.float32, np.float64):
        found = frangi_filter(1e15 * np.eye(9), FrangiParams(sigmas=(1.0,), gamma="auto"), dtype=dtype).response
        wanted = frangi_filter(np.eye(9), FrangiParams(sigmas=(1.0,), gamma="auto")).response
        assert found == pytest.approx(wanted, abs=1e-5)


def test_refuses_tensors_that_numpy_cannot_read() -> None:
    torch = pytest.importorskip("torch")
    for tensor in (torch.eye(9, requires_grad=True), torch.eye(9, dtype=torch.bfloat16)):
        with pytest.raises(FilterError, match="numpy array"):
            frangi_filter(tensor)


@pytest.mark.parametrize("dtype", ["junk", np.float16, int])
def test_refuses_other_dtypes(dtype: Any) -> None:
    with pytest.raises(FilterError, match="float32 or float64"):
        frangi_filter(np.eye(9), dtype=dtype)


@pytest.mark.parametrize("ndim", [1, 4, 2.0, "2", None, True, 10**400])
def test_refuses_other_numbers_of_axes(ndim: Any) -> None:
    for volume in (np.zeros((4, 5, 6)), [[[0.5]]]):
        with pytest.raises(FilterError, match="ndim is"):
            frangi_filter(volume, ndim=ndim)
        with pytest.raises(FilterError, match="ndim is"):
            HessianStack.compute(volume, (1.0,), ndim=ndim, spacing_mm=(1, 1))


@pytest.mark.parametrize("sigmas", [("1", "2"), "12", (True,), [b"1"], ([1.0],), (1 + 0j,), (None,), 3.0])
def test_refuses_scales_that_are_no_numbers(sigmas: Any) -> None:
    with pytest.raises(FilterError, match="not numbers"):
        frangi_filter(np.eye(5), FrangiParams(sigmas=sigmas))
    with pytest.raises(FilterError, match="not numbers"):
        HessianStack.compute(np.eye(5), sigmas)
    with pytest.raises(FilterError, match="not numbers"):
        frangi_filter(np.eye(5), spacing_mm=sigmas)


@pytest.mark.parametrize("params", [None, {"alpha": 1.0}, "paper", 1.0])
def test_refuses_parameters_of_another_kind(params: Any) -> None:
    with pytest.raises(FilterError, match="give FrangiParams"):
        frangi_filter(np.eye(5), params)
    with pytest.raises(FilterError, match="give FrangiParams"):
        HessianStack.compute(np.eye(5), (1.0,)).respond(params)


STRANGE: dict[str, Any] = {
    "nothing": None,
    "text": "image",
    "objects": np.eye(5).astype(object),
    "complex": np.eye(5) + 0j,
    "dates": np.zeros((3, 3), "datetime64[D]"),
    "records": np.zeros((3, 3), [("a", "f4")]),
    "ragged": [[1.0, 2.0], [3.0]],
    "NaN": np.full((3, 3), np.nan),
    "infinite": np.array([[0.0, -np.inf]]),
    "empty": np.zeros((0, 5)),
    "one axis": np.zeros(5),
    "four axes": np.zeros((2, 2, 2, 2)),
    "beyond 64 bits": [[10**400, 1]],
    "widest integers": np.array([[2**63 - 1, -(2**63)]]),
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("formula", ["promotion", "skimage"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_that_cannot_be_filtered_are_refused(name: str, formula: Any, dtype: Any) -> None:
    with pytest.raises(FilterError, match="image"):
        frangi_filter(STRANGE[name], FrangiParams(sigmas=(1.0,), formula=formula), dtype=dtype)


@pytest.mark.parametrize("formula", ["promotion", "skimage"])
def test_how_an_image_lies_in_memory_does_not_matter(formula: Any) -> None:
    image, params = np.random.default_rng(0).random((20, 24)), FrangiParams(sigmas=(1.0, 2.0), formula=formula)
    wanted = frangi_filter(image, params).response
    locked = image.copy()
    locked.flags.writeable = False
    for same in (image.astype(">f8"), np.asfortranarray(image), image[::-1][::-1], locked, image.tolist()):
        assert np.array_equal(frangi_filter(same, params).response, wanted)
    assert np.array_equal(locked, image)
    grey = (image * 255).astype(np.uint8)
    for kind in (np.int64, ">i2", np.uint16):
        assert np.array_equal(frangi_filter(grey.astype(kind), params).response, frangi_filter(grey, params).response)
    black_or_white = frangi_filter(image > 0.5, params).response
    assert np.array_equal(black_or_white, frangi_filter((image > 0.5).astype(float), params).response)


def test_numbers_beyond_float64_are_no_numbers() -> None:
    assert is_number(np.float32(1e-3))
    assert is_number(3)
    for value in (10**400, True, np.nan, "1", None, np.ones(1)):
        assert not is_number(value)
    for name in ("alpha", "beta", "gamma", "rho"):
        with pytest.raises(FilterError, match=f"{name} is 1000"):
            frangi_filter(np.eye(9), FrangiParams(**{name: 10**400}))  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="not numbers") as caught:
        HessianStack.compute(np.eye(9), (10**400,))
    assert len(str(caught.value)) < 200
    with pytest.raises(FilterError, match="not numbers"):
        HessianStack.compute(np.eye(9), (1.0,), spacing_mm=(10**400, 1))
