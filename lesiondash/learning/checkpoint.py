"""What a checkpoint says about itself, read without torch: for what only has to know whether it is still the same."""

from __future__ import annotations

import json
from pathlib import Path

HEADER_KEY = "lesiondash"
FINGERPRINT_KEY = "fingerprint"
LARGEST_HEADER_BYTES = 2**20


def fingerprint_of(path: Path) -> str | None:
    """Return the fingerprint that an encoder's file states, or None where it states none.

    A safetensors file begins with the length of its JSON header (8 bytes, little-endian) and the header. Whether the
    weights are sound is for `Encoder.load` to say.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= LARGEST_HEADER_BYTES else b""
        stated = json.loads(json.loads(text)["__metadata__"][HEADER_KEY])[FINGERPRINT_KEY]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(stated)
