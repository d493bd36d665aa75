from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lesiondash.errors import EncoderError, TrainingError
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.dataset import TrainingCrops
from lesiondash.learning.distributed import World
from lesiondash.learning.encoder import Encoder
from lesiondash.learning.models import VAE, SimCLR
from lesiondash.learning.network import bfloat16_is_fast, warn_if_uncompiled
from lesiondash.learning.pretrain import CONTRASTIVE, MODELS, Views, pretrain
from lesiondash.learning.settings import PretrainSettings, settings_of
from lesiondash.records import NO_AUGMENTATION

SETTINGS = PretrainSettings(steps=6, batch=12, seed=3, scaling="none")
SOURCE = (("collection", "toy"), ("split", "train"))


def toy_crops(n: int = 24) -> np.ndarray:
    """Blobs of n sizes and brightnesses on noise: each lesion is unlike the others."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] - 47.5
    radius = np.linspace(3, 25, n)[:, None, None]
    level_hu = np.linspace(-600, 600, n)[random.permutation(n)][:, None, None]
    hu = level_hu * np.exp(-(x**2 + y**2) / (2 * radius**2)) + random.normal(0, 20, (n, 96, 96))
    return hu.astype(np.int16)


def train(settings: PretrainSettings = SETTINGS, **options: Any) -> Encoder:
    crops = options.pop("crops", toy_crops())
    groups = options.pop("groups", np.arange(len(crops)) // 2)
    data = TrainingCrops.of_arrays(
        crops,
        groups,
        options.pop("lesions", None),
        architecture=settings.architecture,
        background=options.pop("background", None),
        source=SOURCE,
    )
    return pretrain(data, settings, **options)


@pytest.fixture(scope="module")
def trained() -> tuple[Encoder, list[tuple[int, int, float]]]:
    reports: list[tuple[int, int, float]] = []
    encoder = train(progress=lambda step, steps, loss: reports.append((step, steps, loss)))
    return encoder, reports


def test_training_lowers_the_loss(trained: tuple[Encoder, list[tuple[int, int, float]]]) -> None:
    losses = [loss for _, _, loss in trained[1]]
    assert all(math.isfinite(loss) for loss in losses)
    assert min(losses[-2:]) < losses[0] - 0.1


def test_progress_counts_to_the_last_step(trained: tuple[Encoder, list[tuple[int, int, float]]]) -> None:
    steps = [step for step, _, _ in trained[1]]
    assert steps == sorted(steps)
    assert steps[-1] == SETTINGS.steps
    assert {total for _, total, _ in trained[1]} == {SETTINGS.steps}


def test_weights_move_from_the_untrained_ones(trained: tuple[Encoder, Any]) -> None:
    crops = toy_crops()[:, 16:80, 16:80]
    before, after = Encoder.untrained(seed=SETTINGS.seed).embed(crops), trained[0].embed(crops)
    assert float((before * after).sum(axis=1).mean()) < 0.9
    assert np.isfinite(after).all()


def test_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    short = replace(SETTINGS, steps=2)
    first = train(short).fingerprint
    assert train(short).fingerprint == first
    assert train(replace(short, seed=4)).fingerprint != first


def test_trained_encoder_comes_back_from_its_file(trained: tuple[Encoder, Any], tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    trained[0].save(path)
    loaded = Encoder.load(path)
    crops = toy_crops(6)[:, 16:80, 16:80]
    np.testing.assert_array_equal(loaded.embed(crops), trained[0].embed(crops))
    assert loaded.header == trained[0].header


def test_header_tells_how_it_was_trained(trained: tuple[Encoder, Any]) -> None:
    training = trained[0].header["training"]
    told = training["trained_on"]
    assert len(told.pop("fingerprint")) == 12
    assert told == {"collection": "toy", "split": "train", "crops": 24, "lesions": 24, "patients": 12}
    assert (training["steps"], training["batch"], training["seed"]) == (6, 12, 3)
    assert "SimCLR" in training["objective"]


def test_slices_of_one_lesion_are_drawn_as_its_views() -> None:
    reports: list[float] = []
    encoder = train(
        replace(SETTINGS, steps=2, loss="nt_xent"),
        lesions=np.arange(24) // 4,
        groups=np.arange(24) // 8,
        progress=lambda step, steps, loss: reports.append(loss),
    )
    assert encoder.header["training"]["trained_on"]["lesions"] == 6
    # 6 lesions of 3 patients: of the 12 views, 8 are negatives beside the positive
    assert 0 < reports[0] < math.log(9) + 2 / 0.1


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    settings = PretrainSettings(steps=100, learning_rate=2.0, warmup=0.1, batch=64)
    rates = [settings.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == pytest.approx(2.0)
    assert int(np.argmax(rates)) in (9, 10)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] < 0.01


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crops": np.zeros((4, 64, 64), np.int16)}, "96"),
        ({"crops": np.zeros((4, 96, 96), np.float32)}, "int16"),
        ({"groups": np.zeros(24)}, "two patients"),
        ({"groups": np.zeros(3)}, "one patient"),
        ({"lesions": np.zeros(3)}, "one lesion"),
        ({"crops": np.zeros((0, 96, 96), np.int16)}, "two patients"),
    ],
)
def test_input_that_cannot_teach_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(EncoderError, match=words):
        train(**options)


def test_a_loss_that_breaks_down_is_reported() -> None:
    with pytest.raises(EncoderError, match="learning rate"):
        train(replace(SETTINGS, learning_rate=1e30, steps=4))


@pytest.mark.parametrize("model", ["simclr", "vae"])
@pytest.mark.parametrize("frangi", ["none", "replace", "channel"])
def test_every_model_and_input_learns_and_comes_back(model: Any, frangi: Any, tmp_path: Path) -> None:
    losses: list[float] = []
    architecture = Architecture(frangi=frangi, pool="average", windows=((-160, 240), (-1350, 150)))
    settings = settings_of(model, architecture=architecture, steps=5, batch=12, seed=1)
    encoder = train(settings, progress=lambda step, steps, loss: losses.append(loss))
    assert min(losses[1:]) < losses[0]
    encoder.save(tmp_path / "encoder.safetensors")
    loaded = Encoder.load(tmp_path / "encoder.safetensors")
    assert loaded.architecture == settings.architecture
    crops = toy_crops(4)[:, 16:80, 16:80]
    np.testing.assert_array_equal(loaded.embed(crops), encoder.embed(crops))


def test_slices_are_channels_of_their_own() -> None:
    stack = np.repeat(toy_crops()[:, None], 3, axis=1)
    encoder = train(replace(SETTINGS, steps=2, architecture=Architecture(slices=3, stem="pool")), crops=stack)
    crops = stack[:5, :, 16:80, 16:80].astype(np.float32)
    changed = crops.copy()
    changed[:, 2] += 300
    assert float((encoder.embed(crops) * encoder.embed(changed)).sum(axis=1).max()) < 1 - 1e-6


def test_patches_without_lesions_are_further_negatives() -> None:
    losses: list[float] = []
    random = np.random.default_rng(5)
    patches = random.normal(0, 300, (10, 96, 96)).astype(np.int16)
    settings = replace(SETTINGS, steps=1, loss="nt_xent", temperature=1e6, background=6)
    train(settings, background=patches, groups=np.arange(24), progress=lambda *told: losses.append(told[2]))
    # At an endless temperature every candidate is alike: the loss is ln of how many there are, chance itself.
    assert losses[0] == pytest.approx(math.log(2 * 12 - 2 + 6 + 1), abs=1e-4)


@pytest.mark.parametrize("loss", ["dcl", "nt_xent"])
@pytest.mark.parametrize("groups", [np.arange(10), np.arange(10) // 2])
def test_chance_is_the_loss_of_one_point_however_few_lesions_there_are(loss: Any, groups: np.ndarray) -> None:
    patches = np.random.default_rng(5).normal(0, 300, (10, 96, 96)).astype(np.int16)
    settings = replace(SETTINGS, loss=loss, batch=64, background=64)
    data = TrainingCrops.of_arrays(toy_crops(10), groups, background=patches)
    views = Views(data, settings, World(1, 0, torch.device("cpu")))
    batch = views.at(0)
    one = torch.ones(10, 8)
    collapsed = CONTRASTIVE[settings.loss](one, one, 0.1, groups=batch.patients, negatives=one)
    assert views.chance == pytest.approx(float(collapsed), abs=1e-4)
    assert views.count == len(batch.pictures) == 30
    vae = Views(data, settings_of("vae", batch=64), World(1, 0, torch.device("cpu")))
    assert math.isnan(vae.chance)
    assert vae.count == len(vae.at(0).pictures) == 10


def test_each_process_has_as_many_views_and_noise_of_its_own() -> None:
    patches = np.zeros((11, 96, 96), np.int16)
    data = TrainingCrops.of_arrays(np.zeros((13, 96, 96), np.int16), np.arange(13), background=patches)
    settings = replace(SETTINGS, batch=16, background=16, augment=replace(NO_AUGMENTATION, noise_hu=50.0))
    parts = [Views(data, settings, World(4, rank, torch.device("cpu"))).at(0) for rank in range(4)]
    assert {(len(part.pictures), part.pairs) for part in parts} == {(2 * 3 + 2, 3)}
    noise = np.array([part.pictures[:, 0].numpy().ravel() for part in parts])
    noise -= noise.mean(axis=1, keepdims=True)
    assert np.abs(np.corrcoef(noise) - np.eye(4)).max() < 0.05
    with pytest.raises(TrainingError, match="14 processes cannot share 13 lesions"):
        Views(data, settings, World(14, 0, torch.device("cpu")))


@pytest.mark.parametrize("model", ["simclr", "vae"])
def test_building_a_model_leaves_every_generator_as_it_was(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)  # what torch.manual_seed does to every GPU
    before = torch.get_rng_state()
    first, second = (MODELS[model](Architecture(head="linear"), 3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)
    assert seeded == []


def test_the_same_views_are_drawn_whatever_was_drawn_before() -> None:
    data = TrainingCrops.of_arrays(toy_crops(), np.arange(24) // 2)
    views = Views(data, SETTINGS, World(1, 0, torch.device("cpu")))
    third = views.at(3).pictures
    views.at(0)
    assert torch.equal(views.at(3).pictures, third)


def test_crops_of_another_network_are_refused() -> None:
    data = TrainingCrops.of_arrays(toy_crops(), np.arange(24) // 2)
    with pytest.raises(TrainingError, match="another network"):
        pretrain(data, replace(SETTINGS, architecture=Architecture(frangi="channel")))


@pytest.mark.parametrize("model", [SimCLR, VAE])
def test_a_model_is_one_graph_for_a_compiler(model: Any) -> None:
    # What a GPU runs as one CUDA graph must not fall apart into several, with the host in between.
    built = model(Architecture(), 0).to(memory_format=torch.channels_last).train()
    views = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    inputs = (views,) if model is SimCLR else (views, torch.zeros(4, 512))
    plain = built(*inputs)
    built.compile(backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(built(*inputs), plain, rtol=1e-4, atol=1e-4)


def test_a_gpu_before_ampere_multiplies_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    # There is no such card here: only its description is put in the place of one.
    monkeypatch.setattr(torch.version, "hip", None)
    for major, fast in ((7, False), (8, True), (9, True)):
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda device, major=major: SimpleNamespace(major=major)
        )
        assert bfloat16_is_fast(torch.device("cuda", 1)) is fast


def test_a_model_that_the_compiler_gives_up_on_is_said(recwarn: pytest.WarningsRecorder) -> None:
    plain = torch.nn.Linear(2, 2)
    warn_if_uncompiled(plain)  # not meant to be compiled

    def give_up(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler")

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(suppress_errors=True):
        plain.compile(backend="aot_eager")
        plain(torch.zeros(1, 2))
        warn_if_uncompiled(plain)
        assert not recwarn
        other = torch.nn.Sequential(torch.nn.Linear(2, 2))
        other.compile(backend=give_up)
        assert other(torch.zeros(1, 2)).shape == (1, 2)
    with pytest.warns(RuntimeWarning, match="without CUDA graphs"):
        warn_if_uncompiled(other)
