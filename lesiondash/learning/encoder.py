"""A network as a tool: crops in HU to unit vectors, and the file that keeps it with its origin."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

import lesiondash
from lesiondash.errors import EncoderError
from lesiondash.frangi.response import frangi_filter
from lesiondash.images.crops import CONTEXT, CROP_PX, MIN_SIDE_MM
from lesiondash.learning.architecture import DEFAULT_WINDOWS, Architecture, Windows
from lesiondash.learning.checkpoint import FINGERPRINT_KEY, HEADER_KEY
from lesiondash.learning.network import EMBEDDING_DIM, LesionNet, best_device, build_net, folded, window_channels
from lesiondash.records import FrangiParams

FORMAT_VERSION = 1
HU_LIMIT = 32768.0
BATCH_CPU, BATCH_CUDA = 128, 2048


def make_header(architecture: Architecture, **training: Any) -> dict[str, Any]:
    """Describe an encoder: format, architecture, input, crop geometry, versions, and how it was trained."""
    return {
        "format": FORMAT_VERSION,
        "architecture": architecture.name,
        "dimensions": EMBEDDING_DIM,
        "network": architecture.to_dict(),
        "crop": {"size_px": CROP_PX, "min_side_mm": MIN_SIDE_MM, "context": CONTEXT},
        "training": training,
        "versions": {
            "lesiondash": lesiondash.__version__,
            "torch": str(torch.__version__),
            "torchvision": version("torchvision"),
        },
    }


class Encoder:
    """A trained (or untrained) network with the header that says where it comes from.

    Build one with `Encoder.load`, `Encoder.untrained` or `lesiondash.learning.pretrain.pretrain`.

    >>> import numpy as np
    >>> from lesiondash import Encoder
    >>> Encoder.untrained(seed=0).embed(np.zeros((2, 64, 64))).shape
    (2, 512)
    """

    def __init__(self, net: LesionNet, header: Mapping[str, Any], device: torch.device | None = None) -> None:
        """Wrap a network; header as from `make_header`."""
        self._header = json.loads(json.dumps(header))  # plain lists and dicts, as a file gives them back
        self._architecture = _architecture_of(header)
        self._device = device or best_device()
        net = net.to(self._device).to(memory_format=torch.channels_last)
        self._net = net.eval().requires_grad_(False)
        self._fingerprint = _fingerprint(self._net.state_dict())
        self._folded = folded(self._net).to(memory_format=torch.channels_last)

    @classmethod
    def untrained(
        cls,
        seed: int = 0,
        windows: Sequence[Sequence[float]] = DEFAULT_WINDOWS,
        *,
        architecture: Architecture | None = None,
    ) -> Encoder:
        """Return an encoder with random weights, the baseline that training has to beat.

        windows: (low, high) in HU, one pair a channel; architecture, where given, says everything instead. Raises
        `EncoderError` for a window of no width.
        """
        chosen = architecture or Architecture(windows=windows)  # type: ignore[arg-type]  # it checks them
        return cls(build_net(chosen, seed), make_header(chosen, objective="none", seed=seed))

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device | None = None) -> Encoder:
        """Read an encoder from a file that `save` has written; CUDA is used where there is one, unless device
        is given.

        Raises `EncoderError`, naming the file, when it is missing, is not safetensors, has no header, is of
        another architecture, or holds weights that are not finite.
        """
        path = Path(path)
        header, weights = _read(path)
        header.pop(FINGERPRINT_KEY, None)  # computed anew from the weights
        architecture = _checked_header(header, path)
        # Building on the "meta" device would spare the random numbers, but imports torch's compiler: 150 MB more.
        net = build_net(architecture, seed=0)
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise EncoderError(f"The weights in {path} do not fit the network; train or download it anew.") from error
        if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
            raise EncoderError(f"{path} holds weights that are not finite numbers; train or download it anew.")
        return cls(net, header, torch.device(device) if device is not None else None)

    def save(self, path: str | Path) -> None:
        """Write weights and header as safetensors; the file appears whole or not at all, same bytes for the
        same run.

        Raises `EncoderError` when the folder cannot be written.
        """
        path = Path(path)
        # One metadata key only: safetensors writes several in no fixed order.
        stated = {**self._header, FINGERPRINT_KEY: self._fingerprint}
        text = json.dumps(stated, sort_keys=True, ensure_ascii=False)
        weights = {name: tensor.cpu().contiguous() for name, tensor in self._net.state_dict().items()}
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(safetensors_bytes(weights, metadata={HEADER_KEY: text}))
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise EncoderError(f"The encoder could not be written to {path}: {error.strerror}.") from error

    def embed(self, crops: npt.ArrayLike, *, filter: FrangiParams | None = None) -> npt.NDArray[np.float32]:
        """Turn crops into unit vectors.

        crops: (n, 64, 64) or (64, 64), any real number type, in HU; of an encoder of several slices (n, slices, 64, 64)
        or (slices, 64, 64). filter: in place of the encoder's own setting, to see what the setting changes; an encoder
        without the filter has no use for it. Returns (n, 512) float32; n may be 0. A crop's vector does not depend on
        the others. Raises `EncoderError` for another shape, another type or NaN.
        """
        array = checked_crops(crops, self._architecture.slices)
        vectors = np.empty((len(array), EMBEDDING_DIM), np.float32)
        step = BATCH_CUDA if self._device.type == "cuda" else BATCH_CPU
        # TF32 would leave three digits; with it off a vector is the same in every batch to about 1e-7.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(array), step):
                part = array[start : start + step].clip(-HU_LIMIT, HU_LIMIT).astype(np.float32)
                x = self.inputs(part, filter=filter).contiguous(memory_format=torch.channels_last)
                vectors[start : start + step] = self._folded(x).cpu().numpy()
        return vectors

    def inputs(self, crops_hu: npt.NDArray[np.float32], *, filter: FrangiParams | None = None) -> Tensor:
        """Return what the network sees of crops (n, slices, 64, 64) in HU: (n, channels, 64, 64), on its device.

        Each slice's windows, slice after slice, then each slice's filter response; see `Architecture`.
        """
        shape, planes = crops_hu.shape, crops_hu.reshape(-1, *crops_hu.shape[2:])
        parts = []
        if self._architecture.frangi != "replace":
            windows = window_channels(torch.from_numpy(planes).to(self._device), self._architecture.windows)
            parts.append(windows.reshape(shape[0], -1, *shape[2:]))
        if self._architecture.frangi != "none":
            seen = self._architecture.filter_window.apply(planes)
            device = str(self._device) if self._device.type == "cuda" else None
            setting = self._architecture.filter if filter is None else filter
            response = frangi_filter(seen, setting, dtype=np.float32, device=device).response
            parts.append(torch.from_numpy(np.asarray(response, np.float32)).reshape(shape).to(self._device))
        return torch.cat(parts, dim=1)

    @property
    def header(self) -> dict[str, Any]:
        """What the file says about itself, as a copy: architecture, windows, crop geometry, training,
        versions.
        """
        return deepcopy(self._header)

    @property
    def windows(self) -> Windows:
        """The (low, high) windows of the input channels, in HU."""
        return self._architecture.windows

    def export_onnx(self, path: str | Path) -> None:
        """Write the network as ONNX, for inference without torch.

        Its input is (n, channels, 64, 64) as `inputs` makes it, its output (n, 512). Raises `EncoderError` where the
        packages of `lesiondash[onnx]` are missing or the file cannot be written.
        """
        try:
            import onnx  # noqa: F401 - torch's exporter needs both
            import onnxscript  # noqa: F401
        except ImportError:
            raise EncoderError("ONNX needs packages that are not installed; install lesiondash[onnx].") from None
        example = torch.zeros(2, self._architecture.channels, CROP_PX, CROP_PX, device=self._device)
        count = torch.export.Dim("n")
        program = torch.onnx.export(
            self._folded,
            (example,),
            input_names=["views"],
            output_names=["vectors"],
            dynamic_shapes=({0: count},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        try:
            program.save(str(path), external_data=False)
        except OSError as error:
            raise EncoderError(f"The encoder could not be written to {path}: {error.strerror}.") from error

    def network(self) -> LesionNet:
        """Return a copy of the network that can be trained further."""
        return deepcopy(self._net).requires_grad_(True)

    @property
    def architecture(self) -> Architecture:
        """What the network sees and how it is built."""
        return self._architecture

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return EMBEDDING_DIM

    @property
    def device(self) -> str:
        """Where the network runs: `cpu`, `cuda:0`, …"""
        return str(self._device)

    @property
    def device_name(self) -> str:
        """The device in words."""
        if self._device.type == "cuda":
            return str(torch.cuda.get_device_name(self._device))
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'s' if threads != 1 else ''}"

    @property
    def fingerprint(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the weights: the same digits, the same
        network.
        """
        return self._fingerprint


def checked_crops(crops: npt.ArrayLike, slices: int) -> npt.NDArray[Any]:
    """Return crops as (n, slices, 64, 64)."""
    try:
        array = np.asarray(crops)
    except ValueError as error:
        raise EncoderError(f"The crops differ in size; give an array (n, {CROP_PX}, {CROP_PX}).") from error
    if array.dtype.kind not in "iuf":
        raise EncoderError(f"Crops are numbers in HU; this array holds {array.dtype}.")
    one = (CROP_PX, CROP_PX) if slices == 1 else (slices, CROP_PX, CROP_PX)
    if array.ndim == len(one):
        array = array[None]
    if slices == 1 and array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape[1:] != one:
        raise EncoderError(
            f"The encoder takes crops of {' × '.join(map(str, one))} pixels, (n, {', '.join(map(str, one))}); "
            f"this array is {array.shape}."
        )
    if not np.isfinite(array).all():
        raise EncoderError("A crop holds values that are not finite (NaN or infinite); check how it was cut.")
    return array.reshape(len(array), slices, CROP_PX, CROP_PX)


def _fingerprint(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise EncoderError(f"There is no encoder at {path}; make one with `lesiondash prepare`.")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise EncoderError(
            f"{path} is not a safetensors file; encoders in other formats can run code and are not read."
        ) from error
    try:
        header = json.loads(metadata[HEADER_KEY])
    except (KeyError, ValueError) as error:
        raise EncoderError(f"{path} has no lesiondash header; it was not written by lesiondash.") from error
    if not isinstance(header, dict):
        raise EncoderError(f"{path} has no lesiondash header; it was not written by lesiondash.")
    return header, weights


def _architecture_of(header: Mapping[str, Any]) -> Architecture:
    """Return the network that a header describes; the first files said only their windows."""
    return Architecture.from_dict(header.get("network") or {"windows": header.get("windows_hu")})


def _checked_header(header: dict[str, Any], path: Path) -> Architecture:
    try:
        architecture = _architecture_of(header)
    except EncoderError as error:
        raise EncoderError(f"The header of {path} cannot be used: {error}") from error
    if header.get("format") != FORMAT_VERSION or header.get("architecture") != architecture.name:
        raise EncoderError(
            f"{path} holds the architecture {header.get('architecture')!r}, format {header.get('format')!r}; "
            f"this version reads {architecture.name!r}, format {FORMAT_VERSION}."
        )
    expected = make_header(architecture)["crop"]
    if header.get("crop") != expected:
        raise EncoderError(
            f"{path} was trained on crops of another geometry, {header.get('crop')!r}, not {expected!r}."
        )
    return architecture
