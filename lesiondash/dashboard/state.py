"""What the page knows about itself: small immutable values, one writer for each.

| trait | written by | read by |
|---|---|---|
| focus, beside, wished_… | `State.show`, `.show_beside`, `.ask_…` (any panel asks, none writes) | view |
| slice_index, region, window, annotations | view | frangi, search, annotations |
| params | frangi | sensitivity |
| scope, where, hits, query_xy | search (at first: share) | map, share |
| selection | map | search, sensitivity |
| collection_version | annotations (lesions were added or removed) | search, map |
| notice | `State.say` | page |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import traitlets as t

from lesiondash.errors import LesionDashError
from lesiondash.records import WINDOWS, Annotation, Box, FrangiParams, Window
from lesiondash.retrieval.table import Where


@dataclass(frozen=True)
class Focus:
    """A request to show a series at a slice, with a box drawn or none."""

    series_uid: str
    slice_index: int
    box: Box | None
    search: bool


@dataclass(frozen=True)
class Region:
    """A box on a slice of a series: what the filter shows and the search looks for."""

    series_uid: str
    slice_index: int
    box: Box
    search: bool = True


@dataclass(frozen=True)
class Notice:
    """One sentence for the person at the page."""

    kind: Literal["info", "error"]
    text: str


class State(t.HasTraits):
    """The page's small values; arrays live in the `Store`, by id."""

    focus = t.Instance(Focus, allow_none=True)
    beside = t.Instance(Focus, allow_none=True)
    slice_index = t.Int(0)
    region = t.Instance(Region, allow_none=True)
    window = t.Instance(Window, args=(WINDOWS["soft tissue"].center_hu, WINDOWS["soft tissue"].width_hu))
    wished_window = t.Instance(Window, allow_none=True)
    params = t.Instance(FrangiParams, args=())
    scope = t.Enum(("all", "same", "cross"), "cross")
    where = t.Instance(Where, args=())
    hits = t.Tuple()
    query_xy = t.Tuple(allow_none=True, default_value=None)
    selection = t.Tuple()
    annotations = t.Tuple()
    wished_annotations = t.Tuple(allow_none=True, default_value=None)
    collection_version = t.Int(0)
    notice = t.Instance(Notice, allow_none=True)

    def show(self, series_uid: str, slice_index: int, box: Box | None = None, *, search: bool = True) -> None:
        """Ask the viewer for a series, a slice and a box; `search` false leaves the nine as they are."""
        self.focus = None
        self.focus = Focus(series_uid, slice_index, box, search)

    def show_beside(self, series_uid: str, slice_index: int, box: Box | None = None) -> None:
        """Ask the viewer for a second series beside the one it shows, which stays as it is."""
        self.beside = None
        self.beside = Focus(series_uid, slice_index, box, search=False)

    def ask_window(self, window: Window) -> None:
        """Ask the viewer for a window."""
        self.wished_window = None
        self.wished_window = window

    def ask_annotations(self, annotations: tuple[Annotation, ...]) -> None:
        """Ask the viewer for these annotations on the series shown, as one step that can be undone."""
        self.wished_annotations = None
        self.wished_annotations = annotations

    def say(self, text: str, kind: Literal["info", "error"] = "info") -> None:
        """Tell the person at the page one sentence; the same one twice is shown twice."""
        self.notice = None
        self.notice = Notice(kind, text)


def tells_errors(action: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a panel's action: what goes wrong reaches the page as a sentence, never as a traceback."""

    @wraps(action)
    def guarded(panel: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return action(panel, *args, **kwargs)
        except LesionDashError as error:
            panel.state.say(str(error), "error")
        except MemoryError:
            panel.state.say("There is not enough memory for this; load fewer slices at a time.", "error")
        except Exception as error:
            panel.state.say(
                f"This did not work ({type(error).__name__} in {action.__name__}); the page goes on as it was. "
                "Please report it.",
                "error",
            )
        return None

    return guarded
