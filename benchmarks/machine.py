"""The line that stands above every figure: machine, versions, date."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path


def describe() -> str:
    """Return processor, cores, memory, Python and the versions that matter."""
    info = Path("/proc/cpuinfo")
    model = platform.processor()
    if info.is_file():
        model = next((x.split(":")[1].strip() for x in info.read_text().splitlines() if x.startswith("model name")), "")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "voila", "lesiondash"))
    return f"{date.today()} · {model}, {os.cpu_count()} cores · Python {platform.python_version()} · {versions}"
