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
