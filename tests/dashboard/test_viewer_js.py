"""The viewer's geometry and its memory of marks, run by node where there is one."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from lesiondash.dashboard.widgets import viewer

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed; the browser tests cover the viewer")
SPACING = [5.0, 0.6, 1.1]


def run(expression: str, *, before: str = "", part: str = "geometry") -> Any:
    code = (viewer.HERE / f"{part}.js").read_text(encoding="utf-8")
    script = f"{before}\n{code}\nconsole.log(JSON.stringify({expression}));"
    done = subprocess.run([str(NODE), "-e", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_mm(points: list[list[float]]) -> np.ndarray:
    return np.array(points) * [SPACING[2], SPACING[1]]


def test_axes_stand_at_right_angles_in_mm_though_pixels_are_not_square() -> None:
    a, b, c, d = in_mm(run(f"drawnRecist([10, 20], [40, 33], {SPACING})"))
    assert np.dot(b - a, d - c) == pytest.approx(0, abs=1e-9)
    assert np.linalg.norm(d - c) == pytest.approx(np.linalg.norm(b - a) / 2)
    assert (c + d) / 2 == pytest.approx((a + b) / 2)


@pytest.mark.parametrize("handle", [0, 1, 2, 3])
def test_dragging_any_end_keeps_the_right_angle(handle: int) -> None:
    mark = f"{{kind: 'recist', points: drawnRecist([10, 20], [40, 33], {SPACING})}}"
    points = run(f"movedPoint({mark}, {handle}, [25, 9], {SPACING})")
    a, b, c, d = in_mm(points)
    assert np.dot(b - a, d - c) == pytest.approx(0, abs=1e-9)
    if handle < 2:
        assert points[handle] == pytest.approx([25, 9])
    else:  # the end goes where the pointer is: its foot slides along the long axis
        assert in_mm(points)[handle] == pytest.approx(in_mm([[25, 9]])[0])


@pytest.mark.parametrize("to", [[1, 2], [29, 1], [2, 23], [29.5, 12]])
def test_at_the_image_border_the_axes_stay_at_right_angles(to: list[float]) -> None:
    size = [30, 24]
    mark = f"{{kind: 'recist', points: drawnRecist([15, 12], {to}, {SPACING})}}"
    points = run(f"markWithin({mark}, {size}, {SPACING})")
    a, b, c, d = in_mm(points)
    assert points[:2] == [[15, 12], to]
    assert np.dot(b - a, d - c) == pytest.approx(0, abs=1e-9)
    assert np.all((np.array(points) >= -1e-9) & (np.array(points) <= np.array(size) + 1e-9))
    assert np.linalg.norm(d - c) > 1


def test_length_and_area_are_in_mm() -> None:
    assert run(f"lengthMm([0, 0], [3, 4], {SPACING})") == pytest.approx(np.hypot(3 * 1.1, 4 * 0.6))
    mark = "{kind: 'KIND', points: [[2, 3], [12, 23]]}"
    assert run(f"areaMm2({mark.replace('KIND', 'box')}, {SPACING})") == pytest.approx(10 * 1.1 * 20 * 0.6)
    assert run(f"areaMm2({mark.replace('KIND', 'ellipse')}, {SPACING})") == pytest.approx(np.pi / 4 * 11 * 12)


def test_statistics_are_those_of_the_pixels_within() -> None:
    values = np.random.default_rng(0).integers(-1000, 1000, (24, 30))
    mark = "{kind: 'ellipse', points: [[21.5, 18], [4, 3.5]]}"
    found = run(f"statistics({mark}, {values.ravel().tolist()}, 30, 24)")
    y, x = np.mgrid[:24, :30] + 0.5
    inside = values[((x - 12.75) / 8.75) ** 2 + ((y - 10.75) / 7.25) ** 2 <= 1]
    assert found["count"] == inside.size
    assert (found["mean"], found["deviation"]) == pytest.approx((inside.mean(), inside.std()))
    assert (found["low"], found["high"]) == (inside.min(), inside.max())
    assert run(f"statistics({{kind: 'box', points: [[-9, -9], [-2, -2]]}}, {values.ravel().tolist()}, 30, 24)") is None


@pytest.mark.parametrize(
    ("direction", "letter"),
    [
        ([1, 0, 0], "L"),
        ([-1, 0, 0], "R"),
        ([0, 0.9, 0.1], "P"),
        ([0.2, -0.9, 0], "A"),
        ([0, 0, 1], "H"),
        ([0, 0.3, -0.9], "F"),
    ],
)
def test_letters_of_directions(direction: list[float], letter: str) -> None:
    assert run(f"letterOf({direction})") == letter


PAGE = """
const shelf = {};
globalThis.localStorage = {
  setItem: (k, v) => { shelf[k] = v; }, getItem: (k) => shelf[k] ?? null, removeItem: (k) => { delete shelf[k]; },
};
const mark = (id, x) => ({ id, kind: 'text', slice: 0, points: [[x, 0]], label: '', note: '' });
function open(items) {
  const sent = [], annotations = { uid: 'u', by: 'kernel', items };
  const model = { annotations, get: (name) => model[name], send: (message) => sent.push(message) };
  const marks = makeMarks(model, () => {});
  marks.take();
  const answer = (by, items, revision) => { model.annotations = { uid: 'u', by, revision, items }; marks.take(); };
  return { marks, sent, answer };
}
"""
"""A browser's shelf, and a kernel that says what it is told to."""


def test_what_a_dead_kernel_never_kept_is_told_to_the_next() -> None:
    """One mark moved, one deleted, one drawn; then the page is opened anew, by a kernel that knows none of it."""
    found = run(
        """(() => {
          const old = [mark('moved', 1), mark('gone', 2)], first = open(old);
          first.marks.change('moved', { points: [[9, 0]] });
          first.marks.remove('gone');
          first.marks.add({ kind: 'text', slice: 0, points: [[5, 0]] });
          const second = open([...old, mark('elsewhere', 7)]);
          return [second.marks.items.map((item) => item.points[0][0]), second.sent.length];
        })()""",
        before=PAGE,
        part="marks",
    )
    assert found == [[9, 5, 7], 1]


def test_what_was_acknowledged_is_the_kernels_to_say() -> None:
    found = run(
        """(() => {
          const first = open([mark('a', 1)]);
          first.marks.change('a', { points: [[2, 0]] });
          const { view, revision, items } = first.sent[0];
          first.answer(view, items, revision);
          const second = open([mark('a', 3)]);
          return [second.marks.items[0].points[0][0], second.sent.length, Object.keys(shelf).length];
        })()""",
        before=PAGE,
        part="marks",
    )
    assert found == [3, 0, 0]


def test_an_old_answer_or_another_views_change_undoes_nothing() -> None:
    found = run(
        """(() => {
          const first = open([]);
          first.marks.add({ kind: 'text', slice: 0, points: [[1, 0]] });
          first.marks.add({ kind: 'text', slice: 0, points: [[2, 0]] });
          first.answer(first.sent[0].view, first.sent[0].items, 1);
          const kept = first.marks.items.length, shelved = Object.keys(shelf).length;
          first.answer('another view', [...first.marks.items, mark('theirs', 3)], 1);
          const followed = first.marks.items.length;
          first.marks.undo();
          return [kept, shelved, followed, first.marks.items.length];
        })()""",
        before=PAGE,
        part="marks",
    )
    assert found == [2, 1, 3, 2]


def series(count: int, step: float, spacing: list[float], size: list[int], start: float = 0.0) -> str:
    positions = [start + step * i for i in range(count)]
    described = {"count": count, "positions_mm": positions, "spacing_mm": spacing, "width": size[0], "height": size[1]}
    return json.dumps(described)


def test_a_run_counts_frames_and_seconds() -> None:
    assert run(f"placeText({series(9, 2.5, [2.5, 1, 1], [9, 9], start=-5)}, 3)") == "slice 4 / 9 · z 2.5 mm"
    assert run("placeText({count: 137, positions_mm: [0, 1, 2], frame_rate_hz: 25}, 2)") == "frame 3 / 137 · 0.08 s"


def test_nearest_slice_is_nearest_in_mm() -> None:
    thin = series(40, 1.25, [1.25, 1, 1], [9, 9], start=-20)
    assert run(f"[-99, -17.4, 0, 99].map((z) => nearestSlice({thin}, z))") == [0, 2, 16, 39]
    unplaced = json.dumps({"count": 5, "positions_mm": [], "spacing_mm": [2, 1, 1]})
    assert run(f"nearestSlice({unplaced}, 5.2)") == 3


def test_second_slice_lies_at_the_first_ones_scale_in_mm() -> None:
    first, second = series(1, 1, [1, 0.8, 0.5], [400, 300]), series(1, 1, [1, 1.2, 0.9], [256, 200])
    frame, canvas, other = "{sx: 1.5, sy: 2.4, x: -40, y: 25}", "{width: 600, height: 500}", "{width: 300, height: 250}"
    f = run(f"frameInMm({frame}, {first}, {canvas}, {second}, {other}, [7, -3])")
    per_mm = 1.5 / 0.5 / 2  # the second canvas is half as wide
    assert (f["sx"] / 0.9, f["sy"] / 1.2) == pytest.approx((per_mm, per_mm))
    # what is in the middle of the first canvas, 7 and -3 mm further, is in the middle of the second
    middle_mm = np.array([(300 + 40) / 1.5 - 200, (250 - 25) / 2.4 - 150]) * [0.5, 0.8] + [7, -3]
    found_mm = np.array([(150 - f["x"]) / f["sx"] - 128, (125 - f["y"]) / f["sy"] - 100]) * [0.9, 1.2]
    assert found_mm == pytest.approx(middle_mm)
