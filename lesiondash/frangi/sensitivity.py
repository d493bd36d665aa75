"""How an outcome of the filter moves with two of its parameters, over a set of regions."""

from __future__ import annotations

import csv
import io
import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.frangi.formulas import check_params, needed_dtype
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.inputs import checked_image
from lesiondash.frangi.presets import as_sweep, sweep
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import FloatArray, FrangiParams

OUTCOMES = {
    "contrast": "response inside the lesion against outside",
    "overlap": "overlap of strong response and mask",
    "neighbours": "how many of the nine nearest change",
}
PARAMETERS = ("beta", "gamma", "rho", "alpha", "sigma_from", "sigma_to")
VIRIDIS = ((71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99), (253, 231, 37))
Vectors = Callable[[slice, FrangiParams], FloatArray]
"""Some of the regions and a setting, to what a search compares them by there: (regions, dimensions), of length 1."""
CHUNK = 16
"""Regions at a time: their eigenvalues at 41 scales take 21 MB."""
NEAREST = 9
PATTERN_PX = 16


@dataclass(frozen=True)
class Axis:
    """A parameter and the values it takes."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class SensitivityMap:
    """An outcome over two parameters.

    mean, spread: (rows, columns), over the regions counted; spread is their standard deviation. params: the setting
    that both parameters depart from.
    """

    rows: Axis
    columns: Axis
    outcome: str
    mean: FloatArray
    spread: FloatArray
    regions: int
    params: FrangiParams

    @property
    def present(self) -> tuple[int, int] | None:
        """The row and column of the setting that the map departs from, None where no cell is that setting."""
        at = [
            next(
                (k for k, value in enumerate(axis.values) if with_value(self.params, axis.name, value) == self.params),
                -1,
            )
            for axis in (self.rows, self.columns)
        ]
        return None if min(at) < 0 else (at[0], at[1])

    def to_csv(self) -> str:
        """Return one line a cell: both parameters, mean, spread, and the number of regions."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([self.rows.name, self.columns.name, f"{self.outcome}_mean", f"{self.outcome}_sd", "regions"])
        for (r, row), (c, column) in (
            (a, b) for a in enumerate(self.rows.values) for b in enumerate(self.columns.values)
        ):
            writer.writerow([row, column, float(self.mean[r, c]), float(self.spread[r, c]), self.regions])
        return file.getvalue()

    def to_png(self) -> bytes:
        """Return the heat map as a PNG with its values written in its cells, the present setting framed."""
        from PIL import Image, ImageDraw

        cell, left, top = 64, 96, 76
        wide, high = cell * len(self.columns.values), cell * len(self.rows.values)
        image = Image.new("RGB", (max(left + wide, 420) + 12, top + high + 12), "white")
        draw = ImageDraw.Draw(image)
        draw.text((12, 10), f"{OUTCOMES[self.outcome]}, mean of {self.regions} regions", "black")
        draw.text((12, 28), f"{self.rows.name} downwards, {self.columns.name} to the right", "black")
        for c, value in enumerate(self.columns.values):
            draw.text((left + (c + 0.5) * cell, top - 12), f"{value:.3g}", "black", anchor="mm")
        for r, row in enumerate(self.rows.values):
            draw.text((left - 10, top + (r + 0.5) * cell), f"{row:.3g}", "black", anchor="rm")
            for c in range(len(self.columns.values)):
                x, y, shade = left + c * cell, top + r * cell, self._shade(r, c)
                frame = "black" if (r, c) == self.present else None
                draw.rectangle([x, y, x + cell - 4, y + cell - 4], fill=shade, outline=frame, width=3)
                ink = "white" if 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] < 130 else "black"
                draw.text((x + cell / 2 - 2, y + cell / 2 - 2), f"{self.mean[r, c]:.2f}", ink, anchor="mm")
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    def _shade(self, row: int, column: int) -> tuple[int, ...]:
        """Return a cell's colour: the lowest mean is the darkest."""
        share = (float(self.mean[row, column]) - float(self.mean.min())) / (float(np.ptp(self.mean)) or 1.0)
        stops = np.array(VIRIDIS, np.float64)
        at = np.arange(len(stops)) / (len(stops) - 1)
        return tuple(round(float(np.interp(share, at, stops[:, channel]))) for channel in range(3))


def sensitivity(
    images: npt.ArrayLike,
    inside: npt.ArrayLike,
    params: FrangiParams,
    rows: Axis,
    columns: Axis,
    outcome: str = "contrast",
    *,
    vectors: Vectors | None = None,
) -> Iterator[SensitivityMap]:
    """Return maps over the first regions, then over more, and last over all: stop by asking for no more.

    images: (n, h, w) in [0, 1]; inside: (n, h, w), the lesion's mask or box, other than 0; params: the setting that
    both parameters depart from. Every map counts the same regions in each of its cells. Outcomes: "contrast", (mean
    response inside − outside) / their sum; "overlap", Dice of the mask and the response above its Otsu threshold;
    "neighbours", how many of a region's nine nearest among the others, by cosine, differ from those at params: of the
    vectors that `vectors` returns, such as an encoder's that reads the filter, or of the responses on a 16 × 16 grid.
    Raises `FilterError` at once for an unknown parameter or outcome, an axis without values, arrays that cannot be
    filtered or do not fit each other, or a mask without a pixel where the outcome needs one.
    """
    check_params(params)
    checked_image(images, np.float32)
    pixels, masks = np.asarray(images, np.float32), np.asarray(inside, bool)
    if pixels.ndim != 3 or pixels.shape != masks.shape:
        raise FilterError(f"Images {pixels.shape} and masks {masks.shape} must both be (n, h, w).")
    if outcome not in OUTCOMES:
        raise FilterError(f"There is no outcome {outcome!r}; choose one of {', '.join(OUTCOMES)}.")
    if outcome == "neighbours" and len(pixels) <= NEAREST:
        raise FilterError(f"{len(pixels)} regions have no nine neighbours; take more than {NEAREST}.")
    if outcome != "neighbours" and not masks.any(axis=(1, 2)).all():
        empty = int(np.argmin(masks.any(axis=(1, 2))))
        raise FilterError(f"The mask of region {empty} is empty, so nothing is inside it; leave the region out.")
    if rows.name == columns.name:
        raise FilterError(f"Both parameters are {rows.name}; choose two that differ.")
    for axis in (rows, columns):
        if not axis.values:
            raise FilterError(f"There is no value of {axis.name} to vary; give at least one.")
    cells = [with_value(with_value(params, rows.name, r), columns.name, c) for r in rows.values for c in columns.values]
    seen = vectors if outcome == "neighbours" else None
    scores = (
        _scores(pixels, masks, [*cells, params], outcome)
        if seen is None
        else _seen(len(pixels), [*cells, params], seen)
    )
    return _maps(scores, params, rows, columns, outcome)


def _maps(
    scores: Iterator[list[list[Any]]], params: FrangiParams, rows: Axis, columns: Axis, outcome: str
) -> Iterator[SensitivityMap]:
    """Yield a map after each chunk of scores: of each cell's setting, and last of the one they depart from."""
    found: list[list[Any]] = []
    for chunk in scores:
        found = [[*before, *more] for before, more in zip(found or [[] for _ in chunk], chunk, strict=True)]
        count = len(found[0])
        if outcome == "neighbours" and count <= NEAREST:
            continue
        values = [_changed(each, found[-1]) for each in found[:-1]] if outcome == "neighbours" else found[:-1]
        table = np.asarray(values, np.float64).reshape(len(rows.values), len(columns.values), count)
        yield SensitivityMap(rows, columns, outcome, table.mean(axis=2), table.std(axis=2), count, params)


def _scores(
    pixels: FloatArray, masks: npt.NDArray[np.bool_], settings: Sequence[FrangiParams], outcome: str
) -> Iterator[list[list[Any]]]:
    """Yield, a chunk of regions at a time, each setting's scores of them."""
    for start in range(0, len(pixels), CHUNK):
        part = slice(start, start + CHUNK)
        found: list[list[Any]] = [[] for _ in settings]
        for place, response in _responses(pixels[part], settings):
            found[place] = [_score(each, mask, outcome) for each, mask in zip(response, masks[part], strict=True)]
        yield found


def _seen(count: int, settings: Sequence[FrangiParams], vectors: Vectors) -> Iterator[list[list[Any]]]:
    """Yield, a chunk of regions at a time, what a search compares them by at each setting."""
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        yield [list(vectors(part, each)) for each in settings]


def with_value(params: FrangiParams, name: str, value: float) -> FrangiParams:
    """Return the parameters with one of `PARAMETERS` changed; "sigma_from" and "sigma_to" move an end of the sweep.

    Raises `FilterError` for another name, a value outside its domain, or scales that are no sweep of equal steps.
    """
    if name not in PARAMETERS:
        raise FilterError(f"There is no parameter {name!r} to vary; choose one of {', '.join(PARAMETERS)}.")
    if not name.startswith("sigma"):
        changed = replace(params, **{name: value})  # type: ignore[arg-type]
        check_params(changed)
        return changed
    swept = as_sweep(params.sigmas)
    if swept is None:
        scales = reprlib.repr(params.sigmas)
        raise FilterError(f"The scales {scales} are no sweep of equal steps, so {name} has no end to move; take one.")
    first, last, step = swept
    return replace(params, sigmas=sweep(*((value, last) if name == "sigma_from" else (first, value)), step))


def _responses(pixels: FloatArray, settings: Sequence[FrangiParams]) -> Iterator[tuple[int, FloatArray]]:
    """Yield each setting's place and response; what depends on the scales alone is computed once."""
    if settings[0].formula == "skimage":  # it takes derivatives of its own
        for place, each in enumerate(settings):
            yield place, frangi_filter(pixels, each, dtype=np.float32).response
        return
    kinds = [(each.sigmas, needed_dtype(each, np.float32)) for each in settings]
    for kind in dict.fromkeys(kinds):
        stack = HessianStack.compute(pixels, kind[0], dtype=kind[1])
        for place, each in enumerate(settings):
            if kinds[place] == kind:
                yield place, stack.respond(each).response


def _score(response: FloatArray, mask: npt.NDArray[np.bool_], outcome: str) -> Any:
    if outcome == "contrast":
        within = float(response[mask].mean()) if mask.any() else 0.0
        beyond = float(response[~mask].mean()) if not mask.all() else 0.0
        return (within - beyond) / (within + beyond) if within + beyond > 0 else 0.0
    if outcome == "overlap":
        from skimage import filters

        otsu: Any = filters.threshold_otsu
        strong = response > (otsu(response) if np.ptp(response) > 0 else np.inf)
        total = int(strong.sum()) + int(mask.sum())
        return 2 * float((strong & mask).sum()) / total if total else 0.0
    edges = [np.linspace(0, side, PATTERN_PX + 1).astype(int)[:-1] for side in response.shape]
    pattern = np.add.reduceat(np.add.reduceat(response, edges[0], axis=0), edges[1], axis=1).ravel()
    return pattern / max(float(np.linalg.norm(pattern)), 1e-12)


def _changed(patterns: list[FloatArray], before: list[FloatArray]) -> npt.NDArray[np.float64]:
    """Return, for each region, how many of its nine nearest by pattern are others than before."""
    now, then = (_nearest(np.stack(each)) for each in (patterns, before))
    return np.array([NEAREST - len(set(a) & set(b)) for a, b in zip(now.tolist(), then.tolist(), strict=True)], float)


def _nearest(vectors: FloatArray) -> npt.NDArray[np.intp]:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :NEAREST]
