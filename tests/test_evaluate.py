"""What an evaluation may learn from, and what it says of an encoder that learned too much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lesiondash.evaluate import Evaluation, as_table, evaluate_encoders
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.learning.encoder import Encoder
from lesiondash.learning.network import build_net
from lesiondash.records import UNLABELLED

GUARD = "the encoder did not learn from these lesions' types"


def test_types_are_learned_outside_of_the_test_split_alone(demonstration: Path) -> None:
    lesions = DeepLesion(demonstration / "demo").lesions
    others = [item for item in lesions if item.split != "validation"]
    assert {item.split for item in others} >= {"train", "test"}
    seen = [item for item in others if item.may_teach]
    assert {item.split for item in seen} == {"train"}
    assert not replace(seen[0], type=UNLABELLED).may_teach


@pytest.fixture(scope="module")
def found(demonstration: Path) -> dict[tuple[str, str], Evaluation]:
    """By split and encoder: an untrained one, and one whose header says that it was tuned with types."""
    plain = Encoder.untrained(seed=0)
    header = plain.header
    tuned = Encoder(
        build_net(plain.architecture, seed=0),
        {**header, "training": {**header["training"], "finetuned": {"steps": 50}}},
    )
    scored = {}
    for split in ("validation", "test"):
        parts = evaluate_encoders(
            demonstration / "demo", {"plain": plain, "tuned": tuned}, split=split, scopes=("cross",)
        )
        scored.update({(split, name): each for name, each in parts.items()})
    return scored


@pytest.mark.parametrize(
    ("split", "name", "passed"),
    [("validation", "plain", True), ("validation", "tuned", False), ("test", "plain", True), ("test", "tuned", True)],
)
def test_an_encoder_is_not_scored_on_types_that_tuned_it(
    found: dict[tuple[str, str], Evaluation], split: str, name: str, passed: bool
) -> None:
    by_name = {guard.name: guard for guard in found[split, name].guards}
    assert by_name[GUARD].passed is passed
    said = as_table({name: found[split, name]})
    assert ("DO NOT TRUST" in said) is not passed


def test_scores_over_types_have_interval_chance_and_ceiling(found: dict[tuple[str, str], Evaluation]) -> None:
    one = found["test", "plain"]
    lines = as_table({"plain": one}).splitlines()
    score, by_type = one.scopes["cross"], one.macro_intervals("cross")["P@1"]
    line = next(line for line in lines if "P@1 by type" in line)
    for value in (by_type.mean, by_type.low, by_type.high, score.macro_chance["P@1"], score.macro_ceiling["P@1"]):
        assert f"{value:.3f}" in line
    assert by_type.mean == pytest.approx(score.macro["P@1"])
    assert any(line.startswith("plain, linear probe: accuracy ") and "[" in line for line in lines)
    assert any(line.startswith("plain, chance: accuracy ") for line in lines)
