"""Pictures of the lessons: what an array holds is what the PNG shows."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from lesiondash.dashboard.pictures import pictures


def test_each_array_is_a_captioned_picture() -> None:
    ramp = np.tile(np.linspace(0, 1, 110), (55, 1))
    row = pictures({"ramp <b>": ramp, "over": ramp * 3}, width_px=110)
    first, second = (box.children for box in row.children)
    assert "&lt;b&gt;" in first[1].value
    shown = np.asarray(Image.open(io.BytesIO(first[0].value)), float)
    assert shown.shape == (55, 110)
    np.testing.assert_allclose(shown, ramp * 255, atol=1)
    assert (np.asarray(Image.open(io.BytesIO(second[0].value)))[:, -60:] == 255).all()
