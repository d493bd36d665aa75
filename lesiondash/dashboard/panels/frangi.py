"""Frangi: the filter's response to the region or the slice, following the sliders."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict, fields, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from lesiondash.dashboard.panels.apply import CollectionFilter
from lesiondash.dashboard.state import Region, State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import Tuner
from lesiondash.errors import FilterError
from lesiondash.frangi.backend import engine, warm_up
from lesiondash.frangi.estimate import estimate
from lesiondash.frangi.explain import explain
from lesiondash.frangi.formulas import needed_dtype, response_of
from lesiondash.frangi.hessian import HessianStack
from lesiondash.frangi.presets import (
    MEANINGS,
    as_sweep,
    from_link,
    preset,
    preset_of,
    sweep,
    to_link,
    to_python,
    to_yaml,
)
from lesiondash.frangi.response import frangi_filter
from lesiondash.images.crops import CROP_PX, crop, crop_side_mm
from lesiondash.records import WINDOWS, Box, FrangiParams, FrangiResult

MAX_SCALES = 81
STRIP = 9
STRIP_PX = 64
SLICE_TOLERANCE = 1e-4
"""Of the Hessian, per unit of contrast: whole slices interpolate the scales between those computed."""
AREAS = ("region", "slice")


class FrangiPanel:
    """Keeps what depends on image and scales alone, so that a slider costs only the element-wise part."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        state.params, link_error = _params_of_link(state.params)
        self._stack: HessianStack | None = None
        self._stack_of: tuple[Any, ...] | None = None
        self._image = np.zeros((CROP_PX, CROP_PX), np.float32)
        self._result: FrangiResult | None = None
        self._px_mm, self._aspect = 1.0, 1.0
        self.widget = Tuner(
            {
                "params": self.respond,
                "probe": self.probe,
                "preset": self.choose_preset,
                "estimate": self.estimate,
                "apply": self.apply,
                "window": self.choose_window,
            },
            values={**values_of(state.params), "area": "region", "scale": -1, "preset": preset_of(state.params) or ""},
            windows=list(WINDOWS),
            presets=[{"name": name, "meaning": meaning} for name, meaning in MEANINGS.items()],
        )
        self.collection_filter = CollectionFilter(state, store, self._tell_job)
        if link_error:
            state.say(link_error, "error")
        state.observe(self._refresh, ["region", "window", "slice_index", "focus"])

    @tells_errors
    def respond(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Filter with the sliders' values; returns a description and the pictures' bytes.

        Pictures, uint8 (h, w): the image, the response over its peak, the winning scale's number from 1 (0 where hardly
        anything answers), then the responses of up to nine scales, thinned out.
        """
        params = params_from(message)
        region = self._region()
        if region is None:
            return None
        self._prepare(region, params, str(message.get("area", "region")))
        result, (numbers, pictures) = self._filter(params, int(message.get("scale", -1)))
        self.state.params, self._result = params, result
        peak = float(result.response.max())
        scale = np.where(result.response > 0.02 * peak, result.scale_index + 1, 0)
        description = {
            "size": list(self._image.shape),
            "aspect": self._aspect,
            "shown": str(self._stack_of[1]) if self._stack_of else "",
            "place": self._place(region, str(message.get("area", "region"))),
            "peak": peak,
            "engine": engine(),
            "px_mm": self._px_mm,
            "sigmas": [round(sigma, 3) for sigma in params.sigmas],
            "strip": {"scales": numbers, "size": list(pictures.shape[1:])},
            "gamma": self._gamma(params),
            "width": self.state.window.width_hu,
            "unit": self.store.scans[region.series_uid].series.unit,
            "preset": preset_of(params) or "",
            "window": next((name for name, each in WINDOWS.items() if each == self.state.window), ""),
            "copies": {"Python": to_python(params), "YAML": to_yaml(params), "link": "?" + to_link(params)},
        }
        top = max(peak, 1e-12)
        bytes_of = [self._image * 255, result.response / top * 255, scale, *(pictures / top * 255)]
        return description, [np.clip(picture, 0, 255).astype(np.uint8).tobytes() for picture in bytes_of]

    @tells_errors
    def probe(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Take the response at a pixel apart; returns its terms, or the response alone where it is no product."""
        params, result = self.state.params, self._result
        if result is None or result.sigmas != params.sigmas or result.response.shape != self._image.shape:
            return None  # an estimate was made, and the sliders have not followed yet
        place = int(message["y"]), int(message["x"])
        if self._stack is None or params.formula not in ("promotion", "strict"):
            if not all(0 <= at < size for at, size in zip(place, self._image.shape, strict=True)):
                raise FilterError(f"The place {place} is outside of the picture.")
            sigma = result.sigmas[int(result.scale_index[place])]
            terms: dict[str, Any] = {"response": float(result.response[place]), "sigma": sigma}
        else:
            scale = int(message.get("scale", -1))
            found = explain(self._stack, params, place, scale if scale >= 0 else None)
            terms = asdict(found)
            sigma = found.sigma
        return {**terms, "sigma_mm": sigma * self._px_mm, "x": place[1], "y": place[0]}, []

    @tells_errors
    def choose_preset(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Return the values of a named setting for the sliders to take."""
        return {"values": values_of(preset(str(message["name"])))}, []

    @tells_errors
    def choose_window(self, message: dict[str, Any]) -> None:
        """Ask the viewer for a named window: the filter sees HU through it."""
        name = str(message["name"])
        if name not in WINDOWS:
            raise FilterError(f"There is no window {name!r}; choose one of {', '.join(WINDOWS)}.")
        self.state.ask_window(WINDOWS[name])

    @tells_errors
    def estimate(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Return scales and γ that fit the box, the other values as they are."""
        region = self.state.region
        if region is None:
            raise FilterError("There is no box to estimate from; draw one round a lesion.")
        scan = self.store.scans[region.series_uid]
        spacing_mm = scan.series.spacing_mm[1:]
        area = str(message.get("area", "region"))
        self._prepare(region, params_from(message), "region")
        px_mm = self._px_mm
        size_mm = (region.box.size[1] * spacing_mm[0], region.box.size[0] * spacing_mm[1])
        params = estimate(self._image, (size_mm[0] / px_mm, size_mm[1] / px_mm), params_from(message))
        if area == "slice":  # the same scales in mm, in the slice's pixels
            k = px_mm / spacing_mm[0]
            ends = [max(0.4, round(end * k, 1)) for end in (params.sigmas[0], params.sigmas[-1])]
            params = replace(params, sigmas=sweep(*ends, max(0.1, round((ends[1] - ends[0]) / 20, 1))))
        return {"values": values_of(params)}, []

    @tells_errors
    def apply(self, message: dict[str, Any]) -> None:
        """Apply the present setting to the whole collection, or stop doing so; `mode` is what an encoder will see."""
        self.collection_filter.toggle(message.get("mode", "replace"))

    def _tell_job(self, running: bool, text: str, share: float = 0.0) -> None:
        self.widget.job = {"running": running, "text": text, "share": share}

    def _gamma(self, params: FrangiParams) -> float:
        """γ as a number: an automatic one is half the strongest S of what is shown; 0 where scikit-image takes it."""
        if params.gamma != "auto":
            return float(params.gamma)
        return 0.0 if self._stack is None else float(self._stack.auto_gamma)

    def _place(self, region: Region, area: str) -> str:
        """What the pictures are of, in words."""
        if area == "slice":
            return f"slice {self._slice_index(region) + 1}"
        if self.state.region is None:
            return f"middle of slice {region.slice_index + 1}; draw a box (R) to see it here"
        return f"the box on slice {region.slice_index + 1}, and around it"

    def _filter(
        self, params: FrangiParams, scale: int
    ) -> tuple[FrangiResult, tuple[list[int], np.ndarray[Any, np.dtype[np.float32]]]]:
        """Respond at every scale, or show one alone; and the strip of single scales."""
        step = max(1, -(-max(self._image.shape) // STRIP_PX))
        numbers = sorted({round(k) for k in np.linspace(0, len(params.sigmas) - 1, STRIP)})
        if self._stack is None:
            every = frangi_filter(self._image, params, dtype=np.float32, per_scale=True)
            assert every.responses is not None
            result, strip = every, every.responses[numbers][:, ::step, ::step]
            alone = every.responses[scale] if 0 <= scale < len(params.sigmas) else None
        else:
            result, stack = self._stack.respond(params), self._stack
            plain = params if params.gamma != "auto" else replace(params, gamma=float(stack.auto_gamma))

            def one(k: int, step: int = 1) -> Any:
                return response_of(None, stack.small[k, ::step, ::step], stack.big[k, ::step, ::step], plain)

            strip = np.stack([one(k, step) for k in numbers])
            alone = one(scale) if 0 <= scale < len(params.sigmas) else None
        if alone is not None:
            result = replace(result, response=alone, scale_index=np.full(alone.shape, scale, np.int32))
        return result, (numbers, strip)

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

    def _prepare(self, region: Region, params: FrangiParams, area: str) -> None:
        if area not in AREAS:
            raise FilterError(f"The filter shows the region or the slice, not {area!r}.")
        shown = replace(region, search=True) if area == "region" else (region.series_uid, self._slice_index(region))
        dtype = needed_dtype(params, np.float32)
        key = (area, shown, self.state.window, params.sigmas, params.formula == "skimage", dtype)
        if key == self._stack_of:
            return
        series = self.store.scans[region.series_uid].series
        spacing_mm = series.spacing_mm[1:]
        if area == "region":
            hu = crop(series.hu[region.slice_index], region.box, spacing_mm=spacing_mm)
            self._px_mm, self._aspect, tolerance = crop_side_mm(region.box, spacing_mm) / CROP_PX, 1.0, None
        else:
            threading.Thread(target=warm_up, daemon=True).start()  # a slice is worth the compiled kernels' memory
            hu, tolerance = series.hu[self._slice_index(region)], SLICE_TOLERANCE
            self._px_mm, self._aspect = spacing_mm[0], spacing_mm[1] / spacing_mm[0]
        self._stack_of = None
        self._image = self.state.window.apply(hu).astype(np.float32)
        self._stack = None
        if params.formula != "skimage":  # it takes derivatives of its own
            self._stack = HessianStack.compute(
                self._image, params.sigmas, spacing_mm=(1.0, self._aspect), dtype=dtype, tolerance=tolerance
            )
        self._stack_of = key

    def _slice_index(self, region: Region) -> int:
        count = len(self.store.scans[region.series_uid].series)
        return min(max(self.state.slice_index, 0), count - 1)

    def _refresh(self, _: Any) -> None:
        """Let the widget ask again: only it knows which values the hand has reached."""
        self.widget.revision += 1


def params_from(message: dict[str, Any]) -> FrangiParams:
    """Return the parameters that a message of sliders describes; raises `FilterError` for an impossible sweep."""
    swept = [float(message[f"sigma_{name}"]) for name in ("from", "to", "step")]
    sigmas = tuple(map(float, message.get("sigmas") or ())) or sweep(*swept)
    if len(sigmas) > MAX_SCALES:
        raise FilterError(f"The sweep has {len(sigmas)} scales, more than {MAX_SCALES}; take a larger step.")
    return FrangiParams(
        alpha=float(message["alpha"]),
        beta=float(message["beta"]),
        gamma="auto" if message.get("gamma_auto") else float(message["gamma"]),
        rho=float(message["rho"]),
        polarity=message["polarity"],
        sigmas=sigmas,
        normalise=bool(message.get("normalise", False)),
        formula=message.get("formula", "promotion"),
    )


def values_of(params: FrangiParams) -> dict[str, Any]:
    """Return the sliders' values for parameters; sigmas: scales that are no sweep, until a slider makes them one."""
    first, last, step = as_sweep(params.sigmas) or (min(params.sigmas), max(params.sigmas), 1.0)
    return {
        "sigmas": [] if sweep(first, last, step) == params.sigmas else list(params.sigmas),
        "gamma_auto": params.gamma == "auto",
        "alpha": params.alpha,
        "beta": params.beta,
        "gamma": params.gamma if params.gamma != "auto" else FrangiParams().gamma,
        "rho": params.rho,
        "polarity": params.polarity,
        "sigma_from": first,
        "sigma_to": last,
        "sigma_step": step,
        "normalise": params.normalise,
        "formula": params.formula,
    }


def _params_of_link(default: FrangiParams) -> tuple[FrangiParams, str]:
    """Return the settings that the page's address carries, and what is wrong with them; voila hands the query on."""
    names = {each.name for each in fields(FrangiParams)}
    ours = [pair for pair in parse_qsl(os.environ.get("QUERY_STRING", ""), keep_blank_values=True) if pair[0] in names]
    if not ours:
        return default, ""
    try:
        return from_link(urlencode(ours)), ""
    except FilterError as error:
        return default, str(error)
