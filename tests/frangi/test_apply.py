"""The filter on a whole collection: what is kept is what filtering gives, with its setting, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesiondash.errors import FilterError
from lesiondash.frangi.apply import apply_to_crops, kept_or_applied, open_filtered
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
    again = open_filtered(tmp_path, CROPS, IDS, PARAMS, WINDOW)
    assert again is not None
    np.testing.assert_array_equal(again.responses, filtered.responses)
    assert (again.params, again.window, again.lesion_ids) == (PARAMS, WINDOW, IDS)


def test_another_setting_window_or_collection_is_another_file(tmp_path: Path) -> None:
    filtered = apply_to_crops(CROPS, IDS, PARAMS, WINDOW)
    assert filtered is not None
    filtered.save(tmp_path)
    assert open_filtered(tmp_path, CROPS, IDS, replace(PARAMS, beta=0.3), WINDOW) is None
    assert open_filtered(tmp_path, CROPS, IDS, PARAMS, Window(40, 401)) is None
    assert open_filtered(tmp_path, CROPS, IDS[:-1], PARAMS, WINDOW) is None


def test_what_an_encoder_is_to_see_is_kept_with_them(tmp_path: Path) -> None:
    for mode in ("replace", "channel"):
        kept, before = kept_or_applied(tmp_path, CROPS, IDS, PARAMS, WINDOW, mode)  # type: ignore[arg-type]
        assert kept is not None
        assert not before
        again, before = kept_or_applied(tmp_path, CROPS, IDS, PARAMS, WINDOW, mode)  # type: ignore[arg-type]
        assert again is not None
        assert before
        assert again.mode == mode
    assert len(list(tmp_path.iterdir())) == 2


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
    beside = apply_to_crops(CROPS, IDS, PARAMS, WINDOW, mode="channel")
    assert beside is not None
    np.testing.assert_array_equal(beside.as_input(images), both)
    assert filtered.as_input(images).shape == (150, 1, 24, 24)
    with pytest.raises(FilterError, match="replace or channel"):
        apply_to_crops(CROPS, IDS, PARAMS, WINDOW, mode="both")  # type: ignore[arg-type]
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
        open_filtered(tmp_path, CROPS, IDS, PARAMS, WINDOW)
    other = replace(PARAMS, beta=0.3)
    replace(filtered, params=other).path(tmp_path).write_bytes(whole)
    with pytest.raises(FilterError, match="another setting"):
        open_filtered(tmp_path, CROPS, IDS, other, WINDOW)
    with pytest.raises(FilterError, match="ids"):
        apply_to_crops(CROPS, IDS[:3], PARAMS, WINDOW)


def test_other_crops_of_the_same_lesions_are_filtered_anew(tmp_path: Path) -> None:
    _, before = kept_or_applied(tmp_path, CROPS, IDS, PARAMS, WINDOW)
    assert not before
    assert kept_or_applied(tmp_path, CROPS, IDS, PARAMS, WINDOW)[1]
    other = CROPS.copy()
    other[-1, 3, 4] += 50
    for crops in (other, CROPS[:, :20], CROPS.astype(np.float32)):
        filtered, before = kept_or_applied(tmp_path, crops, IDS, PARAMS, WINDOW)
        assert not before
        assert filtered is not None
        assert filtered.responses.shape == crops.shape


def test_responses_of_another_form_are_damage(tmp_path: Path) -> None:
    filtered = apply_to_crops(CROPS, IDS, PARAMS, WINDOW)
    assert filtered is not None
    for wrong in (filtered.responses[:, :20], filtered.responses.astype(np.float32)):
        replace(filtered, responses=np.ascontiguousarray(wrong)).save(tmp_path)
        with pytest.raises(FilterError, match="delete it"):
            open_filtered(tmp_path, CROPS, IDS, PARAMS, WINDOW)


def test_refuses_crops_and_parameters_before_it_filters() -> None:
    with pytest.raises(FilterError, match=r"\(150, 24\)"):
        apply_to_crops(CROPS[:, 0], IDS, PARAMS, WINDOW)
    with pytest.raises(FilterError, match="alpha"):
        apply_to_crops(CROPS[:0], (), replace(PARAMS, alpha=-1), WINDOW)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    filtered = apply_to_crops(CROPS[:2], IDS[:2], PARAMS, WINDOW)
    assert filtered is not None
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(FilterError, match="could not be written"):
            filtered.save(folder)
