"""A volume's bytes, where its voxels lie in the patient, and the panel's actions without a browser."""

from __future__ import annotations

import dataclasses
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lesiondash.dashboard.panels.volume import VolumePanel
from lesiondash.dashboard.state import State
from lesiondash.errors import ScanError
from lesiondash.images.nifti import affine_of, nifti_of
from lesiondash.records import Box, Series, Source, Window


def series(count: int = 10, rows: int = 12, columns: int = 16, **changes: Any) -> Series:
    hu = np.arange(count * rows * columns, dtype=np.int16).reshape(count, rows, columns)
    positions = tuple(3.0 * at for at in range(count))
    return Series(**{**vars(Series("uid", "", "CT", hu, (3.0, 0.5, 0.7), positions)), **changes})


def placed(
    orientation: tuple[float, ...], first: tuple[float, float, float], step: tuple[float, float, float]
) -> Source:
    origins = tuple(tuple(a + k * b for a, b in zip(first, step, strict=True)) for k in range(10))
    return Source("1", "2", "3", "4", ("5",) * 10, (1,) * 10, orientation, origins)  # type: ignore[arg-type]


def test_bytes_are_nifti_1() -> None:
    scan = series()
    data = nifti_of(scan).data
    assert struct.unpack_from("<i", data, 0) == (348,)
    assert struct.unpack_from("<8h", data, 40) == (3, 16, 12, 10, 1, 1, 1, 1)
    assert struct.unpack_from("<2h", data, 70) == (4, 16)
    assert struct.unpack_from("<4f", data, 76) == pytest.approx((1, 0.7, 0.5, 3))
    assert struct.unpack_from("<3f", data, 108) == (352, 1, 0)
    assert struct.unpack_from("<2h", data, 252) == (0, 1)
    assert struct.unpack_from("<12f", data, 280) == pytest.approx((-0.7, 0, 0, 0, 0, -0.5, 0, 0, 0, 0, 3, 0))
    assert data[344:352] == b"n+1\0\0\0\0\0"
    np.testing.assert_array_equal(np.frombuffer(data, "<i2", offset=352).reshape(10, 12, 16), scan.hu)
    real = nifti_of(dataclasses.replace(scan, hu=scan.hu.astype(np.float32) / 2)).data
    assert struct.unpack_from("<2h", real, 70) == (16, 32)
    np.testing.assert_array_equal(np.frombuffer(real, "<f4", offset=352), scan.hu.ravel() / np.float32(2))


@pytest.mark.parametrize(
    ("orientation", "step", "axis"),
    [
        ((1, 0, 0, 0, 1, 0), (0, 0, 3), 2),
        ((1, 0, 0, 0, 1, 0), (0, 0, -3), 2),
        ((1, 0, 0, 0, 0, -1), (0, 3, 0), 1),
        ((0, 1, 0, 0, 0, -1), (3, 0, 0), 0),
        ((1, 0, 0, 0, 0.94, -0.34), (0, 0.2, 3), 2),
    ],
)
def test_voxels_lie_where_the_files_say(orientation: Any, step: Any, axis: int) -> None:
    first = (-100.0, -90.0, 50.0)
    scan = series(source=placed(orientation, first, step))
    x, y, k = 5, 7, 4
    lps = (
        np.array(first) + x * 0.7 * np.array(orientation[:3]) + y * 0.5 * np.array(orientation[3:]) + k * np.array(step)
    )
    nifti = nifti_of(scan)
    mm = (affine_of(scan) @ [x, y, k, 1])[:3]
    np.testing.assert_allclose(mm, lps * [-1, -1, 1])
    assert nifti.slice_at(mm) == k
    found, share = nifti.fraction_of_slice(k)
    toward_head_front_right = (np.array(step) * [-1, -1, 1])[axis] > 0
    assert (found, share) == (axis, pytest.approx(0.45 if toward_head_front_right else 0.55))


def test_large_volumes_are_averaged_and_stay_in_place() -> None:
    scan = series(count=9, rows=13, columns=17)
    small = nifti_of(scan, max_bytes=9 * 6 * 8 * 2)
    assert (small.factors, small.shape) == ((1, 2, 2), (9, 6, 8))
    voxels = np.frombuffer(small.data, "<i2", offset=352).reshape(small.shape)
    np.testing.assert_array_equal(voxels[3, 2, 4], np.rint(scan.hu[3, 4:6, 8:10].mean()))
    middle = affine_of(scan) @ [8.5, 4.5, 3, 1]
    np.testing.assert_allclose(small.affine @ [4, 2, 3, 1], middle)
    assert small.slice_at(middle[:3]) == 3
    with pytest.raises(ScanError, match="too large"):
        nifti_of(scan, max_bytes=10)


def test_few_slices_are_refused() -> None:
    with pytest.raises(ScanError, match="8 slices or more; this series has 3"):
        nifti_of(series(count=3))


@pytest.fixture
def panel() -> VolumePanel:
    scans = {each.uid: SimpleNamespace(series=each) for each in (series(), series(count=3, uid="few"))}
    return VolumePanel(State(), SimpleNamespace(scans=scans))


def test_panel_follows_slice_and_window(panel: VolumePanel) -> None:
    panel.state.show("uid", 4)
    panel.state.slice_index = 4
    assert panel.picture is None, "nothing is sent before somebody opens it"
    panel.act({"type": "toggle"})
    assert panel.bar.opened
    assert panel.picture is not None
    assert panel.bar.crosshair[2] == pytest.approx(0.45)
    panel.state.slice_index = 9
    assert panel.picture.scene.crosshair_pos[2] == pytest.approx(0.95)
    panel.state.window = Window(-600, 1500)
    assert (panel.picture.volumes[0].cal_min, panel.picture.volumes[0].cal_max) == (-1350, 150)
    panel.act({"type": "layout", "name": "coronal"})
    assert panel.picture.opts.slice_type.value == 1
    panel.act({"type": "toggle"})
    assert panel.picture is None
    assert panel.widget.children == (panel.bar,)


def test_crosshair_names_its_slice(panel: VolumePanel) -> None:
    panel.state.show("uid", 4, Box(1, 1, 3, 3))
    panel.act({"type": "toggle"})
    panel.act({"type": "crosshair", "at": [0.5, 0.5, 0.78]})
    panel.act({"type": "slice"})
    assert panel.state.focus is not None
    assert panel.state.focus.slice_index == 7
    panel._on_location({"mm": [0.0, 0.0, 6.1, 1.0], "frac": [0.5, 0.5, 0.25]})
    assert panel.crosshair_slice() == 2


def test_few_slices_close_the_picture_and_say_why(panel: VolumePanel) -> None:
    panel.state.show("uid", 4)
    panel.act({"type": "toggle"})
    panel.state.show("few", 0)
    assert not panel.bar.opened
    assert not panel.bar.ready
    assert "3 of the 8 slices" in panel.bar.status
    panel.act({"type": "itk"})
    assert panel.state.notice is not None


def test_moments_in_time_are_no_volume(panel: VolumePanel) -> None:
    run = dataclasses.replace(panel.store.scans["uid"].series, uid="run", frame_rate_hz=25.0)
    panel.store.scans["run"] = SimpleNamespace(series=run)
    panel.state.show("run", 0)
    assert not panel.bar.ready
    assert "moments in time" in panel.bar.status
