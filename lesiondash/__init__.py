"""Search lesions in CT by similarity. For research and teaching, not for diagnosis."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lesiondash.errors import LesionDashError as LesionDashError
    from lesiondash.frangi.response import frangi_filter as frangi_filter
    from lesiondash.images.crops import crop as crop
    from lesiondash.images.deeplesion import DeepLesion as DeepLesion
    from lesiondash.images.dicom import read_dicom as read_dicom
    from lesiondash.learning.encoder import Encoder as Encoder
    from lesiondash.records import Box as Box
    from lesiondash.records import FrangiParams as FrangiParams
    from lesiondash.records import FrangiResult as FrangiResult
    from lesiondash.records import Lesion as Lesion
    from lesiondash.records import Series as Series
    from lesiondash.records import Window as Window
    from lesiondash.retrieval.index import Index as Index
    from lesiondash.retrieval.table import Where as Where

_HOMES = {
    "Box": "records",
    "DeepLesion": "images.deeplesion",
    "Encoder": "learning.encoder",
    "FrangiParams": "records",
    "FrangiResult": "records",
    "Index": "retrieval.index",
    "Lesion": "records",
    "LesionDashError": "errors",
    "Series": "records",
    "Where": "retrieval.table",
    "Window": "records",
    "crop": "images.crops",
    "frangi_filter": "frangi.response",
    "read_dicom": "images.dicom",
}
__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import lesiondash` stays fast and torch-free."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lesiondash' has no attribute {name!r}")
    return getattr(import_module(f"lesiondash.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
