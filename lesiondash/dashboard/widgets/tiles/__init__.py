"""The nine nearest lesions as tiles, windowed in the browser like the query beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class Tiles(anywidget.AnyWidget):
    """hits: one dict a tile; crops: their int16 HU, one after another; query: the query's own crop, likewise; types:
    its likely types and their probabilities; vote: what the tiles' types say; filters, k, ranking: what is
    searched for and how;
    feedback: what is liked and not, and how the list moved; why: shares of one tile's similarity; timeline: the
    lesion again.
    """

    _esm = module(HERE, "tiles")
    _css = HERE / "tiles.css"
    hits = t.List().tag(sync=True)
    crops = t.Bytes(b"").tag(sync=True)
    query = t.Bytes(b"").tag(sync=True)
    types = t.List().tag(sync=True)
    scope = t.Unicode("cross").tag(sync=True)
    scopes = t.List().tag(sync=True)
    window = t.List([40.0, 400.0]).tag(sync=True)
    title = t.Unicode("").tag(sync=True)
    status = t.Unicode("").tag(sync=True)
    opened = t.Unicode("").tag(sync=True)
    k = t.Int(9).tag(sync=True)
    ks = t.List([9, 15, 25, 45]).tag(sync=True)
    filters = t.Dict({"types": None, "size_mm": [None, None], "splits": None}).tag(sync=True)
    known_types = t.List().tag(sync=True)
    known_splits = t.List().tag(sync=True)
    ranking = t.Unicode("cosine").tag(sync=True)
    rankings = t.List(["cosine"]).tag(sync=True)
    vote = t.Unicode("").tag(sync=True)
    feedback = t.Dict().tag(sync=True)
    why = t.Dict().tag(sync=True)
    timeline = t.List().tag(sync=True)

    def __init__(self, on_action: Callable[[dict[str, Any]], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: on_action(content))
