"""The bar on top: what is loaded, on which device, theme, keys, and every notice to the person."""

from pathlib import Path

import anywidget
import traitlets as t

from lesiondash.dashboard.widgets.module import module

HERE = Path(__file__).parent


class TopBar(anywidget.AnyWidget):
    """Chips, theme switch, help, link and code, and notices.

    Says `ready` when the page has been painted, `map_empty` where the map was drawn without its lesions, and `share`
    when it wants link and code, which answer it as {type: "shared", link, code, why}.
    """

    _esm = module(HERE, "topbar")
    _css = HERE / "topbar.css"
    chips = t.List().tag(sync=True)
    notice = t.Dict().tag(sync=True)
