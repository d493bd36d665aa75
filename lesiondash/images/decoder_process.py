"""Frames decoded by libraries in C, in a process of its own: some damaged frames make one of them hang or end it."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from typing import IO, Any

import numpy as np
import numpy.typing as npt

LIMIT_S = 3.5
"""For a frame of up to 4 million pixels; larger ones have more."""
_PX_PER_LIMIT = 4_000_000
SEQUENTIAL_12_BIT = "1.2.840.10008.1.2.4.51"


class DecoderProcess:
    """A process that decodes frames as they are sent, one at a time; it is started when the first one comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, frame: bytes, syntax: str, plugin: str, options: dict[str, Any]) -> npt.NDArray[Any]:
        """Return a frame's values, (y, x) or (y, x, 3); plugin and options are those of pydicom's decoders.

        Raises `ValueError` where the decoder cannot decode it, takes too long or ends over it.
        """
        with self._lock:
            process = self._running()
            limit_s = LIMIT_S * max(1.0, options["rows"] * options["columns"] / _PX_PER_LIMIT)
            alarm = threading.Timer(limit_s, process.kill)
            alarm.start()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                _send(process.stdin, {"syntax": syntax, "plugin": plugin, "options": options}, frame)
                answer = _receive(process.stdout)
            except OSError:
                answer = None
            finally:
                alarm.cancel()
            if answer is None:
                self.close()
                raise ValueError("the decoder ended")
            facts, content = answer
            if not facts:
                raise ValueError("it cannot be decoded")
            return np.frombuffer(content, facts["dtype"]).reshape(facts["shape"])

    def close(self) -> None:
        """End the process; the next frame starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None
                    pipe.close()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            # what decoders complain of is for their makers, not for a terminal or log
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lesiondash.images.decoder_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # it finds what this process finds
            )
            assert self._process.stdout is not None
            _receive(self._process.stdout)  # it is ready: what it has to import takes no time from a frame
        return self._process


DECODERS = DecoderProcess()
atexit.register(DECODERS.close)


def _send(pipe: IO[bytes], facts: dict[str, Any], content: bytes) -> None:
    pipe.write(json.dumps({**facts, "bytes": len(content)}).encode() + b"\n")
    pipe.write(content)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Return what was sent, or None where the other side has ended."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        return None
    facts = json.loads(line)
    count = facts.pop("bytes")
    content = pipe.read(count)
    return (facts, content) if len(content) == count else None


def _serve() -> None:
    """Decode what comes on the standard input until it ends."""
    import pydicom.pixels.decoders.base  # noqa: F401  # before the first frame

    _send(sys.stdout.buffer, {}, b"")
    while (asked := _receive(sys.stdin.buffer)) is not None:
        facts, frame = asked
        try:
            values = np.ascontiguousarray(_decoded(frame, **facts))
            _send(sys.stdout.buffer, {"dtype": values.dtype.str, "shape": values.shape}, values.tobytes())
        except Exception:  # whatever it is, the frame is not decoded
            _send(sys.stdout.buffer, {}, b"")


def _decoded(frame: bytes, syntax: str, plugin: str, options: dict[str, Any]) -> npt.NDArray[Any]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    if syntax == SEQUENTIAL_12_BIT and plugin == "gdcm":
        return _twelve_bit(frame, options)
    values, _ = get_decoder(syntax).as_array(encapsulate([frame]), decoding_plugin=plugin, **options)
    return values


def _twelve_bit(frame: bytes, options: dict[str, Any]) -> npt.NDArray[Any]:
    """Decode JPEG of 12 bits, which pydicom does not ask gdcm for; every process goes by the sequential one's name."""
    import gdcm  # type: ignore[import-untyped]

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((options["columns"], options["rows"], 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(SEQUENTIAL_12_BIT)))
    bits, signed = options["bits_stored"], options["pixel_representation"]
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, signed))
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), "<i2" if signed else "<u2")
    return values.reshape(options["rows"], options["columns"])


if __name__ == "__main__":
    _serve()
