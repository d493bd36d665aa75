"""What the page shows, as the query of a link and as Python that does the same; both come back the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import get_args
from urllib.parse import parse_qsl, urlencode

from lesiondash.errors import LesionDashError, LinkError
from lesiondash.frangi.presets import to_link, to_python
from lesiondash.records import Box, FrangiParams, SearchScope, Window
from lesiondash.retrieval.table import Where

MOST_SLICES = 1_000_000


@dataclass(frozen=True)
class ViewLink:
    """What to open, beside the filter's settings; None leaves the page as it is.

    scan: the name of a demonstration case, `lesion ` with a lesion's id, or the uid of a series that was dropped;
    slice_number counts from 1, as the page and the command line do; box in pixels. where: types, splits and size_mm.
    """

    scan: str | None = None
    slice_number: int | None = None
    box: Box | None = None
    window: Window | None = None
    scope: SearchScope | None = None
    where: Where | None = None


def to_query(view: ViewLink, params: FrangiParams) -> str:
    """Return a link's query, without its question mark.

    >>> to_query(ViewLink("case_01", 16, Box(84.5, 116, 101, 134)), FrangiParams())[:41]
    'scan=case_01&slice=16&box=84.5,116,101,13'
    """
    values: dict[str, str] = {}
    if view.scan is not None:
        values["scan"] = view.scan
    if view.slice_number is not None:
        values["slice"] = str(view.slice_number)
    if view.box is not None:
        values["box"] = ",".join(f"{edge:.10g}" for edge in (view.box.x0, view.box.y0, view.box.x1, view.box.y1))
    if view.window is not None:
        values["window"] = f"{view.window.center_hu:.10g},{view.window.width_hu:.10g}"
    if view.scope is not None:
        values["scope"] = view.scope
    if view.where is not None:
        names = {"types": view.where.types, "splits": view.where.splits}
        values |= {name: ",".join(given) for name, given in names.items() if given}
        if view.where.size_mm is not None:
            values["size_mm"] = ",".join(f"{end:.10g}" for end in view.where.size_mm)
    return "&".join(filter(None, (urlencode(values, safe=","), to_link(params))))


def from_query(query: str) -> ViewLink:
    """Return what a link's query asks for; names that are not of a view are left to others.

    Raises `LinkError` for a value that is none.

    >>> from_query("scan=case_01&slice=16&beta=0.6").slice_number
    16
    """
    given = dict(parse_qsl(query.removeprefix("?")))
    scope = given.get("scope")
    if scope is not None and scope not in get_args(SearchScope):
        raise LinkError(f"The link's scope is {scope[:40]!r}; it can be {', '.join(get_args(SearchScope))}.")
    number = _numbers(given, "slice", 1)
    if number and not (number[0].is_integer() and 1 <= number[0] <= MOST_SLICES):
        raise LinkError(f"The link's slice is {given['slice'][:40]!r}; slices are counted from 1.")
    edges, levels = _numbers(given, "box", 4), _numbers(given, "window", 2)
    if levels and levels[1] < 1:
        raise LinkError(f"The link's window is {given['window'][:40]!r}; its width is 1 HU or more.")
    try:
        box = Box(*edges) if edges else None
    except LesionDashError as error:
        raise LinkError(f"The link cannot be opened. {error}") from error
    window = Window(*levels) if levels else None
    return ViewLink(
        given.get("scan"),
        int(number[0]) if number else None,
        box,
        window,
        scope,  # type: ignore[arg-type]
        _where(given),
    )


def _where(given: dict[str, str]) -> Where | None:
    """Return the restriction that a link asks for, None for none; raises `LinkError` for sizes that are none."""
    if not {"types", "splits", "size_mm"} & set(given):
        return None
    sizes = given.get("size_mm", "").removesuffix(",inf")
    ends = _numbers({"size_mm": sizes}, "size_mm", 2 if "," in sizes else 1) if sizes else []
    low, high = (*ends, math.inf)[:2] if ends else (0.0, math.inf)
    types, splits = (given[name].split(",") if given.get(name) else None for name in ("types", "splits"))
    try:
        return Where(types=types, splits=splits, size_mm=(low, high) if ends else None)
    except LesionDashError as error:
        raise LinkError(f"The link cannot be opened. {error}") from error


def _numbers(given: dict[str, str], name: str, count: int) -> list[float]:
    """Return the numbers under a name, [] where there are none; raises `LinkError` for other than `count` of them."""
    if name not in given:
        return []
    try:
        numbers = [float(part) for part in given[name].split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(abs(number) < 1e9 for number in numbers):
        raise LinkError(f"The link's {name} is {given[name][:40]!r}; it is made of {count} number{'s' * (count > 1)}.")
    return numbers


@dataclass(frozen=True)
class CodeOf:
    """Where the Python of a view finds its series and its collection.

    collection, series: the expressions that open the collection and read the series of it or of files. query_id,
    patient_id: which lesion and whose scan the box is of, where they are known, so that it does not find itself.
    """

    collection: str
    series: str
    query_id: str | None = None
    patient_id: str | None = None


def to_code(view: ViewLink, params: FrangiParams, where: CodeOf, k: int) -> str:
    """Return Python that filters the view's box and prints its k nearest lesions, as the page does."""
    assert view.box is not None
    assert view.slice_number is not None
    window = view.window or Window(40, 400)
    known = {"query_id": where.query_id, "patient_id": where.patient_id}
    among = "".join(f", {name}={value!r}" for name, value in known.items() if value is not None)
    limits = view.where or Where()
    given = {"types": limits.types, "splits": limits.splits, "size_mm": limits.size_mm}
    said = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
    among += f", where=Where({said.replace('inf', 'math.inf')})" if said else ""
    edges = ", ".join(f"{getattr(view.box, each.name):.10g}" for each in fields(Box))
    return f"""\
import math

from lesiondash import Box, DeepLesion, Encoder, Where, Window, crop, frangi_filter, read_dicom
from lesiondash.images.crops import crop_slices
from lesiondash.paths import encoder_path, gallery_dir
from lesiondash.retrieval.gallery import Gallery
{to_python(params)}

collection = {where.collection}
series = {where.series}
box, index = Box({edges}), {view.slice_number - 1}

hu = crop(series.hu[index], box, spacing_mm=series.spacing_mm[1:])
seen = Window({window.center_hu:.10g}, {window.width_hu:.10g}).apply(hu)
response = frangi_filter(seen, params).response

gallery, encoder = Gallery.open(collection, gallery_dir(collection.root)), Encoder.load(encoder_path())
crops = crop_slices(series.hu, index, box, spacing_mm=series.spacing_mm, slices=encoder.architecture.slices)
hits = gallery.index.search(encoder.embed(crops)[0], {k}, {view.scope or "all"!r}{among})
for hit in hits:
    print(hit.rank, hit.lesion_id, hit.type, round(hit.similarity, 4))
"""
