from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesiondash.errors import EncoderError, TrainingError
from lesiondash.learning.classifier import LesionClassifier, calibration_error

TYPES = ("bone", "liver", "lung")


def toy(n: int, noise: float, seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    """Unit vectors round one direction for each type, so much noise that they mix."""
    random = np.random.default_rng(seed)
    labels = random.integers(3, size=n)
    x = np.eye(12)[labels] + noise * random.normal(size=(n, 12))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32), [TYPES[k] for k in labels], [str(k // 3) for k in range(n)]


def test_types_are_told_and_probabilities_add_up() -> None:
    x, types, patients = toy(150, 0.1)
    model = LesionClassifier.fit(x, types, patients, encoder="abc")
    found = model.probabilities(x)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert [model.types[k] for k in found.argmax(axis=1)] == types
    np.testing.assert_allclose(model.probabilities(x[0]), found[0], atol=1e-6)


def test_probabilities_are_calibrated_on_patients_it_did_not_see() -> None:
    model = LesionClassifier.fit(*toy(900, 0.6))
    x, types, _ = toy(3000, 0.6, seed=1)
    truth = np.array([model.types.index(name) for name in types])
    found = model.probabilities(x)
    accuracy = (found.argmax(axis=1) == truth).mean()
    assert 0.5 < accuracy < 0.95  # or the test would say nothing
    assert calibration_error(found, truth) < 0.04


def test_noise_alone_leaves_it_unsure() -> None:
    x, types, patients = toy(300, 0.2)
    model = LesionClassifier.fit(np.random.default_rng(0).permutation(x), types, patients)
    assert model.probabilities(x).max(axis=1).mean() < 0.6


def test_calibration_error_has_its_closed_form() -> None:
    sure = np.tile([0.9, 0.1], (10, 1))
    assert calibration_error(sure, np.array([0] * 9 + [1])) == pytest.approx(0)
    assert calibration_error(sure, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.4)


def test_the_file_gives_it_back(tmp_path: Path) -> None:
    x, types, patients = toy(60, 0.2)
    model = LesionClassifier.fit(x, types, patients, encoder="abc")
    model.save(tmp_path / "classifier.safetensors")
    again = LesionClassifier.load(tmp_path / "classifier.safetensors")
    assert (again.types, again.encoder) == (model.types, "abc")
    np.testing.assert_array_equal(again.probabilities(x), model.probabilities(x))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(EncoderError, match=r"bad\.safetensors"):
        LesionClassifier.load(tmp_path / "bad.safetensors")
    with pytest.raises(EncoderError, match=r"absent\.safetensors"):
        LesionClassifier.load(tmp_path / "absent.safetensors")


def test_a_type_of_one_patient_is_learnt_all_the_same() -> None:
    x, types, patients = toy(60, 0.1)
    types = ["rare" if patient == "0" else name for name, patient in zip(types, patients, strict=True)]
    model = LesionClassifier.fit(x, types, patients)
    assert set(model.types) == {*TYPES, "rare"}


@pytest.mark.parametrize(("types", "patients"), [(["a"] * 6, list("112233")), (list("ababab"), ["1"] * 6)])
def test_too_little_to_learn_from_is_said(types: list[str], patients: list[str]) -> None:
    with pytest.raises(TrainingError, match="two types"):
        LesionClassifier.fit(np.eye(6), types, patients)


def test_what_it_never_saw_the_like_of_is_not_certain() -> None:
    x, types, patients = toy(40, 0.02)  # told apart without a mistake, in the folds too
    model = LesionClassifier.fit(x, types, patients)
    strange = np.random.default_rng(5).normal(size=(200, 12))
    strange /= np.linalg.norm(strange, axis=1, keepdims=True)
    assert model.probabilities(strange).max(axis=1).mean() < 0.95
    assert model.probabilities(x).max(axis=1).mean() > 0.9
