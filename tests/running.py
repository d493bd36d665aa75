"""How the tests run the command line, and where the checkout and the real data are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
SHARED = CHECKOUT.parent / "shared" / "data"


def run_cli(*arguments: str, data: Path, limit_s: float = 900) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would, with its data folder."""
    return subprocess.run(
        [sys.executable, "-m", "lesiondash.cli", *arguments],
        env={**os.environ, "LESIONDASH_DATA": str(data)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=limit_s,
    )
