"""Map: the collection in the plane, coloured and marked by type, with the query and its nine, and a lasso."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import numpy as np

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.records import LESION_TYPES, UNLABELLED
from lesiondash.startup import without_uri_grammar

# Okabe and Ito's colour-blind safe palette, each with a marker of its own: colour never speaks alone.
STYLE = dict(
    zip(
        (*LESION_TYPES, UNLABELLED),
        (
            ("#0072B2", "circle"),
            ("#E69F00", "square"),
            ("#56B4E9", "diamond"),
            ("#D55E00", "triangle-up"),
            ("#009E73", "triangle-down"),
            ("#CC79A7", "cross"),
            ("#B59F00", "x"),
            ("#7F7FD5", "pentagon"),
            ("#8A8F98", "circle-open"),
        ),
        strict=True,
    )
)
WEBGL_FROM = 6_000


class MapPanel:
    """A plotly figure, built when the page has been painted: its library is the page's largest part."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        waiting = widgets.HTML("<p class='ld-muted'>Drawing the map …</p>")
        self.widget = widgets.VBox([waiting])
        self.widget.add_class("ld-map")
        self.figure: Any = None
        self._rows: list[np.ndarray] = []
        state.observe(self._mark, ["hits", "query_xy"])
        state.observe(self._follow_collection, "collection_version")

    @tells_errors
    def draw(self) -> None:
        """Build the figure once."""
        if self.figure is not None:
            return
        go = import_plotly()
        points = go.Scattergl if len(self.store.gallery.lesions) >= WEBGL_FROM else go.Scatter
        self._rows = self._rows_by_type()
        lesions = [
            points(
                **self._points(rows),
                mode="markers",
                name=name,
                marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.75},
                unselected={"marker": {"opacity": 0.15}},
                hoverinfo="text",
            )
            for (name, (colour, symbol)), rows in zip(STYLE.items(), self._rows, strict=True)
        ]
        star = {"symbol": "star", "size": 18, "color": "#f0b429", "line": {"width": 1.2, "color": "#1b1f27"}}
        ring = {"symbol": "circle-open", "size": 15, "color": "#d29922", "line": {"width": 2.5}}
        figure = go.FigureWidget([*lesions, _marks("its nine", ring), _marks("query", star)], _layout())
        figure._config = {**figure._config, "responsive": True}  # as wide as its panel
        for trace in figure.data[: len(lesions)]:
            trace.on_selection(self._select)
            trace.on_deselect(self._deselect)
        self.figure = figure
        self.widget.children = (figure,)
        self._mark(None)

    def draw_again(self) -> None:
        """Build the figure anew: a busy browser may have drawn it before it had what is in it."""
        figure, self.figure = self.figure, None
        self.draw()
        if figure is not None:
            figure.close()

    def _rows_by_type(self) -> list[np.ndarray]:
        types = np.array([lesion.type for lesion in self.store.gallery.lesions])
        return [np.flatnonzero(types == name) for name in STYLE]

    def _points(self, rows: np.ndarray) -> dict[str, Any]:
        """Return where lesions lie and what they are; a type that has none is not in the legend."""
        xy = self.store.gallery.xy
        text = [self._label(row) for row in rows]
        return {"x": xy[rows, 0], "y": xy[rows, 1], "text": text, "showlegend": bool(len(rows))}

    @tells_errors
    def _follow_collection(self, _: Any) -> None:
        """Draw the points anew where lesions were added or removed; the collection's own stay where they are."""
        if self.figure is None:
            return
        before, self._rows = self._rows, self._rows_by_type()
        with self.figure.batch_update():
            for trace, old, rows in zip(self.figure.data, before, self._rows, strict=False):
                if not np.array_equal(old, rows):
                    trace.update(selectedpoints=None, **self._points(rows))
        self._mark(None)

    def _label(self, row: int) -> str:
        lesion = self.store.gallery.lesions[row]
        return f"{lesion.type}, {max(lesion.diameters_mm):.0f} mm<br>patient {lesion.patient_id}"

    def _mark(self, _: Any) -> None:
        """Ring the nine and star the query."""
        if self.figure is None:
            return
        rows = [hit.row for hit in self.state.hits]
        xy = self.store.gallery.xy
        nine, query = self.figure.data[-2:]
        with self.figure.batch_update():
            nine.x, nine.y = xy[rows, 0], xy[rows, 1]
            at = self.state.query_xy
            query.x, query.y = ([at[0]], [at[1]]) if at else ([], [])

    def _select(self, trace: Any, points: Any, _: Any) -> None:
        """Gather the lasso's points over all types: plotly tells each trace apart."""
        chosen: list[str] = []
        for rows, series in zip(self._rows, self.figure.data, strict=False):
            picked = points.point_inds if series is trace else (series.selectedpoints or ())
            chosen.extend(self.store.gallery.lesions[rows[i]].lesion_id for i in picked)
        self.state.selection = tuple(chosen)

    def _deselect(self, _: Any, __: Any) -> None:
        """A double click on the map gives the nine back."""
        self.state.selection = ()

    @tells_errors
    def select(self, lesion_ids: list[str]) -> None:
        """Select lesions as the lasso would."""
        self.state.selection = tuple(lesion_ids)


def import_plotly() -> Any:
    """Import plotly's graph objects, without what is slow in it and of no use to a map."""
    with without_uri_grammar():
        import plotly.graph_objects as go

        _ = go.FigureWidget  # plotly imports its classes at their first mention
    return go


def _marks(name: str, marker: dict[str, Any]) -> Any:
    return import_plotly().Scatter(x=[], y=[], mode="markers", name=name, marker=marker, hoverinfo="skip")


def _layout() -> dict[str, Any]:
    axis = {"visible": False, "showgrid": False, "zeroline": False}
    return {
        "dragmode": "lasso",
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "height": 360,
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "#7d8796", "size": 12},
        "legend": {"orientation": "h", "y": -0.02, "itemsizing": "constant"},
        "xaxis": axis,
        "yaxis": {**axis, "scaleanchor": "x"},
        "modebar": {"orientation": "h"},
        "uirevision": "keep",
    }
