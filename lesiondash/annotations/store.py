"""The annotations of every series that was opened."""

from __future__ import annotations

from collections.abc import Iterable

from lesiondash.records import Annotation


class AnnotationStore:
    """Annotations by series uid, in the order in which they were drawn."""

    def __init__(self) -> None:
        self._by_series: dict[str, tuple[Annotation, ...]] = {}

    def of(self, series_uid: str) -> tuple[Annotation, ...]:
        """Return the annotations of one series."""
        return self._by_series.get(series_uid, ())

    def replace(self, series_uid: str, annotations: Iterable[Annotation]) -> None:
        """Keep these annotations, and no others, for one series."""
        self._by_series[series_uid] = tuple(annotations)
