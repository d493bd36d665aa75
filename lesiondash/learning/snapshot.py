"""Where a training resumes: weights, optimiser and step in one file, written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from torch.optim import Optimizer

from lesiondash.errors import TrainingError
from lesiondash.learning.checkpoint import HEADER_KEY
from lesiondash.learning.runs import what_is_kept

WEIGHT, MOMENT = "weight.", "moment."


def save_snapshot(path: Path, model: nn.Module, optimizer: Optimizer, **story: object) -> None:
    """Keep a training's state, with `story` as its header; what was kept before stays until this is whole.

    Raises `TrainingError` when the disk is full or cannot be written, or a weight is no number: the file is then as
    it was.
    """
    tensors = {WEIGHT + name: tensor for name, tensor in model.state_dict().items()}
    for number, weight in enumerate(_weights(optimizer)):
        for key, value in optimizer.state.get(weight, {}).items():
            tensors[f"{MOMENT}{number}.{key}"] = value
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise TrainingError(f"The weights are no longer numbers; {what_is_kept(path)}. Lower the learning rate.")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with part.open("wb") as file:
                file.write(safetensors_bytes(tensors, metadata={HEADER_KEY: json.dumps(story)}))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(
            f"{path.name} cannot be written ({error.strerror}); {what_is_kept(path)}. Make room on the disk and resume."
        ) from error


def read_snapshot(path: Path, **expected: str) -> tuple[int, dict[str, Tensor]]:
    """Read what `save_snapshot` kept: the number of steps done, and the state on the CPU; 0 and nothing without a file.

    expected: header values that must be the same, such as the data's fingerprint. Raises `TrainingError`, naming both
    values, where one is not, or the file is damaged.
    """
    if not path.is_file():
        return 0, {}
    try:
        with safe_open(str(path), framework="pt") as file:
            story = json.loads((file.metadata() or {})[HEADER_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        step = int(story["step"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise TrainingError(f"{path.name} is damaged ({type(error).__name__}); delete it and train anew.") from error
    for name, value in expected.items():
        if story.get(name) != value:
            raise TrainingError(
                f"{path.name} was trained with another {name}, {story.get(name)!r}, not {value!r}; "
                "go back to that one or start another run."
            )
    return step, tensors


def put_back(name: str, tensors: dict[str, Tensor], model: nn.Module, optimizer: Optimizer) -> None:
    """Put a training back where a state was read; raises `TrainingError` where that, of file `name`, does not fit."""
    weights = {key.removeprefix(WEIGHT): each for key, each in tensors.items() if key.startswith(WEIGHT)}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(f"{name} is of another network; start another run.") from error
    weights_here = _weights(optimizer)
    # AdamW counts its steps in a tensor that stays on the CPU, unless one kernel does the whole step.
    fused = optimizer.param_groups[0].get("fused")
    count_on = weights_here[0].device if fused else torch.device("cpu")
    for number, weight in enumerate(weights_here):
        prefix = f"{MOMENT}{number}."
        state = {key.removeprefix(prefix): each for key, each in tensors.items() if key.startswith(prefix)}
        optimizer.state[weight] = {
            key: _like(each, weight) if each.ndim else each.to(count_on) for key, each in state.items()
        }


def _like(kept: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(weight).copy_(kept)


def _weights(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
