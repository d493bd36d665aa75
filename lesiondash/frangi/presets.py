"""Named settings of the filter, and settings as Python, YAML and a link: each says itself and comes back the same."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from lesiondash.errors import FilterError
from lesiondash.frangi.formulas import check_params
from lesiondash.frangi.inputs import is_number
from lesiondash.records import DEFAULT_SIGMAS, FrangiParams

MAX_SCALES = 1000
MAX_TEXT = 100_000
"""Characters of a YAML text; a thousand scales take a quarter of it."""

PRESETS: dict[str, FrangiParams] = {
    "paper": FrangiParams(),
    "literal": FrangiParams(rho=0.0, formula="strict"),
    "balanced": FrangiParams(rho=0.68),
    "objectness": FrangiParams(formula="objectness"),
    "released-code": FrangiParams(beta=5.0, gamma=2e-8, sigmas=(2.0, 3.0), polarity="dark", normalise=True),
    "skimage": FrangiParams(formula="skimage"),
}
"""Settings by name; `MEANINGS` says what each is for."""

MEANINGS: dict[str, str] = {
    "paper": "Appendix A of Qi et al. 2023 as read here, eigenvalues fully promoted (ρ = 1): contours.",
    "literal": "The printed formula without promotion (ρ = 0); 0 where λ2 or λ3 has the other sign.",
    "balanced": "ρ = 0.68, at which a blob and a contour of the same strength respond alike.",
    "objectness": "The larger of blob and plate, Antiga 2007, against everything between; no ρ, no normalise.",
    "released-code": "The parameters in the authors' released code, which saturate to a map of signs; needs float64.",
    "skimage": "What skimage.filters.frangi returns for these parameters, for audit: no σ², its borders.",
}


def preset(name: str) -> FrangiParams:
    """Return the named setting; raises `FilterError`, listing the names, for an unknown one.

    >>> preset("balanced").rho
    0.68
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise FilterError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def preset_of(params: FrangiParams) -> str | None:
    """Return the name of the preset that these parameters are, or None.

    >>> preset_of(FrangiParams())
    'paper'
    """
    return next((name for name, each in PRESETS.items() if each == params), None)


def sweep(first: float, last: float, step: float) -> tuple[float, ...]:
    """Return scales from `first` to `last`, the end included where a whole number of steps leads to it.

    Raises `FilterError` for an empty sweep or more than `MAX_SCALES`.

    >>> sweep(1, 2, 0.25)
    (1.0, 1.25, 1.5, 1.75, 2.0)
    """
    if not all(map(is_number, (first, last, step))):
        raise FilterError(
            f"The sweep {reprlib.repr((first, last, step))} is not three numbers; give from, to and step."
        )
    if not (0 < first <= last and step > 0):
        raise FilterError(
            f"The sweep {first:g} to {last:g} by {step:g} is empty; take 0 < from ≤ to and a step above 0."
        )
    count = (last - first) / step + 1e-9
    if count >= MAX_SCALES:
        raise FilterError(f"The sweep has {count + 1:.0f} scales, more than {MAX_SCALES}; take a larger step.")
    return tuple(round(first + k * step, 10) for k in range(int(count) + 1))


def as_sweep(sigmas: tuple[float, ...]) -> tuple[float, float, float] | None:
    """Return from, to and step where `sweep` makes exactly these scales, two or more, of them; else None.

    >>> as_sweep((1.0, 1.5, 2.0)), as_sweep((1.0, 2.0, 4.0))
    ((1.0, 2.0, 0.5), None)
    """
    if len(sigmas) < 2:
        return None
    if sigmas == DEFAULT_SIGMAS:
        return 1.0, 9.0, 0.2
    first, last, step = sigmas[0], sigmas[-1], round(sigmas[1] - sigmas[0], 10)
    if not (0 < first <= last and step > 0 and (last - first) / step < MAX_SCALES - 1):
        return None
    return (first, last, step) if sweep(first, last, step) == sigmas else None


def _said_as_sweep(sigmas: tuple[float, ...]) -> tuple[float, float, float] | None:
    return as_sweep(sigmas) if len(sigmas) > 2 else None  # two scales are said sooner by themselves


def to_python(params: FrangiParams) -> str:
    """Return Python that makes these parameters, as `params`; only what differs from the defaults is named.

    >>> print(to_python(FrangiParams(rho=0.68)))
    from lesiondash import FrangiParams
    <BLANKLINE>
    params = FrangiParams(rho=0.68)
    """
    default = FrangiParams()
    parts, imports = [], "from lesiondash import FrangiParams\n"
    for each in fields(params):
        value = getattr(params, each.name)
        if value == getattr(default, each.name):
            continue
        swept = _said_as_sweep(value) if each.name == "sigmas" else None
        if swept is None:
            parts.append(f"{each.name}={value!r}")
        else:
            imports += "from lesiondash.frangi.presets import sweep\n"
            parts.append(f"sigmas=sweep({', '.join(map(repr, swept))})")
    return f"{imports}\nparams = FrangiParams({', '.join(parts)})"


def to_yaml(params: FrangiParams) -> str:
    """Return every parameter as a YAML mapping, readable by `from_yaml` also when defaults change.

    >>> print(to_yaml(FrangiParams()), end="")
    alpha: 1.0
    beta: 0.6
    gamma: 0.0444
    sigmas: {from: 1.0, to: 9.0, step: 0.2}
    rho: 1.0
    polarity: bright
    normalise: false
    formula: promotion
    """
    import yaml

    values = asdict(params)
    swept = _said_as_sweep(params.sigmas)
    values["sigmas"] = list(params.sigmas) if swept is None else dict(zip(("from", "to", "step"), swept, strict=True))
    return str(yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=1000))


def from_yaml(text: str) -> FrangiParams:
    """Return the parameters that a YAML mapping describes; names left out keep their defaults.

    sigmas: a list, or a mapping of from, to and step. Raises `FilterError` for text that is not such a mapping or
    longer than `MAX_TEXT`, an unknown or repeated name, or a value outside its domain.
    """
    import yaml

    if not isinstance(text, str):
        raise FilterError(f"The settings are {reprlib.repr(text)}, not text; give YAML, or call read_settings(path).")
    if len(text) > MAX_TEXT:
        raise FilterError(f"The settings have {len(text):,} characters, more than {MAX_TEXT:,}; give fewer.")
    try:
        # Every value is read as text, so that no kind of YAML's own can fail or mean something else.
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        found = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise FilterError(f"The settings are not YAML ({' '.join(str(error).split())}).") from error
    except RecursionError as error:
        raise FilterError("The settings are not YAML that can be read (nested too deeply).") from error
    if not isinstance(found, dict):
        raise FilterError("The settings are not a mapping; give lines such as `beta: 0.6`.")
    _refuse_repeats([key.value for key, _ in node.value])
    return _from_values(found)


def read_settings(path: Path) -> FrangiParams:
    """Return the parameters in a YAML file; raises `FilterError`, naming it, where they cannot be read."""
    try:
        return from_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FilterError(f"{path.name} cannot be read ({type(error).__name__}); give a YAML file.") from error
    except FilterError as error:
        raise FilterError(f"{path.name}: {error}") from error


def to_link(params: FrangiParams) -> str:
    """Return every parameter as the query of a link.

    >>> to_link(FrangiParams())
    'alpha=1.0&beta=0.6&gamma=0.0444&sigmas=1.0:9.0:0.2&rho=1.0&polarity=bright&normalise=false&formula=promotion'
    """
    values = asdict(params)
    swept = _said_as_sweep(params.sigmas)
    values["sigmas"] = ",".join(map(repr, params.sigmas)) if swept is None else ":".join(map(repr, swept))
    values["normalise"] = str(params.normalise).lower()
    return urlencode(values, safe=":,")


def from_link(query: str) -> FrangiParams:
    """Return the parameters in a link's query, with or without its question mark; the others keep their defaults.

    Raises `FilterError` for an unknown or repeated name, or a value outside its domain.

    >>> from_link("?rho=0.68&sigmas=1,2.5").sigmas
    (1.0, 2.5)
    """
    if not isinstance(query, str):
        raise FilterError(f"The link's settings are {reprlib.repr(query)}, not text; give what follows its `?`.")
    try:
        pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True, strict_parsing=bool(query.removeprefix("?")))
    except ValueError as error:
        raise FilterError(f"The link's settings {query!r} cannot be read; give pairs such as beta=0.6.") from error
    _refuse_repeats([name for name, _ in pairs])
    values: dict[str, Any] = dict(pairs)
    if "sigmas" in values:
        text = values["sigmas"]
        if ":" in text:
            ends = text.split(":")
            if len(ends) != 3:
                raise FilterError(f"The sigmas {text!r} are not from:to:step, as 1:9:0.2.")
            values["sigmas"] = dict(zip(("from", "to", "step"), ends, strict=True))
        else:
            values["sigmas"] = text.split(",")
    return _from_values(values)


def _from_values(values: Mapping[Any, Any]) -> FrangiParams:
    known = {each.name for each in fields(FrangiParams)}
    strange = [str(name) for name in values if name not in known]
    if strange:
        raise FilterError(
            f"There is no parameter {', '.join(strange)[:80]}; the filter has {', '.join(sorted(known))}."
        )
    read: dict[str, Any] = dict(values)
    for name in ("alpha", "beta", "gamma", "rho"):
        if name in read and not (name == "gamma" and read[name] == "auto"):
            read[name] = _number(name, read[name])
    if "sigmas" in read:
        read["sigmas"] = _sigmas(read["sigmas"])
    if isinstance(read.get("normalise"), str):
        read["normalise"] = {"true": True, "false": False}.get(read["normalise"].lower(), read["normalise"])
    params = FrangiParams(**read)
    check_params(params)
    return params


def _sigmas(value: Any) -> tuple[float, ...]:
    if isinstance(value, Mapping):
        if set(value) != {"from", "to", "step"}:
            raise FilterError(f"The sweep of sigmas has {', '.join(map(str, value))[:80]}; give from, to and step.")
        return sweep(*(_number(f"sigmas {name}", value[name]) for name in ("from", "to", "step")))
    if not isinstance(value, list | tuple):
        raise FilterError(f"sigmas is {reprlib.repr(value)}; give a list of scales, or from, to and step.")
    if len(value) > MAX_SCALES:
        raise FilterError(f"There are {len(value)} scales, more than {MAX_SCALES}.")
    return tuple(_number("sigma", each) for each in value)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise FilterError(f"{name} is {reprlib.repr(value)}, not a number.") from error


def _refuse_repeats(names: list[Any]) -> None:
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        raise FilterError(f"The settings name {', '.join(repeated)} more than once.")
