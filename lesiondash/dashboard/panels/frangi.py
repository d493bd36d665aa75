"""Frangi: the filter's response to the region, following the sliders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lesiondash.dashboard.state import Region, State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Tuner
from lesiondash.errors import FilterError
from lesiondash.frangi.hessian import HessianStack
from lesiondash.images.crops import CROP_PX, crop, crop_side_mm
from lesiondash.records import Box, FrangiParams

MAX_SCALES = 81


class FrangiPanel:
    """Keeps what depends on region and scales alone, so that a slider costs only the element-wise part."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self._stack: HessianStack | None = None
        self._stack_of: tuple[Any, ...] | None = None
        self._image = np.zeros((CROP_PX, CROP_PX), np.float32)
        self._px_mm = 1.0
        params = state.params
        self.widget = Tuner(
            self.respond,
            values={
                "alpha": params.alpha,
                "beta": params.beta,
                "gamma": params.gamma,
                "rho": params.rho,
                "polarity": params.polarity,
                "sigma_from": params.sigmas[0],
                "sigma_to": params.sigmas[-1],
                "sigma_step": 0.2,
            },
        )
        state.observe(self._refresh, ["region", "window", "slice_index", "focus"])

    @tells_errors
    def respond(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Filter the region with the sliders' values; returns a description and the pictures' bytes."""
        params = params_from(message)
        region = self._region()
        if region is None:
            return None
        self._prepare(region, params.sigmas)
        assert self._stack is not None
        result = self._stack.respond(params)
        self.state.params = params
        peak = float(result.response.max())
        scale = result.scale_index.astype(np.float32) / max(len(params.sigmas) - 1, 1)
        pictures = [
            self._image,
            result.response / max(peak, 1e-12),
            np.where(result.response > 0.02 * peak, scale, 0),
        ]
        return (
            {
                "size": CROP_PX,
                "peak": peak,
                "px_mm": self._px_mm,
                "scales": len(params.sigmas),
                "sigma_px": [params.sigmas[0], params.sigmas[-1]],
                "gamma_hu": float(params.gamma) * self.state.window.width_hu if params.gamma != "auto" else 0,
            },
            [(np.clip(picture, 0, 1) * 255).astype(np.uint8).tobytes() for picture in pictures],
        )

    def _region(self) -> Region | None:
        """The box, or the middle of the slice where none is drawn on it yet."""
        focus = self.state.focus
        if self.state.region is not None:
            return self.state.region
        if focus is None:
            return None
        series = self.store.scans[focus.series_uid].series
        height, width = series.hu.shape[1:]
        index = min(max(self.state.slice_index, 0), len(series) - 1)
        return Region(focus.series_uid, index, Box(width / 2 - 8, height / 2 - 8, width / 2 + 8, height / 2 + 8))

    def _prepare(self, region: Region, sigmas: tuple[float, ...]) -> None:
        key = (replace(region, search=True), self.state.window, sigmas)
        if key == self._stack_of:
            return
        series = self.store.scans[region.series_uid].series
        spacing_mm = series.spacing_mm[1:]
        hu = crop(series.hu[region.slice_index], region.box, spacing_mm=spacing_mm)
        self._image = self.state.window.apply(hu)
        self._px_mm = crop_side_mm(region.box, spacing_mm) / CROP_PX
        self._stack = HessianStack.compute(self._image, sigmas, dtype=np.float32)
        self._stack_of = key

    def _refresh(self, _: Any) -> None:
        """Let the widget ask again: only it knows which values the hand has reached."""
        self.widget.revision += 1


def params_from(message: dict[str, Any]) -> FrangiParams:
    """Return the parameters that a message of sliders describes; raises `FilterError` for an impossible sweep."""
    first, last, step = (float(message[f"sigma_{name}"]) for name in ("from", "to", "step"))
    if not (0 < first <= last and step > 0):
        raise FilterError("The scale sweep is empty; σ from must be above 0 and not above σ to.")
    count = int((last - first) / step + 1e-9)
    if count + 1 > MAX_SCALES:
        raise FilterError(f"The sweep has {count + 1} scales, more than {MAX_SCALES}; take a larger step.")
    return FrangiParams(
        alpha=float(message["alpha"]),
        beta=float(message["beta"]),
        gamma=float(message["gamma"]),
        rho=float(message["rho"]),
        polarity=message["polarity"],
        sigmas=tuple(round(first + k * step, 6) for k in range(count + 1)),
    )
