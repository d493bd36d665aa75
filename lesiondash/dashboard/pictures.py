"""Arrays as captioned pictures side by side, for the lessons in the notebooks."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape

import ipywidgets as widgets
import numpy as np
import numpy.typing as npt
from PIL import Image


def pictures(images: Mapping[str, npt.ArrayLike], *, width_px: int = 220) -> widgets.Widget:
    """Return a row of grey pictures with their names below; each (h, w), 0 black and 1 white.

    >>> import numpy as np
    >>> len(pictures({"black": np.zeros((4, 4)), "white": np.ones((4, 4))}).children)
    2
    """
    return widgets.Box(
        [_picture(name, np.asarray(image, np.float64), width_px) for name, image in images.items()],
        layout={"flex_flow": "row wrap", "grid_gap": "12px"},
    )


def _picture(name: str, image: npt.NDArray[np.float64], width_px: int) -> widgets.Widget:
    file = io.BytesIO()
    grey = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    height_px = round(width_px * grey.shape[0] / grey.shape[1])
    Image.fromarray(grey).resize((width_px, height_px), Image.Resampling.NEAREST).save(file, "PNG")
    caption = widgets.HTML(f"<div style='font-size:13px;width:{width_px}px'>{escape(name)}</div>")
    shown = widgets.Image(value=file.getvalue(), format="png", width=width_px, height=height_px)
    return widgets.VBox([shown, caption])
