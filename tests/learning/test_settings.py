from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from lesiondash.errors import EncoderError, TrainingError
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.settings import PretrainSettings, settings_of
from lesiondash.records import FrangiParams, Window


def test_settings_come_back_from_json() -> None:
    architecture = Architecture(
        frangi="channel", filter=FrangiParams(beta=0.3, sigmas=(1.0, 2.0)), filter_window=Window(0, 100), slices=3
    )
    settings = settings_of("vae", architecture=architecture, steps=7, batch=128)
    again = PretrainSettings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings
    assert again.digest == settings.digest
    assert replace(settings, seed=1).digest != settings.digest


def test_the_vae_has_the_linear_layer_of_its_mean() -> None:
    assert settings_of("vae").architecture.head == "linear"
    assert settings_of("simclr").architecture.head == "none"


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1), ("sqrt", 2), ("linear", 4)])
def test_the_rate_follows_the_batch(scaling: Any, factor: float) -> None:
    assert PretrainSettings(batch=256, learning_rate=0.5, scaling=scaling).peak_rate == pytest.approx(0.5 * factor)


def test_a_schedule_that_cannot_move_the_weights_is_said_with_its_numbers() -> None:
    # The paper's rate at a batch of 4096: five steps a round of DeepLesion's 22,496 training lesions.
    settings = PretrainSettings(batch=4096, learning_rate=0.05, scaling="none", steps=5 * 100)
    assert settings.movement == pytest.approx(0.05 * 500 / 2 * 1e-3 / 0.1, rel=0.1)
    assert "500 steps" in settings.warning
    assert "0.05" in settings.warning
    assert PretrainSettings().warning == ""
    advised = float(settings.warning.rsplit(" ", 1)[1].rstrip("."))
    assert replace(settings, learning_rate=advised * 1.01).warning == ""


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 500])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
def test_the_movement_is_of_every_steps_rate(steps: int, warmup: float) -> None:
    settings = PretrainSettings(steps=steps, warmup=warmup, momentum=0.5)
    assert settings.movement == pytest.approx(sum(map(settings.rate_at, range(steps))) * 1e-3 / 0.5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "gan"}, "simclr, vae"),
        ({"loss": "triplet"}, "dcl, nt_xent"),
        ({"steps": 0}, "0 steps"),
        ({"batch": 1}, "1 lesions"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"temperature": -1.0}, "temperature"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"beta": math.inf}, "beta"),
        ({"neighbours": -1}, "neighbours"),
        ({"momentum": 1.0}, "momentum"),
        ({"warmup": 2.0}, "warmup"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed"),
        ({"model": "vae", "background": 4}, "background"),
        ({"model": "vae", "architecture": Architecture(head="sigmoid")}, "sigmoid"),
    ],
)
def test_values_that_make_no_training_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        PretrainSettings(**values)


@pytest.mark.parametrize("values", [{}, {"architecture": {}, "augment": {"x": 1}}, {"architecture": None}])
def test_settings_that_cannot_be_read_are_said(values: dict[str, Any]) -> None:
    with pytest.raises((TrainingError, EncoderError)):
        PretrainSettings.from_dict(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"frangi": "both"}, "none, replace, channel"),
        ({"stem": "vgg"}, "imagenet"),
        ({"pool": "max"}, "gem, average"),
        ({"head": "relu"}, "sigmoid"),
        ({"slices": 2}, "1, 3 or 9"),
        ({"windows": ((3, 3),)}, "no width"),
    ],
)
def test_networks_that_there_are_not_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(EncoderError, match=words):
        Architecture(**values)


@pytest.mark.parametrize(
    ("values", "channels"),
    [
        ({}, 3),
        ({"frangi": "channel"}, 4),
        ({"frangi": "replace"}, 1),
        ({"slices": 9}, 27),
        ({"slices": 3, "frangi": "replace"}, 3),
        ({"slices": 3, "frangi": "channel"}, 12),
    ],
)
def test_channels_are_counted(values: dict[str, Any], channels: int) -> None:
    assert Architecture(**values).channels == channels
