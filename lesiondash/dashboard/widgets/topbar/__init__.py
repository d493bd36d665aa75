"""The bar on top: what is loaded, on which device, theme, keys, and every notice to the person."""

from pathlib import Path

import anywidget
import traitlets as t

HERE = Path(__file__).parent


class TopBar(anywidget.AnyWidget):
    """Chips, theme switch, help, and notices; says `ready` when the page has been painted."""

    _esm = HERE / "topbar.js"
    _css = HERE / "topbar.css"
    chips = t.List().tag(sync=True)
    notice = t.Dict().tag(sync=True)
