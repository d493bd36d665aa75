"""A widget's JavaScript: one module, joined from the files beside its class."""

from pathlib import Path

DOM = (Path(__file__).parent / "dom.js").read_text(encoding="utf-8")


def module(folder: Path, *parts: str) -> str:
    """Return `dom.js` and then the named files of a folder: what is declared above is known below."""
    return "\n".join([DOM, *((folder / f"{part}.js").read_text(encoding="utf-8") for part in parts)])
