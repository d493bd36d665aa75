"""The page's own small widgets: traits and one message handler each, with JavaScript and CSS as files beside them."""

from lesiondash.dashboard.widgets.annotations import Annotations
from lesiondash.dashboard.widgets.dropzone import DropZone
from lesiondash.dashboard.widgets.header import HeaderTable
from lesiondash.dashboard.widgets.many import Many
from lesiondash.dashboard.widgets.metrics import Metrics
from lesiondash.dashboard.widgets.pacs import PacsList
from lesiondash.dashboard.widgets.sensitivity import Sensitivity
from lesiondash.dashboard.widgets.suggest import Suggest
from lesiondash.dashboard.widgets.tiles import Tiles
from lesiondash.dashboard.widgets.topbar import TopBar
from lesiondash.dashboard.widgets.train import Train
from lesiondash.dashboard.widgets.tuner import Tuner
from lesiondash.dashboard.widgets.viewer import Viewer
from lesiondash.dashboard.widgets.volume import VolumeBar

__all__ = [
    "Annotations",
    "DropZone",
    "HeaderTable",
    "Many",
    "Metrics",
    "PacsList",
    "Sensitivity",
    "Suggest",
    "Tiles",
    "TopBar",
    "Train",
    "Tuner",
    "Viewer",
    "VolumeBar",
]
