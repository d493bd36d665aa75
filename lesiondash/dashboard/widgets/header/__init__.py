"""A header as a table to search in and copy from."""

from pathlib import Path

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class HeaderTable(anywidget.AnyWidget):
    """rows: [tag, name, VR, value, private] of each element; removed: names of elements; shown: a series is."""

    _esm = module(HERE, "header")
    _css = HERE / "header.css"
    shown = t.Bool(False).tag(sync=True)
    rows = t.List().tag(sync=True)
    removed = t.List().tag(sync=True)
