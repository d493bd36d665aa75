"""An evaluation as one HTML file that needs nothing beside it: tables, plots, and the lesions behind the numbers."""

from __future__ import annotations

import base64
import io
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesiondash.errors import CollectionError
from lesiondash.evaluate import HEADLINE, SCOPE_NAMES, Evaluation, differences
from lesiondash.records import WINDOWS
from lesiondash.retrieval.intervals import Interval
from lesiondash.retrieval.protocol import ScopeScore

SHOWN = ("P@1", "P@10", "AP_min@10", "AP_hit@10", "mP@10", "MAP@R")
HUBS, WORST, EXAMPLES, TILES = 10, 6, 3, 9
COLOURS = ("#1f77b4", "#e07b00", "#2a9d5c", "#8a5fbf")
STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f42; --bad: #b3261e; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; display: block; overflow-x: auto; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
figure { margin: .5rem 0; } figure > img { max-width: 100%; background: #fff; border-radius: 6px; }
.row { display: flex; flex-wrap: wrap; gap: .5rem; margin: .4rem 0 1rem; }
.tile { width: 92px; font-size: 12px; line-height: 1.25; } .tile img { width: 88px; border: 2px solid transparent; }
.hit img { border-color: var(--good); } .miss img { border-color: var(--bad); } .query { margin-right: 1rem; }
.note { opacity: .75; }
"""


def write_report(path: Path, found: Mapping[str, Evaluation], crops: npt.NDArray[np.int16], title: str) -> None:
    """Write the report of encoders, by name, that were evaluated on the same lesions; whole or not at all.

    crops: (n, 64, 64) HU of those lesions. No lesion or patient is named in it. Raises `CollectionError` where the
    file cannot be written.
    """
    first = next(iter(found.values()))
    parts = [f"<h1>{escape(title)}</h1>", _opening(first), _trust(found), _score_tables(found)]
    if HEADLINE in first.scopes and first.scopes[HEADLINE].queries:
        parts += [_type_section(found), _confusion_section(found), _lesion_sections(first, crops)]
    parts.append(_vectors_section(found))
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    page = f'{head}<meta name="viewport" content="width=device-width"><style>{STYLE}</style>{"".join(parts)}</html>'
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(page, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise CollectionError(f"The report could not be written to {path.name} ({error.strerror}).") from error
    finally:
        part.unlink(missing_ok=True)


def _opening(first: Evaluation) -> str:
    patients = len({lesion.patient_id for lesion in first.lesions})
    return (
        f"<p>{len(first.lesions):,} lesions of {patients:,} patients, each asked for once among the others; near "
        "duplicates are left out. Right is a lesion of the same type. Intervals hold 95 % of the means of 2,000 "
        "resamples of patients. <b>For research and teaching, not for diagnosis.</b></p>"
    )


def _trust(found: Mapping[str, Evaluation]) -> str:
    rows = [
        (name, guard.name, "holds" if guard.passed else "DOES NOT HOLD", guard.found)
        for name, evaluation in found.items()
        for guard in evaluation.guards
    ]
    return "<h2>What has to hold</h2>" + _table(("encoder", "guard", "", "found"), rows)


def _score_tables(found: Mapping[str, Evaluation]) -> str:
    """One table and one plot for each scope."""
    parts = []
    for scope in sorted(next(iter(found.values())).scopes, key=lambda scope: scope != HEADLINE):
        scored = {name: each for name, each in found.items() if each.scopes[scope].queries}
        if not scored:
            parts.append(f"<h2>Scope: {SCOPE_NAMES[scope]}</h2><p>No query has anything relevant to find here.</p>")
            continue
        rows = []
        for name, evaluation in scored.items():
            score, by_type = evaluation.scopes[scope], evaluation.macro_intervals(scope)
            bounds = (score.chance, score.ceiling), (score.macro_chance, score.macro_ceiling)
            for measure, part in evaluation.intervals(scope).items():
                plain, over_types = ([f"{bound[measure]:.3f}" for bound in pair] for pair in bounds)
                rows.append((name, measure, str(part), *plain, str(by_type[measure]), *over_types))
        score = next(iter(scored.values())).scopes[scope]
        note = f"{score.queries:,} queries, {score.skipped:,} with nothing to find ({score.coverage:.1%} covered)."
        head = (
            "encoder",
            "measure",
            "score [95 %]",
            "chance",
            "ceiling",
            "mean over types [95 %]",
            "its chance",
            "its ceiling",
        )
        parts.append(
            f"<h2>Scope: {SCOPE_NAMES[scope]}</h2><p class=note>{note}</p>"
            + _picture(_draw_scores(scored, scope), f"Scores in the scope {SCOPE_NAMES[scope]}")
            + _table(head, rows)
            + _gains(scored, scope)
        )
    return "".join(parts)


def _gains(found: Mapping[str, Evaluation], scope: str) -> str:
    """The first encoder against each other one, query by query."""
    rows = [
        (f"{first} − {other}", measure, f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]", _clear(gain))
        for first, other, gains in differences(found, scope)
        for measure, gain in gains.items()
    ]
    return _table(("difference", "measure", "same queries, same resamples [95 %]", ""), rows) if rows else ""


def _clear(gain: Interval) -> str:
    return "clear of zero" if gain.clear_of_zero else ""


def _type_section(found: Mapping[str, Evaluation]) -> str:
    figure, axis = _figure(9, 3.4)
    kinds = sorted({kind for each in found.values() for kind in each.scopes[HEADLINE].types})
    width = 0.8 / len(found)
    for number, (name, evaluation) in enumerate(found.items()):
        parts = evaluation.scopes[HEADLINE].per_type
        heights = [parts[kind].scores["P@10"] if kind in parts else 0.0 for kind in kinds]
        places = np.arange(len(kinds)) + (number - (len(found) - 1) / 2) * width
        axis.bar(places, heights, width, label=name, color=COLOURS[number % len(COLOURS)])
    chance = next(iter(found.values())).scopes[HEADLINE].per_type
    for place, kind in enumerate(kinds):
        axis.hlines(chance[kind].chance["P@10"], place - 0.45, place + 0.45, colors="#444", linestyles="--")
    axis.set_xticks(range(len(kinds)), kinds)
    axis.set(ylabel="P@10, other patients", ylim=(0, 1))
    axis.legend(fontsize=8, frameon=False)
    return "<h2>By type</h2>" + _picture(figure, "P@10 of each type; dashed: chance")


def _confusion_section(found: Mapping[str, Evaluation]) -> str:
    """What types come back for each type: shares among the ten found first."""
    parts = [
        "<h2>What comes back</h2><p class=note>Types among the ten found first, other patients; rows add to 1.</p>"
    ]
    for name, evaluation in found.items():
        score = evaluation.scopes[HEADLINE]
        kinds = sorted({lesion.type for lesion in evaluation.lesions})
        shares = retrieved_types(score, [lesion.type for lesion in evaluation.lesions], kinds)
        figure, axis = _figure(6.2, 4.6)
        axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        for (i, j), value in np.ndenumerate(shares):
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="w" if value > 0.6 else "k")
        axis.set_xticks(range(len(kinds)), kinds, rotation=30)
        axis.set_yticks(range(len(kinds)), kinds)
        axis.set(title=name, xlabel="found", ylabel="asked")
        parts.append(_picture(figure, f"Types found for each type, {name}"))
    return "".join(parts)


def retrieved_types(score: ScopeScore, types: Sequence[str], kinds: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return, for each asked type, the share of each type among the lesions found first; 0 where it was not asked."""
    number = {kind: place for place, kind in enumerate(kinds)}
    counts = np.zeros((len(kinds), len(kinds)))
    for kind, nearest in zip(score.types, score.nearest, strict=True):
        for row in nearest[nearest >= 0]:
            counts[number[kind], number[types[row]]] += 1
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _lesion_sections(evaluation: Evaluation, crops: npt.NDArray[np.int16]) -> str:
    score = evaluation.scopes[HEADLINE]
    found = np.bincount(score.nearest[score.nearest >= 0], minlength=len(evaluation.lesions))
    hubs = np.argsort(-found, kind="stable")[:HUBS]
    tiles = "".join(_tile(evaluation, crops, row, f"found {found[row]} times") for row in hubs)
    order = np.argsort(score.values[:, score.measures.index("AP_min@10")], kind="stable")
    worst = "".join(_query(evaluation, crops, score, place) for place in order[:WORST])
    # Examples from all over: the queries at the quarter, the middle and the three quarters of the scores.
    spread = [order[round(share * (len(order) - 1))] for share in np.linspace(0.25, 0.75, EXAMPLES)]
    examples = "".join(_query(evaluation, crops, score, place) for place in spread)
    return (
        f"<h2>Hubs</h2><p class=note>Lesions found most often among the first ten, {escape(evaluation.name)}.</p>"
        f"<div class=row>{tiles}</div><h2>Examples</h2>{examples}<h2>Worst queries</h2>{worst}"
    )


def _query(evaluation: Evaluation, crops: npt.NDArray[np.int16], score: ScopeScore, place: int) -> str:
    """One query and its nine."""
    row, own = int(score.rows[place]), score.types[place]
    window = _window_of(own)
    tiles = [_tile(evaluation, crops, row, "asked", "query", window)]
    for other in score.nearest[place][:TILES]:
        if other >= 0:
            note, kind = ("right", "hit") if evaluation.lesions[other].type == own else ("wrong", "miss")
            tiles.append(_tile(evaluation, crops, int(other), note, kind, window))
    return f"<div class=row>{''.join(tiles)}</div>"


def _tile(
    evaluation: Evaluation, crops: npt.NDArray[np.int16], row: int, note: str, kind: str = "", window: str = ""
) -> str:
    """One lesion through the window of that name; by default the one that its type is read in."""
    from PIL import Image

    window = window or _window_of(evaluation.lesions[row].type)
    lesion = evaluation.lesions[row]
    stream = io.BytesIO()
    Image.fromarray((255 * WINDOWS[window].apply(crops[row])).astype(np.uint8)).save(stream, "PNG")
    said = f"{lesion.type}, {max(lesion.diameters_mm):.0f} mm"
    picture = f'<img alt="{escape(said)}, {escape(note)}" src="data:image/png;base64,{_base64(stream)}">'
    return f'<div class="tile {kind}">{picture}<br>{escape(said)}<br><span class=note>{escape(note)}</span></div>'


def _window_of(kind: str) -> str:
    return kind if kind in ("bone", "lung") else "soft tissue"


def _vectors_section(found: Mapping[str, Evaluation]) -> str:
    label_free = [(name, key, f"{value:.3f}") for name, each in found.items() for key, value in each.label_free.items()]
    told = [
        (name, probe, key, str(each.classification_intervals[probe].get(key, f"{value:.3f}")))
        for name, each in found.items()
        for probe, scores in each.classification.items()
        for key, value in scores.items()
    ]
    parts = ["<h2>The vectors</h2>", _table(("encoder", "without labels", "value"), label_free)]
    if told:
        parts += ["<h2>Telling types apart</h2>", _table(("encoder", "by", "measure", "value [95 %]"), told)]
    return "".join(parts)


def _draw_scores(found: Mapping[str, Evaluation], scope: str) -> Any:
    figure, axis = _figure(9, 0.5 * len(SHOWN) * max(1, 0.6 * len(found)) + 0.9)
    for number, (name, evaluation) in enumerate(found.items()):
        intervals = evaluation.intervals(scope)
        places = np.arange(len(SHOWN)) + 0.22 * (number - (len(found) - 1) / 2)
        means = [intervals[measure].mean for measure in SHOWN]
        errors = np.array([[i.mean - i.low, i.high - i.mean] for i in (intervals[m] for m in SHOWN)]).T.clip(min=0)
        colour = COLOURS[number % len(COLOURS)]
        axis.errorbar(means, places, xerr=errors, fmt="o", color=colour, label=name, capsize=3)
    score = next(iter(found.values())).scopes[scope]
    for place, measure in enumerate(SHOWN):
        axis.vlines(score.chance[measure], place - 0.35, place + 0.35, colors="#888", linestyles="--")
        axis.vlines(score.ceiling[measure], place - 0.35, place + 0.35, colors="#888")
    axis.set_yticks(range(len(SHOWN)), SHOWN)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1.02), xlabel="dashed: chance · solid: a perfect ranking")
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _picture(figure: Any, said: str) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return f'<figure><img alt="{escape(said)}" src="data:image/png;base64,{_base64(stream)}"></figure>'


def _base64(stream: io.BytesIO) -> str:
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
