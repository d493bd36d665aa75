from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesiondash.learning.figures import SHOWN, draw_views


@pytest.mark.parametrize(("lesions", "sides", "patches"), [(16, 2, 32), (10, 2, 10), (2, 2, 0), (16, 1, 0)])
def test_both_views_of_a_lesion_stand_in_one_column(lesions: int, sides: int, patches: int, tmp_path: Path) -> None:
    levels = np.concatenate([np.arange(lesions)] * sides + [np.full(patches, 255)]) / 255
    views = np.broadcast_to(levels[:, None, None, None], (len(levels), 3, 64, 64)).astype(np.float32)
    draw_views(views, lesions, tmp_path / "views.png")
    picture = np.asarray(Image.open(tmp_path / "views.png"))
    count = min(SHOWN, lesions)
    assert picture.shape == (64 * sides, 64 * count)
    np.testing.assert_allclose(picture[::64, ::64], [list(range(count))] * sides, atol=1)
