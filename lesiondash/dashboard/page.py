"""The page: panels side by side, one state, one store."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from lesiondash.dashboard.panels.annotations import AnnotationsPanel
from lesiondash.dashboard.panels.frangi import FrangiPanel
from lesiondash.dashboard.panels.header import HeaderPanel
from lesiondash.dashboard.panels.load import LoadPanel
from lesiondash.dashboard.panels.many import ManyPanel
from lesiondash.dashboard.panels.map import MapPanel, import_plotly
from lesiondash.dashboard.panels.metrics import MetricsPanel
from lesiondash.dashboard.panels.pacs import PacsPanel
from lesiondash.dashboard.panels.search import SearchPanel
from lesiondash.dashboard.panels.sensitivity import SensitivityPanel
from lesiondash.dashboard.panels.share import SharePanel
from lesiondash.dashboard.panels.suggest import SuggestPanel
from lesiondash.dashboard.panels.train import TrainPanel
from lesiondash.dashboard.panels.view import ViewPanel
from lesiondash.dashboard.panels.volume import VolumePanel
from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import TopBar
from lesiondash.errors import LesionDashError
from lesiondash.paths import chosen_collection, encoder_path, gallery_dir

THEME = (Path(__file__).parent / "theme.css").read_text(encoding="utf-8")


class Dashboard:
    """The whole page, or its panels one by one in the cells of a notebook.

    `Dashboard()` opens the collection that `lesiondash prepare` made (or the one that `LESIONDASH_COLLECTION` names).
    Showing it in a cell draws the page; `.load`, `.pacs`, `.view`, `.suggest`, `.annotations`, `.frangi`, `.search`,
    `.map`, `.many`, `.metrics`, `.sensitivity`, `.train`, `.volume` and `.header` are its panels, whose actions are
    plain methods; each `.widget` can be shown alone.
    """

    def __init__(self, root: str | Path | None = None, *, partial: bool = False) -> None:
        self.state = State()
        folder = chosen_collection() if root is None else Path(root)
        partial = partial or os.environ.get("LESIONDASH_PARTIAL") == "1"
        self.topbar = TopBar()
        self.topbar.on_msg(self._on_message)
        try:
            self.store = Store(folder, gallery_dir(folder), encoder_path(), partial=partial)
        except LesionDashError as error:
            self.widget: widgets.Widget = widgets.VBox([_style(), self.topbar])
            self.widget.add_class("ld-page")
            self.topbar.notice = {"kind": "error", "text": str(error)}
            return
        self.state.observe(self._tell, "notice")
        self._make_panels()
        self.topbar.chips = [
            {"name": "collection", "value": f"{folder.name} · {len(self.store.gallery.lesions):,} lesions"}
        ]
        self.widget = self._arranged()
        # The kernel is idle while the browser draws the page: what is heavy loads then, not at the first search.
        threading.Thread(target=self._warm_up).start()  # it ends by itself, within seconds

    def _make_panels(self) -> None:
        self.share = SharePanel(self.state, self.store)  # first: the others begin with what the page's address asks for
        self.load = LoadPanel(self.state, self.store)
        self.pacs = PacsPanel(self.state, self.store)
        self.view = ViewPanel(self.state, self.store)
        self.suggest = SuggestPanel(self.state, self.store)
        self.annotations = AnnotationsPanel(self.state, self.store)
        self.frangi = FrangiPanel(self.state, self.store)
        self.sensitivity = SensitivityPanel(self.state, self.store)
        self.search = SearchPanel(self.state, self.store)
        self.many = ManyPanel(self.state, self.store)
        self.map = MapPanel(self.state, self.store)
        self.metrics = MetricsPanel(self.state, self.store)
        self.train = TrainPanel(self.state, self.store)
        self.header = HeaderPanel(self.state, self.store)
        self.volume = VolumePanel(self.state, self.store)

    def _arranged(self) -> widgets.Widget:
        page = widgets.Box(
            [
                _style(),
                self.topbar,
                _panel("Scans", "load", self.load.widget, self.pacs.widget),
                _panel("Slice", "view", self.view.widget, self.suggest.widget),
                _panel("Annotations", "annotations", self.annotations.widget),
                _panel("Filter", "frangi", self.frangi.widget),
                _panel("Nine most similar", "search", self.search.widget),
                widgets.VBox(
                    [
                        _panel("Map", "map", self.map.widget),
                        _panel("Many at once", "many", self.many.widget),
                        _panel("How well it finds", "metrics", self.metrics.widget),
                        _panel("How sensitive the filter is", "sensitivity", self.sensitivity.widget),
                        _panel("Training", "train", self.train.widget),
                        _panel("Planes and 3-D", "volume", self.volume.widget),
                        _panel("Header", "header", self.header.widget),
                    ]
                ).add_class("ld-stack"),
            ]
        )
        return page.add_class("ld-page")

    @tells_errors
    def _on_message(self, _: Any, content: dict[str, Any], __: list[Any]) -> None:
        if not hasattr(self, "store"):
            return
        if content.get("type") == "ready":
            self.topbar.send_state(
                "chips"
            )  # one that came while the browser fetched the page's state was lost on its way
            self.map.draw()
            self.share.open()
        elif content.get("type") == "share":
            self.topbar.send({"type": "shared", **self.share.said()})
        elif content.get("type") == "map_empty":
            self.map.draw_again()

    @tells_errors
    def _warm_up(self) -> None:
        """Load what the map and the search need, then say which encoder runs on which device."""
        import_plotly()
        encoder = self.store.encoder
        self.annotations.bring_over()
        windows = len(encoder.windows)
        self.topbar.chips = [
            *self.topbar.chips[:1],
            {"name": "encoder", "value": f"SimCLR-GeM · {windows} window{'s' if windows > 1 else ''}"},
            {"name": "device", "value": encoder.device_name},
        ]

    def _tell(self, change: Any) -> None:
        if change.new is not None:
            self.topbar.notice = {"kind": change.new.kind, "text": change.new.text}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)


def _style() -> widgets.HTML:
    return widgets.HTML(f"<style>{THEME}</style>").add_class("ld-style")


def _panel(title: str, name: str, *parts: widgets.Widget) -> widgets.Widget:
    heading = widgets.HTML(f"<h2>{title}</h2>")
    box = widgets.VBox([heading, *parts])
    box.add_class("ld-panel").add_class(f"ld-panel-{name}")
    return box
