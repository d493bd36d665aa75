"""The pictures that a run's folder keeps: its curves, and the views that the network saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PANELS = (
    ("loss", "Loss"),
    ("rate", "Learning rate"),
    ("spread", "Spread of the vectors (0: collapsed)"),
    ("rank", "Directions in use"),
    ("alignment", "Distance of two slices of a lesion"),
    ("uniformity", "Uniformity (lower: more even)"),
    ("knn", "Nearest neighbours agree on the type"),
    ("views_per_s", "Views per second"),
)
SHOWN = 6


def draw_metrics(metrics: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw every curve of a run over its steps, the loss with the line of chance; nothing where there is no curve."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [(name, title) for name, title in PANELS if any(name in row for row in metrics)]
    if not shown:
        return
    rows, chance = -(-len(shown) // 2), metrics[-1].get("chance")
    figure = Figure(figsize=(9, 2.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for axis, (name, title) in zip(axes, shown, strict=False):
        points = [(row["step"], row[name]) for row in metrics if name in row]
        axis.plot(*zip(*points, strict=True), color="#1f77b4", linewidth=1.2)
        if name == "loss" and chance is not None:
            axis.axhline(chance, color="#888888", linestyle="--", linewidth=0.8)
            axis.annotate("chance", (points[0][0], chance), color="#666666", fontsize=8, va="bottom")
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=8)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    figure.supxlabel("step", fontsize=8)
    figure.savefig(path, dpi=110)


def draw_views(views: npt.NDArray[np.float32], lesions: int, path: Path) -> None:
    """Save the views of the first lesions of a batch, a second one below the first, as the first channel shows them.

    views: (n, channels, 64, 64) in [0, 1], as `StepViews` holds them: one of each of so many lesions, then a second one
    of each where there are two.
    """
    from PIL import Image

    count = min(SHOWN, lesions)
    rows = [views[start : start + count] for start in (0, lesions) if len(views) >= start + lesions]
    picture = np.concatenate([np.concatenate(list(each[:, 0]), axis=1) for each in rows], axis=0)
    Image.fromarray(np.clip(picture * 255, 0, 255).astype(np.uint8)).save(path)
