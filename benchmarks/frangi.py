"""The filter beside scikit-image, SimpleITK and ITK: CPU time of one thread, both sides interleaved in one process.

    python benchmarks/frangi.py [--quick]

Prints a line for each ratio: what, both times, the ratio, its aim, its gate. --quick leaves out the peers' volumes,
which take minutes. SimpleITK and ITK are measured where they are installed, and CUDA where there is one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from skimage.filters import frangi as skimage_frangi
from threadpoolctl import threadpool_limits

from lesiondash.frangi import HessianStack, engine, frangi_filter, warm_up
from lesiondash.records import DEFAULT_SIGMAS, FrangiParams

DEEPLESION_ROIS = 32_735
ROIS = 128
TOLERANCE = 1e-4
PARAMS = FrangiParams()
VOLUME = replace(PARAMS, sigmas=tuple(float(sigma) for sigma in range(1, 10)))

Image = np.ndarray[Any, Any]
Sides = dict[str, Callable[[], Any]]


def scene(*shape: int) -> Image:
    """Noise with bright discs: no slice of a patient, and every kind of pixel."""
    rng = np.random.default_rng(0)
    image = 0.3 + 0.1 * rng.random(shape, dtype=np.float32)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    for _ in range(shape[-1] // 16):
        cy, cx, radius = rng.integers(0, shape[-2]), rng.integers(0, shape[-1]), rng.integers(2, 14)
        image[..., (y - cy) ** 2 + (x - cx) ** 2 < radius**2] += np.float32(0.3)
    return image


def interleaved(sides: Sides, rounds: int) -> dict[str, float]:
    """Median CPU seconds of each side; rounds go through all sides, so that a busy machine is busy for each."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for call in sides.values() if rounds > 1 else ():
        call()
    for _ in range(rounds):
        for name, call in sides.items():
            start = time.process_time()
            call()
            spent[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in spent.items()}


def simple_itk(image: Image, sigmas: tuple[float, ...]) -> Callable[[], Image] | None:
    """SimpleITK as its users write it: smooth, measure, next scale; keep the largest."""
    try:
        import SimpleITK as sitk
    except ImportError:
        return None
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    source = sitk.GetImageFromArray(image)

    def run() -> Image:
        best = None
        for sigma in sigmas:
            smooth = sitk.SmoothingRecursiveGaussian(source, sigma)
            found = sitk.ObjectnessMeasure(smooth, 1.0, PARAMS.beta, PARAMS.gamma / sigma**2, False, 1, True)
            best = found if best is None else sitk.Maximum(best, found)
        return sitk.GetArrayFromImage(best)

    return run


def itk_multiscale(image: Image, sigmas: tuple[float, ...]) -> Callable[[], Image] | None:
    """ITK's multi-scale Hessian filter with its objectness measure, over as many equal steps."""
    try:
        import itk
    except ImportError:
        return None
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    dimension = image.ndim
    flat = itk.Image[itk.F, dimension]
    tensor = itk.Image[itk.SymmetricSecondRankTensor[itk.D, dimension], dimension]
    source = itk.image_from_array(np.ascontiguousarray(image))

    def run() -> Image:
        measure = itk.HessianToObjectnessMeasureImageFilter[tensor, flat].New()
        measure.SetAlpha(1.0)
        measure.SetBeta(PARAMS.beta)
        measure.SetGamma(PARAMS.gamma)
        measure.SetObjectDimension(1)
        measure.SetScaleObjectnessMeasure(False)
        scales = itk.MultiScaleHessianBasedMeasureImageFilter[flat, tensor, flat].New(source)
        scales.SetHessianToMeasureFilter(measure)
        scales.SetSigmaMinimum(sigmas[0])
        scales.SetSigmaMaximum(sigmas[-1])
        scales.SetNumberOfSigmaSteps(len(sigmas))
        scales.SetSigmaStepMethodToEquispaced()
        scales.Update()
        return itk.array_from_image(scales.GetOutput())

    return run


def scikit_image(image: Image, sigmas: tuple[float, ...]) -> Callable[[], Image]:
    return lambda: skimage_frangi(
        image, sigmas, alpha=1, beta=PARAMS.beta, gamma=PARAMS.gamma, black_ridges=False
    )  # fmt: skip


def peers(image: Image, sigmas: tuple[float, ...]) -> Sides:
    made = {
        "scikit-image": scikit_image(image, sigmas),
        "SimpleITK": simple_itk(image, sigmas),
        "ITK": itk_multiscale(image, sigmas),
    }
    return {name: call for name, call in made.items() if call is not None}


def row(what: str, ours: float, peer: str, theirs: float, aim: float | None = None, gate: float | None = None) -> None:
    """Print one ratio, and whether it reaches its aim and its gate."""
    ratio = theirs / ours
    verdict = ""
    if aim is not None and gate is not None:
        said = "pass" if ratio >= aim else "aim missed" if ratio >= gate else "MISS"
        verdict = f"aim {aim:g}× gate {gate:g}×  {said}"
    print(f"{what:44} {ours * 1e3:10.2f} ms  {peer:13} {theirs * 1e3:11.1f} ms  {ratio:7.1f}×  {verdict}", flush=True)


def limit(what: str, value: float, unit: str, most: float) -> None:
    print(
        f"{what:44} {value:10.2f} {unit:6} at most {most:g} {unit}  {'pass' if value <= most else 'MISS'}", flush=True
    )


def table(what: str, ours: Sides, image: Image, sigmas: tuple[float, ...], rounds: int, aims: dict[str, Any]) -> None:
    """Measure our sides and every peer on one image, and print each of our sides against each peer."""
    others = peers(image, sigmas)
    times = interleaved({**ours, **others}, rounds)
    for name in ours:
        for peer in others:
            aim = aims.get(name, (None, None)) if peer == "scikit-image" else (None, None)
            row(f"{what}, {name}", times[name], peer, times[peer], *aim)


def rois(rounds: int) -> None:
    batch = np.stack([np.roll(scene(64, 64), shift, axis=1) for shift in range(ROIS)])
    others = peers(batch[0], DEFAULT_SIGMAS)
    sides: Sides = {
        "batched": lambda: frangi_filter(batch, dtype=np.float32, compile=True),
        "one": lambda: frangi_filter(batch[0], dtype=np.float32, compile=True),
        "numpy alone": lambda: frangi_filter(batch[:16], dtype=np.float32, compile=False),
        "float64": lambda: frangi_filter(batch[:16]),
    }
    counts = {"batched": ROIS, "one": 1, "numpy alone": 16, "float64": 16}
    times = interleaved({**sides, **others}, rounds)
    for name in sides:
        for peer in others:
            aim = (40, 25) if (name, peer) == ("batched", "scikit-image") else (None, None)
            row(f"64×64×41, {name}", times[name] / counts[name], peer, times[peer], *aim)
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: frangi_filter(batch, dtype=np.float32, compile=True), range(8)))
    rate = 8 * ROIS / (time.perf_counter() - start)
    print(f"{'64×64×41, two threads, wall clock':44} {rate:10.0f} ROI/s", flush=True)
    limit("all ROIs of DeepLesion", DEEPLESION_ROIS / rate, "s", 30)


def slices(rounds: int) -> None:
    image = scene(512, 512)
    table(
        "512²×41",
        {
            "exact": lambda: frangi_filter(image, dtype=np.float32, compile=True),
            f"scales within {TOLERANCE:g}": lambda: frangi_filter(
                image, dtype=np.float32, compile=True, tolerance=TOLERANCE
            ),
            "float64": lambda: frangi_filter(image),
        },
        image,
        DEFAULT_SIGMAS,
        rounds,
        {"exact": (9, 6), f"scales within {TOLERANCE:g}": (15, 10)},
    )


def retune(size: int, most_ms: float, rounds: int) -> None:
    image = scene(size, size)
    stack = HessianStack.compute(image, DEFAULT_SIGMAS, dtype=np.float32, compile=True)
    eager = replace(stack, compile=False)
    moved, free = replace(PARAMS, beta=0.5, gamma=0.05), replace(PARAMS, rho=0.68)
    times = interleaved(
        {
            "beta, gamma moved": lambda: stack.respond(moved),
            "at rho 0.68": lambda: stack.respond(free),
            "numpy alone": lambda: eager.respond(moved),
            "eigenvalues": lambda: HessianStack.compute(image, DEFAULT_SIGMAS, dtype=np.float32, compile=True),
            "scikit-image": scikit_image(image, DEFAULT_SIGMAS),
        },
        rounds,
    )
    theirs = times.pop("scikit-image")
    for name, spent in times.items():
        aim = (150, 80) if name == "beta, gamma moved" else (None, None)
        row(f"{size}²×41 re-tune, {name}", spent, "scikit-image", theirs, *aim)
    for name in ("beta, gamma moved", "at rho 0.68"):
        limit(f"{size}²×41 re-tune, {name}", times[name] * 1e3, "ms", most_ms)


def volume(quick: bool) -> None:
    image = scene(32, 512, 512)

    def run() -> Any:
        return frangi_filter(image, VOLUME, ndim=3, dtype=np.float32, compile=True)

    if quick:
        print(f"{'512×512×32×9':44} {interleaved({'ours': run}, 3)['ours'] * 1e3:10.0f} ms  (peers: without --quick)")
    else:
        others = peers(image, VOLUME.sigmas)
        ours = interleaved({"ours": run}, 3)["ours"]
        for peer, call in others.items():  # once each, ours before and after
            theirs = interleaved({peer: call}, 1)[peer]
            ours = statistics.median([ours, interleaved({"ours": run}, 1)["ours"]])
            row("512×512×32×9", ours, peer, theirs, *((12, 8) if peer == "scikit-image" else (None, None)))
    alone = subprocess.run([sys.executable, __file__, "--volume-alone"], capture_output=True, text=True, check=True)
    limit("512×512×32×9, largest memory of its process", float(alone.stdout) * 1024 / 1e6, "MB", 1000)


def volume_alone() -> None:
    frangi_filter(scene(32, 512, 512), VOLUME, ndim=3, dtype=np.float32, compile=True)
    # Of this program alone: getrusage would count the one that started it.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def cuda() -> None:
    """Time of a device is wall clock, until it is through."""
    import torch

    if not torch.cuda.is_available():
        print("No CUDA device: its rows are left out.")
        return
    batch, slice_, solid = scene(4096, 64, 64), scene(512, 512), scene(32, 512, 512)
    for what, image, params, ndim in (
        ("4096 ROIs", batch, PARAMS, 2),
        ("512²×41", slice_, PARAMS, 2),
        ("512×512×32×9", solid, VOLUME, 3),
    ):
        found = frangi_filter(image, params, ndim=ndim, dtype=np.float32, device="cuda").response
        torch.cuda.synchronize()
        start = time.perf_counter()
        frangi_filter(image, params, ndim=ndim, dtype=np.float32, device="cuda")
        torch.cuda.synchronize()
        spent = time.perf_counter() - start
        few = image[:64] if what == "4096 ROIs" else image
        exact = frangi_filter(few, params, ndim=ndim, dtype=np.float32, compile=True).response
        error = np.quantile(np.abs(found[: len(exact)] - exact), 0.9999)
        said = "pass" if error <= 1e-5 else "MISS"
        print(f"{what + ' on ' + torch.cuda.get_device_name():44} {spent * 1e3:10.2f} ms  agreement {error:.1e} {said}")


def versions() -> str:
    found = []
    for name in ("scikit-image", "numba", "SimpleITK", "itk", "scipy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the peers' volumes")
    parser.add_argument("--volume-alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.volume_alone:
        volume_alone()
        return
    print(describe())
    print(versions())
    start = time.perf_counter()
    warm_up()
    print(f"{engine()} They were warm after {time.perf_counter() - start:.2f} s.")
    with threadpool_limits(1):
        rois(5)
        slices(3)
        retune(64, 1.0, 15)
        retune(512, 20.0, 5)
        volume(options.quick)
        cuda()


if __name__ == "__main__":
    main()
