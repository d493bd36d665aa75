"""A small training in a process of its own: `python toy_training.py FOLDER MODEL STEPS CHECKPOINT_S`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
from test_pretrain import toy_crops

import lesiondash.learning.pretrain as training
from lesiondash.learning import monitor
from lesiondash.learning.dataset import TrainingCrops
from lesiondash.learning.runs import Run
from lesiondash.learning.settings import PretrainSettings, settings_of
from lesiondash.records import AugmentSettings

QUIET = AugmentSettings(noise_hu=0.0)
"""Noise is what each process draws for itself."""


def toy_settings(model: str, steps: int) -> PretrainSettings:
    rates = {"simclr": 0.1, "vae": 1e-3}  # slow, so that rounding does not grow
    return settings_of(model, steps=steps, batch=8, seed=2, augment=QUIET, learning_rate=rates[model])  # type: ignore[arg-type]


def toy_data() -> TrainingCrops:
    return TrainingCrops.of_arrays(toy_crops(), np.arange(24) // 2)


def main(folder: Path, model: str, steps: int, checkpoint_s: float) -> None:
    torch.set_num_threads(1)
    training.bfloat16_is_fast = lambda device: False  # two processes sum in another order, which its rounding shows
    monitor.CHECKPOINT_S, monitor.REPORT_S = checkpoint_s, 0.0
    settings, run, first = toy_settings(model, steps), Run(folder), os.environ.get("RANK", "0") == "0"
    if first:
        run.begin(settings, {})
    encoder = training.pretrain(toy_data(), settings, run=run)
    if first:
        print(encoder.fingerprint)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
