"""Presets by name, and settings that come back the same from Python, YAML and a link."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import scene

from lesiondash.errors import FilterError
from lesiondash.frangi.formulas import check_params
from lesiondash.frangi.presets import (
    MEANINGS,
    PRESETS,
    as_sweep,
    from_link,
    from_yaml,
    preset,
    preset_of,
    sweep,
    to_link,
    to_python,
    to_yaml,
)
from lesiondash.frangi.response import frangi_filter
from lesiondash.records import DEFAULT_SIGMAS, FrangiParams

positive = st.floats(1e-12, 1e6)
settings = st.builds(
    FrangiParams,
    alpha=positive,
    beta=positive,
    gamma=positive | st.just("auto"),
    sigmas=st.lists(st.floats(0.1, 50), min_size=1, max_size=6).map(tuple)
    | st.sampled_from([DEFAULT_SIGMAS, sweep(2, 4, 0.5)]),
    rho=st.floats(0, 1),
    polarity=st.sampled_from(["bright", "dark", "both"]),
    normalise=st.booleans(),
    formula=st.sampled_from(["promotion", "strict", "objectness", "skimage"]),
)


@given(settings)
def test_settings_come_back_the_same(params: FrangiParams) -> None:
    made: dict[str, Any] = {}
    exec(to_python(params), made)
    assert made["params"] == params
    assert from_yaml(to_yaml(params)) == params
    assert from_link(to_link(params)) == params
    assert from_link("?" + to_link(params)) == params


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back_the_same(name: str) -> None:
    made: dict[str, Any] = {}
    exec(to_python(PRESETS[name]), made)
    assert preset_of(made["params"]) == name
    assert preset_of(from_yaml(to_yaml(PRESETS[name]))) == name
    assert preset_of(from_link("?" + to_link(PRESETS[name]))) == name


def test_numbers_of_numpy_are_said_as_pythons() -> None:
    plain = FrangiParams(alpha=1.0, beta=0.25, gamma=0.5, sigmas=(1.0, 2.0, 4.0), rho=1.0, normalise=True)
    same = FrangiParams(
        alpha=np.int8(1),  # type: ignore[arg-type]
        beta=np.float64(0.25),
        gamma=np.float32(0.5),  # type: ignore[arg-type]
        sigmas=np.array([1, 2, 4]),  # type: ignore[arg-type]
        rho=1,
        polarity=np.str_("bright"),  # type: ignore[arg-type]
        normalise=np.bool_(True),  # type: ignore[arg-type]
    )
    assert same == plain
    assert hash(same) == hash(plain)
    for say in (to_yaml, to_link, to_python):
        assert say(same) == say(plain)
    assert "np." not in to_link(FrangiParams(sigmas=[np.float64(1.5), np.float32(2.5)]))  # type: ignore[arg-type]


def test_presets_are_valid_named_and_explained() -> None:
    assert list(PRESETS) == list(MEANINGS)
    assert len(set(PRESETS.values())) == len(PRESETS)
    image = scene(0, (30, 40))
    for name, params in PRESETS.items():
        check_params(params)
        assert preset(name) is params
        assert preset_of(params) == name
        response = frangi_filter(image, params).response
        assert response.min() >= 0
        assert 0 < response.max() <= 1
    assert preset_of(FrangiParams(beta=0.61)) is None
    assert PRESETS["paper"] == FrangiParams()


def test_balanced_sees_blob_and_contour_alike() -> None:
    y, x = np.mgrid[:81, :81] - 40
    params = FrangiParams(rho=PRESETS["balanced"].rho, gamma=1e-4, sigmas=(3.0,))
    blob, ridge = np.exp(-(x**2 + y**2) / 18), np.exp(-(x**2) / 18)
    ratio = [frangi_filter(each, params).response[40, 40] for each in (blob, ridge)]
    assert ratio[0] == pytest.approx(ratio[1], rel=0.03)


def test_released_parameters_saturate() -> None:
    response = frangi_filter(scene(), PRESETS["released-code"]).response
    assert ((response < 0.02) | (response > 0.97)).all()


def test_unknown_preset() -> None:
    with pytest.raises(FilterError, match="paper, literal, balanced"):
        preset("best")


def test_sweep() -> None:
    assert sweep(1, 9, 0.2) == DEFAULT_SIGMAS
    assert sweep(2, 2, 1) == (2.0,)
    assert sweep(1, 2, 0.3) == (1.0, 1.3, 1.6, 1.9)
    for bad in ((0, 2, 1), (2, 1, 1), (1, 2, 0), (1, float("inf"), 1), (float("nan"), 2, 1)):
        with pytest.raises(FilterError, match="sweep"):
            sweep(*bad)
    with pytest.raises(FilterError, match="larger step"):
        sweep(1, 9, 1e-12)
    for wrong in (("1", 2, 1), (1, None, 1), (1, 2, True), (1, float("nan"), 1)):
        with pytest.raises(FilterError, match="not three numbers"):
            sweep(*wrong)  # type: ignore[arg-type]


def test_refuses_what_is_no_text() -> None:
    for read in (from_yaml, from_link):
        for wrong in (None, 1, b"beta: 1", ["beta"]):
            with pytest.raises(FilterError, match="not text"):
                read(wrong)  # type: ignore[arg-type]
    for name in (None, ["paper"], "other"):
        with pytest.raises(FilterError, match="no preset"):
            preset(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sharpness: 1", "no parameter sharpness"),
        ("beta: 1\nbeta: 2", "beta more than once"),
        ("beta: [1]", r"beta is \['1'\]"),
        ("beta: true", "beta is 'true'"),
        ("beta: .nan", "beta is '.nan'"),
        ("- 1", "not a mapping"),
        ("", "not a mapping"),
        ("{", "not YAML"),
        ("!!python/object/apply:os.getcwd []", "not a mapping"),
        ("sigmas: {from: 1}", "from, to and step"),
        ("sigmas: 3", "list of scales"),
        ("sigmas: []", "empty"),
        ("sigmas: [1, wide]", "wide"),
        ("sigmas: {from: 1, to: 9, step: 0}", "sweep"),
        ("gamma: half", "half"),
        ("normalise: 3", "normalise is '3'"),
        ("polarity: 1", "polarity is '1'"),
        ("formula: [1]", "formula"),
        ("alpha: 2020-13-45", "alpha is '2020-13-45'"),
        ("alpha: 0x_", "alpha is '0x_'"),
        ("alpha: !!int foo", "alpha is 'foo'"),
        ("normalise: !!bool foo", "normalise is 'foo'"),
        ("alpha: !!timestamp foo", "alpha is 'foo'"),
        ("[" * 3000, "nested too deeply"),
        ("alpha: {beta: 1}", "alpha is {'beta': '1'}"),
        ("? [1]\n: 2", "not YAML"),
    ],
)
def test_refuses_yaml(text: str, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        from_yaml(text)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sharpness=1", "no parameter sharpness"),
        ("beta=1&beta=2", "beta more than once"),
        ("beta=", "beta is ''"),
        ("beta", "cannot be read"),
        ("beta=inf", "beta is inf"),
        ("rho=2", "rho is 2"),
        ("sigmas=1:2", "from:to:step"),
        ("sigmas=1,,2", "sigma is ''"),
        ("sigmas=-1", "sigma = -1"),
        ("normalise=1", "normalise is '1'"),
        ("sigmas=" + ",".join(["1"] * 1001), "1001 scales"),
    ],
)
def test_refuses_a_link(query: str, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        from_link(query)


@pytest.mark.parametrize(
    "text", ["beta: " + "7" * 400, "beta: " + "x" * 400, "x" * 400 + ": 1", "sigmas: " + "x" * 400]
)
def test_refusals_are_short(text: str) -> None:
    with pytest.raises(FilterError, match="100,007 characters"):
        from_yaml("beta: 1" + " " * 100_000)
    with pytest.raises(FilterError) as caught:
        from_yaml(text)
    assert len(str(caught.value)) < 250


def test_truths_in_yaml() -> None:
    assert from_yaml("normalise: True").normalise is from_yaml("normalise: true").normalise is True
    assert from_yaml("normalise: false").normalise is False


def test_as_sweep() -> None:
    assert as_sweep(sweep(2, 4, 0.5)) == (2, 4, 0.5)
    assert as_sweep((2.0, 3.0)) == (2, 3, 1)
    assert as_sweep(DEFAULT_SIGMAS) == (1, 9, 0.2)
    for sigmas in ((2.0,), (1.0, 2.0, 4.0), (3.0, 2.0, 1.0), (1.0, 1.0)):
        assert as_sweep(sigmas) is None


def test_nothing_said_is_the_default() -> None:
    assert from_link("") == from_link("?") == from_yaml("{}") == FrangiParams()
    assert from_yaml("gamma: 2e-8").gamma == 2e-8
    assert from_link("sigmas=1:9:0.2&gamma=auto").gamma == "auto"
