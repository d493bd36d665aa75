from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from lesiondash.errors import EncoderError
from lesiondash.learning.architecture import DEFAULT_WINDOWS, Architecture
from lesiondash.learning.encoder import HEADER_KEY, Encoder
from lesiondash.learning.network import GeM, build_net, folded, window_channels
from lesiondash.records import FrangiParams


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.untrained(seed=0)


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(0, 300, size=(5, 64, 64)).astype(np.float32)


@pytest.fixture
def saved(encoder: Encoder, tmp_path: Path) -> Path:
    path = tmp_path / "encoder.safetensors"
    encoder.save(path)
    return path


def rewrite(path: Path, change: Any) -> None:
    """Change header and weights of a saved encoder in place."""
    with safe_open(str(path), framework="pt") as file:
        header = json.loads(file.metadata()[HEADER_KEY])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header, weights)
    save_file(weights, str(path), metadata={HEADER_KEY: json.dumps(header)})


def test_vectors_have_unit_length(encoder: Encoder, crops: np.ndarray) -> None:
    vectors = encoder.embed(crops)
    assert vectors.shape == (5, encoder.dimensions) == (5, 512)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_vector_does_not_depend_on_its_batch(encoder: Encoder, crops: np.ndarray) -> None:
    many = np.concatenate([crops] * 27)  # more than one internal batch
    together = encoder.embed(many)
    alone = np.concatenate([encoder.embed(crop) for crop in crops])
    np.testing.assert_allclose(together[:5], alone, atol=1e-5)
    np.testing.assert_allclose(together[-5:], alone, atol=1e-5)


@pytest.mark.parametrize("stem", ["imagenet", "pool", "cifar"])
def test_folded_batch_norms_give_the_same_vectors(stem: Any) -> None:
    net = build_net(Architecture(stem=stem), seed=0)
    for module in net.modules():  # as after training: no norm is the identity
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.uniform_(0.3, 1.5)  # type: ignore[union-attr]
    x, small = torch.rand(4, 3, 64, 64), folded(net)
    torch.testing.assert_close(small(x), net.eval()(x), atol=1e-5, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in small.modules())


def test_order_of_crops_is_the_order_of_vectors(encoder: Encoder, crops: np.ndarray) -> None:
    np.testing.assert_allclose(encoder.embed(crops[::-1]), encoder.embed(crops)[::-1], atol=1e-5)


def test_number_types_agree(encoder: Encoder, crops: np.ndarray) -> None:
    whole = crops.round()
    expected = encoder.embed(whole)
    for dtype in (np.int16, np.int64, np.float64):
        np.testing.assert_array_equal(encoder.embed(whole.astype(dtype)), expected)


def test_values_beyond_every_window_change_nothing(encoder: Encoder) -> None:
    air, vacuum = np.full((64, 64), -2000.0), np.full((64, 64), -1e300)
    np.testing.assert_array_equal(encoder.embed(air), encoder.embed(vacuum))
    assert np.isfinite(encoder.embed(np.full((64, 64), 1e300))).all()


def test_another_setting_of_the_filter_is_seen_by_an_encoder_that_reads_it(crops: np.ndarray) -> None:
    usual, other = FrangiParams(sigmas=(1.0, 3.0)), FrangiParams(sigmas=(1.0, 3.0), gamma=0.3)
    for frangi in ("replace", "channel"):
        reading = Encoder.untrained(seed=0, architecture=Architecture(frangi=frangi, filter=usual))  # type: ignore[arg-type]
        tuned = Encoder.untrained(seed=0, architecture=Architecture(frangi=frangi, filter=other))  # type: ignore[arg-type]
        found = reading.embed(crops[:3], filter=other)
        np.testing.assert_array_equal(found, tuned.embed(crops[:3]))
        assert not np.allclose(found, reading.embed(crops[:3]), atol=1e-4)
        np.testing.assert_array_equal(reading.embed(crops[:3], filter=usual), reading.embed(crops[:3]))


def test_no_crops_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.embed(np.empty((0, 64, 64))).shape == (0, 512)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((2, 32, 32)), "64 × 64"),
        (np.zeros((1, 3, 64, 64)), "64 × 64"),
        (np.zeros(64), "64 × 64"),
        (np.full((64, 64), np.nan), "NaN"),
        (np.full((64, 64), np.inf), "infinite"),
        (np.full((64, 64), "a"), "numbers"),
        (np.zeros((64, 64), dtype=complex), "numbers"),
    ],
)
def test_crops_that_cannot_be_taken_are_refused(encoder: Encoder, wrong: np.ndarray, words: str) -> None:
    with pytest.raises(EncoderError, match=words):
        encoder.embed(wrong)


def test_seed_decides_the_weights_and_leaves_torch_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = Encoder.untrained(seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert first.fingerprint == Encoder.untrained(seed=1).fingerprint
    assert first.fingerprint != Encoder.untrained(seed=2).fingerprint


def test_file_gives_the_same_encoder_back(encoder: Encoder, crops: np.ndarray, saved: Path) -> None:
    loaded = Encoder.load(saved, device=encoder.device)
    np.testing.assert_array_equal(loaded.embed(crops), encoder.embed(crops))
    assert loaded.header == encoder.header
    assert loaded.fingerprint == encoder.fingerprint
    assert loaded.windows == DEFAULT_WINDOWS


def test_saving_twice_gives_the_same_bytes(encoder: Encoder, saved: Path) -> None:
    before = saved.read_bytes()
    encoder.save(saved)
    assert saved.read_bytes() == before
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_header_says_what_a_reader_needs(encoder: Encoder) -> None:
    header = encoder.header
    assert header["architecture"] == "resnet18+2conv3x3+gem+l2"
    assert header["network"]["windows"] == [[-160, 240], [-1350, 150], [-500, 1300]]
    assert header["crop"] == {"size_px": 64, "min_side_mm": 50.0, "context": 1.5}
    assert header["training"] == {"objective": "none", "seed": 0}
    assert set(header["versions"]) == {"lesiondash", "torch", "torchvision"}
    header["network"]["slices"] = 7
    assert encoder.header["network"]["slices"] == 1


def test_device_is_named_in_words(encoder: Encoder) -> None:
    if torch.cuda.is_available():
        assert encoder.device == "cuda:0"
        assert encoder.device_name == torch.cuda.get_device_name(0)
    else:
        assert encoder.device == "cpu"
        assert encoder.device_name.startswith(f"CPU, {torch.get_num_threads()} thread")


def test_one_window_makes_one_channel(crops: np.ndarray) -> None:
    encoder = Encoder.untrained(windows=[(-100, 300)])
    assert encoder.architecture.channels == 1
    assert encoder.embed(crops).shape == (5, 512)


@pytest.mark.parametrize("windows", [[], [(100, 100)], [(200, 100)], [(0, np.inf)], [(1, 2, 3)], [("a", "b")]])
def test_windows_without_width_are_refused(windows: Any) -> None:
    with pytest.raises(EncoderError, match="window"):
        Encoder.untrained(windows=windows)


def test_windows_are_linear_and_clipped() -> None:
    hu = torch.tensor([[[-200.0, -160.0, 40.0, 240.0, 300.0]]])
    shown = window_channels(hu, [(-160, 240)])
    torch.testing.assert_close(shown, torch.tensor([[[[0.0, 0.0, 0.5, 1.0, 1.0]]]]))


def test_gem_runs_from_the_mean_towards_the_maximum() -> None:
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(GeM(p=1.0)(x), x.mean(dim=(2, 3)))
    torch.testing.assert_close(GeM(p=3.0)(x), (x**3).mean(dim=(2, 3)) ** (1 / 3))
    assert bool((GeM(p=6.0)(x) > GeM(p=3.0)(x)).all())
    assert bool((GeM(p=6.0)(x) < x.amax(dim=(2, 3))).all())


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"nothing\.safetensors"):
        Encoder.load(tmp_path / "nothing.safetensors")


class Poison:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.target),)

    def __init__(self, target: Path) -> None:
        self.target = str(target)


def test_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, target = tmp_path / "poison.safetensors", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Poison(target)))
    with pytest.raises(EncoderError, match=r"poison\.safetensors is not a safetensors file"):
        Encoder.load(path)
    torch.save({"weights": Poison(target)}, path)
    with pytest.raises(EncoderError, match=r"poison\.safetensors is not a safetensors file"):
        Encoder.load(path)
    assert not target.exists()


def test_cut_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-1000])
    with pytest.raises(EncoderError, match=saved.name):
        Encoder.load(saved)


def test_file_without_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.ones(1)}, str(path))
    with pytest.raises(EncoderError, match=r"foreign\.safetensors has no lesiondash header"):
        Encoder.load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header, weights: header.update(architecture="resnet50"), "resnet50"),
        (lambda header, weights: header.update(format=99), "99"),
        (lambda header, weights: header.update(crop={"size_px": 32}), "geometry"),
        (lambda header, weights: header.update(network={"windows": [[5, 5]] * 3}), "no width"),
        (lambda header, weights: header.update(network={"windows": None}), "not pairs"),
        (lambda header, weights: header.update(network={"windows": [[0, 1]]}), "do not fit"),
        (lambda header, weights: weights.pop("pool.p"), "do not fit"),
        (lambda header, weights: weights["pool.p"].fill_(np.nan), "not finite"),
    ],
)
def test_file_that_does_not_fit_is_refused(saved: Path, change: Any, words: str) -> None:
    rewrite(saved, change)
    with pytest.raises(EncoderError, match=words) as caught:
        Encoder.load(saved)
    assert saved.name in str(caught.value)


def test_folder_that_cannot_be_written_is_named(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EncoderError, match="could not be written"):
        encoder.save(tmp_path / "file" / "encoder.safetensors")


def test_fingerprint_is_read_without_torch(tmp_path: Path) -> None:
    from lesiondash.learning.checkpoint import fingerprint_of

    encoder = Encoder.untrained(seed=5)
    encoder.save(tmp_path / "a.safetensors")
    assert fingerprint_of(tmp_path / "a.safetensors") == encoder.fingerprint
    (tmp_path / "b.safetensors").write_bytes(b"not a checkpoint")
    assert fingerprint_of(tmp_path / "b.safetensors") is None
    assert fingerprint_of(tmp_path / "absent.safetensors") is None


def test_onnx_gives_the_same_vectors_without_torch(encoder: Encoder, crops: np.ndarray, tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "encoder.onnx"
    encoder.export_onnx(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        views = encoder.inputs(crops[:count, None]).numpy()
        np.testing.assert_allclose(session.run(None, {"views": views})[0], encoder.embed(crops[:count]), atol=1e-5)
