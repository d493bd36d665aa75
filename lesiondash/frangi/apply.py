"""The filter applied to a whole collection: responses kept on disk with the setting that made them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lesiondash.errors import FilterError
from lesiondash.frangi.formulas import check_params
from lesiondash.frangi.presets import from_yaml, to_yaml
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import FrangiParams, Window

CHUNK = 128
DIGEST_CROPS = 4096
"""Crops whose bytes are read at once."""
HEADER = "lesiondash"
InputMode = Literal["replace", "channel"]
MODES: tuple[InputMode, ...] = ("replace", "channel")


@dataclass(frozen=True, eq=False)
class FilteredCrops:
    """Responses of a collection's crops.

    responses: (n, h, w) float16 in [0, 1], in the order of lesion_ids; digest: of the crops in HU, `crops_digest`;
    mode: what an encoder is to see of them, in place of the images or beside them.
    """

    responses: npt.NDArray[np.float16]
    params: FrangiParams
    window: Window
    lesion_ids: tuple[str, ...]
    digest: str
    mode: InputMode = "replace"

    def as_input(self, images: npt.ArrayLike, mode: InputMode | None = None) -> npt.NDArray[np.float32]:
        """Return what an encoder sees: the responses in place of the images, or as one more channel.

        images: (n, c, h, w); mode: another than the one they are kept with. Returns (n, 1, h, w) for "replace",
        (n, c + 1, h, w) for "channel". Raises `FilterError` for images of another shape or another mode.
        """
        mode = self.mode if mode is None else mode
        pixels = np.asarray(images, np.float32)
        added = self.responses[:, None].astype(np.float32)
        if pixels.ndim != 4 or pixels.shape[0] != len(added) or pixels.shape[2:] != added.shape[2:]:
            raise FilterError(f"Images {pixels.shape} do not go with responses {self.responses.shape}.")
        check_mode(mode)
        return added if mode == "replace" else np.concatenate([pixels, added], axis=1)

    def save(self, folder: Path) -> Path:
        """Write a safetensors file under `folder`, whole or not at all; returns its path."""
        from safetensors.numpy import save

        path = self.path(folder)
        header = {
            "params": to_yaml(self.params),
            "window": asdict(self.window),
            "lesion_ids": list(self.lesion_ids),
            "crops": self.digest,
            "mode": self.mode,
        }
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(save({"responses": self.responses}, metadata={HEADER: json.dumps(header)}))
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise FilterError(f"{path.name} could not be written ({error.strerror}); nothing was kept.") from error
        return path

    def path(self, folder: Path) -> Path:
        """Return where `save` keeps them under `folder`."""
        return filtered_path(folder, self.params, self.window, self.lesion_ids, self.digest, self.mode)


def apply_to_crops(
    crops_hu: npt.NDArray[Any],
    lesion_ids: Sequence[str],
    params: FrangiParams,
    window: Window,
    *,
    mode: InputMode = "replace",
    progress: Callable[[int, int], object] | None = None,
    stop: Callable[[], bool] | None = None,
    compile: bool | None = None,
) -> FilteredCrops | None:
    """Filter every crop of a collection; None where `stop()` said so on the way.

    crops_hu: (n, h, w) in HU, windowed to [0, 1] before the filter; mode: what an encoder is to see, the responses in
    place of the images or as one more channel; progress(done, total) counts crops; compile as in `frangi_filter`.
    Raises `FilterError` for crops of another shape, parameters outside their domain, or ids that are not one a crop.
    """
    check_params(params)
    check_mode(mode)
    if np.ndim(crops_hu) != 3:
        raise FilterError(f"The crops have shape {np.shape(crops_hu)}; give one collection (n, h, w) in HU.")
    if len(crops_hu) != len(lesion_ids):
        raise FilterError(f"There are {len(crops_hu)} crops and {len(lesion_ids)} lesion ids.")
    responses = np.empty(crops_hu.shape, np.float16)
    for start in range(0, len(crops_hu), CHUNK):
        if stop is not None and stop():
            return None
        part = slice(start, start + CHUNK)
        responses[part] = frangi_filter(
            window.apply(crops_hu[part]), params, dtype=np.float32, compile=compile
        ).response
        if progress is not None:
            progress(min(start + CHUNK, len(crops_hu)), len(crops_hu))
    return FilteredCrops(responses, params, window, tuple(lesion_ids), crops_digest(crops_hu), mode)


def kept_or_applied(
    folder: Path,
    crops_hu: npt.NDArray[Any],
    lesion_ids: Sequence[str],
    params: FrangiParams,
    window: Window,
    mode: InputMode = "replace",
    **options: Any,
) -> tuple[FilteredCrops | None, bool]:
    """Return what `folder` keeps of this setting, or filter and keep it; and whether it was kept before.

    options: as of `apply_to_crops`, which also says when there is None and what is raised.
    """
    kept = open_filtered(folder, crops_hu, lesion_ids, params, window, mode)
    if kept is not None:
        return kept, True
    filtered = apply_to_crops(crops_hu, lesion_ids, params, window, mode=mode, **options)
    if filtered is not None:
        filtered.save(folder)
    return filtered, False


def open_filtered(
    folder: Path,
    crops_hu: npt.NDArray[Any],
    lesion_ids: Sequence[str],
    params: FrangiParams,
    window: Window,
    mode: InputMode = "replace",
) -> FilteredCrops | None:
    """Return what `save` kept for this setting and these lesions' crops, or None where there is none.

    Raises `FilterError`, naming the file, where it is damaged or of something else.
    """
    from safetensors import SafetensorError, safe_open

    digest = crops_digest(crops_hu)
    path = filtered_path(folder, params, window, lesion_ids, digest, check_mode(mode))
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            found = FilteredCrops(
                file.get_tensor("responses"),
                from_yaml(header["params"]),
                Window(**header["window"]),
                tuple(header["lesion_ids"]),
                header["crops"],
                header.get("mode", "replace"),
            )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, FilterError) as error:
        raise FilterError(f"{path.name} is damaged ({type(error).__name__}); delete it and filter anew.") from error
    wanted = (params, window, tuple(lesion_ids), digest, mode)
    if (found.params, found.window, found.lesion_ids, found.digest, found.mode) != wanted:
        raise FilterError(f"{path.name} is of another setting or collection; delete it and filter anew.")
    shape, dtype = found.responses.shape, found.responses.dtype
    if shape != crops_hu.shape or dtype != np.float16:
        raise FilterError(
            f"{path.name} holds {dtype} responses {shape}, not float16 {crops_hu.shape}; delete it and filter anew."
        )
    return found


def check_mode(mode: InputMode) -> InputMode:
    """Return the mode; raises `FilterError` for one that is not "replace" or "channel"."""
    if mode not in MODES:
        raise FilterError(f"The response is used as {mode!r}; choose {' or '.join(MODES)}.")
    return mode


def crops_digest(crops_hu: npt.NDArray[Any]) -> str:
    """Return a SHA-256 of the crops' shape, dtype and values."""
    digest = hashlib.sha256(f"{crops_hu.shape} {crops_hu.dtype.str}".encode())
    for start in range(0, len(crops_hu), DIGEST_CROPS):
        digest.update(np.ascontiguousarray(crops_hu[start : start + DIGEST_CROPS]).tobytes())
    return digest.hexdigest()


def filtered_path(
    folder: Path,
    params: FrangiParams,
    window: Window,
    lesion_ids: Sequence[str],
    digest: str,
    mode: InputMode = "replace",
) -> Path:
    """Return where responses are kept: one file for each setting, window, list of lesions, `crops_digest` and mode."""
    text = json.dumps(
        [to_yaml(params), asdict(window), list(lesion_ids), digest, *([mode] if mode != "replace" else [])]
    )
    return folder / f"frangi-{hashlib.sha256(text.encode()).hexdigest()[:12]}.safetensors"
