"""The filter on a whole collection: what is kept is what filtering gives, with its setting, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesiondash.errors import FilterError
from lesiondash.frangi.apply import apply_to_crops, filtered_path, open_filtered
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import FrangiParams, Window

CROPS = np.random.default_rng(1).integers(-300, 300, (150, 24, 24)).astype(np.int16)
IDS = tuple(f"{k:06d}_01_01_001#0" for k in range(len(CROPS)))
PARAMS, WINDOW = FrangiParams(sigmas=(1.0, 2.0), gamma=0.1), Window(40, 400)


def test_kept_responses_are_the_filters(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    filtered = apply_to_crops(CROPS, IDS, PARAMS, WINDOW, progress=lambda *step: seen.append(step))
    assert filtered is not None
    assert seen == [(128, 150), (150, 150)]
    wanted = frangi_filter(WINDOW.apply(CROPS), PARAMS).response
    np.testing.assert_allclose(filtered.responses.astype(float), wanted, atol=2e-3)
    path = filtered.save(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    again = open_filtered(tmp_path, PARAMS, WINDOW, IDS)
    assert again is not None
    np.testing.assert_array_equal(again.responses, filtered.responses)
    assert (again.params, again.window, again.lesion_ids) == (PARAMS, WINDOW, IDS)


def test_another_setting_window_or_collection_is_another_file(tmp_path: Path) -> None:
    filtered = apply_to_crops(CROPS, IDS, PARAMS, WINDOW)
    assert filtered is not None
    filtered.save(tmp_path)
    assert open_filtered(tmp_path, replace(PARAMS, beta=0.3), WINDOW, IDS) is None
    assert open_filtered(tmp_path, PARAMS, Window(40, 401), IDS) is None
    assert open_filtered(tmp_path, PARAMS, WINDOW, IDS[:-1]) is None


def test_stopping_keeps_nothing() -> None:
    asked: list[int] = []
    assert (
        apply_to_crops(CROPS, IDS, PARAMS, WINDOW, stop=lambda: len(asked) > 0 or asked.append(1) is not None) is None
    )


def test_replacement_and_extra_channel() -> None:
    filtered = apply_to_crops(CROPS, IDS, PARAMS, WINDOW)
    assert filtered is not None
    images = np.random.default_rng(0).random((150, 3, 24, 24))
    assert filtered.as_input(images, "replace").shape == (150, 1, 24, 24)
    both = filtered.as_input(images, "channel")
    np.testing.assert_allclose(both[:, :3], images, atol=1e-6)
    np.testing.assert_array_equal(both[:, 3], filtered.responses)
    with pytest.raises(FilterError, match="do not go"):
        filtered.as_input(images[:5], "channel")
    with pytest.raises(FilterError, match="replace or channel"):
        filtered.as_input(images, "beside")  # type: ignore[arg-type]


def test_damage_and_mix_ups_are_named(tmp_path: Path) -> None:
    filtered = apply_to_crops(CROPS, IDS, PARAMS, WINDOW)
    assert filtered is not None
    path = filtered.save(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FilterError, match=path.name):
        open_filtered(tmp_path, PARAMS, WINDOW, IDS)
    other = replace(PARAMS, beta=0.3)
    filtered_path(tmp_path, other, WINDOW, IDS).write_bytes(whole)
    with pytest.raises(FilterError, match="another setting"):
        open_filtered(tmp_path, other, WINDOW, IDS)
    with pytest.raises(FilterError, match="ids"):
        apply_to_crops(CROPS, IDS[:3], PARAMS, WINDOW)
