"""Real lung nodules: how well each model's vectors find nodules of the same kind in other patients.

    python benchmarks/lidc.py FOLDER [--split test] [--field 32] [--seeds 0 1 2] [--only simclr-gem ...] [--out FILE]

FOLDER holds `lidc_nodule_slices_64.npz` and `nodules.csv` (LIDC-IDRI, CC BY 3.0). A nodule's kind is by mean reader
score: calcified (calcification < 5.5), else non-solid (texture < 3.5), else suspicious (malignancy > 3.5), else benign
(malignancy < 2.5); others are left out. Patient number mod 5 splits: 1 test, 2 validation, 3 and 4 training; for the
test the slices of 2 are trained on too, without labels. Queries are the central slices of the split's nodules, each
among those of other patients; cosines in float64, equal ones by index.

The images are 64 × 64 and stretched from 0 to 255 slice by slice, so HU is lost: the values stand for HU here, shown
through one window of 0 to 255. What is embedded is their middle, 32 × 32 pixels resampled to 64 × 64: a nodule is small
and in the middle, and around it lie pleura and vessels. For training it is the middle 48 × 48, resampled to 96 × 96,
the room that `augment` shifts and rotates in. Each slice is a lesion of its own: slices of one nodule differ in size,
which the target is made of.

Every trained network is a line of --out, so that a run that was cut off goes on where it stopped. Intervals are of
2,000 resamples of patients, queries averaged over the seeds; differences are to the untrained network of the same seed
on the same middles and resamples. The first thing done is to find the known scores of raw pixels again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from machine import describe
from torch.nn import functional as F

from lesiondash import Encoder
from lesiondash.images.crops import CROP_PX
from lesiondash.learning.architecture import Architecture
from lesiondash.learning.augment import MARGIN, MARGIN_PX
from lesiondash.learning.dataset import TrainingCrops, responses_of
from lesiondash.learning.pretrain import pretrain
from lesiondash.learning.settings import PretrainSettings, settings_of
from lesiondash.records import AugmentSettings, Window
from lesiondash.retrieval.metrics import ap_hit, ap_min, precision_at

MEASURES = ("AP_min@10", "AP_hit@10", "P@1", "P@10")
PIXELS, PIXELS_CHANCE = (0.211, 0.486, 0.364, 0.339), 0.256
"""Raw pixels on the test split, mean removed, and the chance of P@k: what the first check must find."""
TOLERANCE = 0.002
SPLITS = {"test": (1, (2, 3, 4)), "validation": (2, (3, 4))}
"""Patient number mod 5 of the queries, and of the slices that are trained on."""
FIELD_PX = 32
"""The middle of an image that is embedded."""
PAD_MODE = "reflect"
RESAMPLES = 2000
NODULES = Architecture(windows=((0.0, 255.0),), filter_window=Window(127.5, 255.0))

# Chosen on the validation split with one seed, by AP_min@10 (untrained .225): wide shifts and zooms with LARS .189 to
# .220; gentle ones with AdamW .300 to .325; with each slice on its own .349, and shifts of .15 and zooms of .3 again
# .270; without blur and noise .359; with stronger windows .356, with hardly any shift and zoom .362. One deviation
# between seeds is about .02. All of that of whole images; of their middle 40 pixels at temperature .5 .393 (untrained
# .287), 32 pixels .428 (.317), 24 pixels .427 (.326); at 32, temperature .1 .424, shifts of .1 and zooms of .25 .426.
AUGMENT = AugmentSettings(
    shift=0.05,
    rotation_deg=180.0,
    flip_x=0.5,
    flip_y=0.5,
    scale=0.1,
    window_shift=0.05,
    window_scale=0.15,
    blur_sigma_px=0.0,
    noise_hu=0.0,
)
SIMCLR: dict[str, Any] = {
    "steps": 100,
    "batch": 128,
    "optimiser": "adamw",
    "learning_rate": 1e-3,
    "scaling": "none",
    "loss": "nt_xent",
    "temperature": 0.2,
}
VAE: dict[str, Any] = {"steps": 75, "batch": 128}

MODELS: dict[str, tuple[str, dict[str, str]]] = {
    "simclr-avg": ("simclr", {"pool": "average"}),
    "simclr-gem": ("simclr", {}),
    "simclr-gem-frangi-replace": ("simclr", {"frangi": "replace"}),
    "simclr-gem-frangi-channel": ("simclr", {"frangi": "channel"}),
    "vae-avg": ("vae", {"pool": "average"}),
    "vae-gem": ("vae", {}),
    "vae-gem-frangi-replace": ("vae", {"frangi": "replace"}),
    "vae-gem-frangi-channel": ("vae", {"frangi": "channel"}),
}

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Nodules:
    """One split. queries: (q, 64, 64) uint8 central slices, of kinds and of patients, (q,); training: crops to learn
    from, 96 × 96, of 1.5 × the field that is embedded.
    """

    queries: npt.NDArray[np.uint8]
    kinds: npt.NDArray[np.int64]
    patients: npt.NDArray[np.int64]
    training: npt.NDArray[np.int16]
    training_patients: npt.NDArray[np.int64]
    field_px: int = FIELD_PX

    @cached_property
    def middles(self) -> npt.NDArray[np.int16]:
        """What of the queries is embedded, (q, 64, 64)."""
        return middle(self.queries, self.field_px, CROP_PX)

    @cached_property
    def responses(self) -> npt.NDArray[np.float16]:
        return responses_of(self.training[:, None], replace(NODULES, frangi="channel"))

    def crops(self, architecture: Architecture) -> TrainingCrops:
        source = (("collection", "LIDC-IDRI nodules"),)
        data = TrainingCrops.of_arrays(self.training, self.training_patients, source=source)
        return data if architecture.frangi == "none" else replace(data, responses=self.responses)


def read(folder: Path, split: str, field_px: int = FIELD_PX) -> Nodules:
    table = pd.read_csv(folder / "nodules.csv")
    with np.load(folder / "lidc_nodule_slices_64.npz") as file:
        images, nodules, places = file["image"], file["nodule_row"], file["slice_index"]
    patients = table["patient"].str[-4:].astype(int).to_numpy()
    kinds = kinds_of(table)
    asked, taught = SPLITS[split]
    order = np.lexsort((places, nodules))
    counts = np.bincount(nodules, minlength=len(table))
    central = order[np.cumsum(counts) - counts + counts // 2]  # every nodule has a slice
    chosen = np.flatnonzero((kinds >= 0) & (patients % 5 == asked))
    seen = np.flatnonzero(np.isin(patients[nodules] % 5, taught))
    if set(patients[chosen]) & set(patients[nodules[seen]]):
        raise SystemExit("A patient is both learned from and asked for.")
    wide = middle(images[seen], round(field_px * MARGIN), MARGIN_PX)
    return Nodules(images[central[chosen]], kinds[chosen], patients[chosen], wide, patients[nodules[seen]], field_px)


def middle(images: npt.NDArray[np.uint8], field_px: int, size_px: int) -> npt.NDArray[np.int16]:
    """Return the middle of images (n, 64, 64), field_px wide, as (n, size_px, size_px); mirrored where it is wider."""
    missing = max(0, -(-(field_px - images.shape[1]) // 2))
    wide = np.pad(images, ((0, 0), (missing, missing), (missing, missing)), mode=PAD_MODE)
    start = (wide.shape[1] - field_px) // 2
    part = torch.from_numpy(wide[:, None, start : start + field_px, start : start + field_px])
    shown = F.interpolate(part.float(), (size_px, size_px), mode="bilinear", align_corners=False)
    return shown[:, 0].round().to(torch.int16).numpy()


def kinds_of(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Calcified 0, non-solid 1, suspicious 2, benign 3, by mean reader score; −1 for the rest."""
    rated = table["join_ok"] & table[["calcification", "texture", "malignancy_mean"]].notna().all(axis=1)
    rules = [
        ~rated,
        table["calcification"] < 5.5,
        table["texture"] < 3.5,
        table["malignancy_mean"] > 3.5,
        table["malignancy_mean"] < 2.5,
    ]
    return np.select(rules, [-1, 0, 1, 2, 3], default=-1).astype(np.int64)


def score(vectors: npt.ArrayLike, nodules: Nodules) -> Scores:
    """Return every query's measures, (q, 4)."""
    unit = np.asarray(vectors, np.float64)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ unit.T
    rows = []
    for query, kind in enumerate(nodules.kinds):
        gallery = np.flatnonzero(nodules.patients != nodules.patients[query])
        ranked = gallery[np.argsort(-cosines[query, gallery], kind="stable")]
        hits = nodules.kinds[ranked] == kind
        rows.append((ap_min(hits, 10), ap_hit(hits, 10), precision_at(hits, 1), precision_at(hits, 10)))
    return np.array(rows)


def chance(nodules: Nodules) -> float:
    """Return the mean share of a query's kind among the nodules of other patients: P@k of a random order."""
    others = nodules.patients[:, None] != nodules.patients[None, :]
    same = nodules.kinds[:, None] == nodules.kinds[None, :]
    return float(((same & others).sum(axis=1) / others.sum(axis=1)).mean())


def pixels(nodules: Nodules) -> Scores:
    flat = nodules.queries.reshape(len(nodules.queries), -1).astype(np.float64)
    return score(flat - flat.mean(axis=1, keepdims=True), nodules)


def check_pixels(folder: Path) -> None:
    """Find the known scores of raw pixels on the test split, or stop."""
    nodules = read(folder, "test")
    found = (*pixels(nodules).mean(axis=0), chance(nodules))
    wanted = (*PIXELS, PIXELS_CHANCE)
    fine = all(abs(a - b) <= TOLERANCE for a, b in zip(found, wanted, strict=True))
    names = (*MEASURES, "chance")
    said = ", ".join(f"{name} {a:.4f} ({b:.3f})" for name, a, b in zip(names, found, wanted, strict=True))
    print(
        f"check, raw pixels on {len(nodules.kinds)} test nodules, found (known): {said}: {'pass' if fine else 'FAIL'}"
    )
    if not fine:
        raise SystemExit("These are other images or other labels; no score below would mean anything.")


def settings_for(name: str, seed: int, changes: Sequence[str], **given: Any) -> PretrainSettings:
    """Return a model's settings: chosen above, then by option, then by `--set NAME=VALUE`."""
    model, parts = MODELS[name]
    values: dict[str, Any] = {**(SIMCLR if model == "simclr" else VAE), **{k: v for k, v in given.items() if v}}
    augment = AUGMENT
    known = {field.name for field in fields(AugmentSettings)}
    for change in changes:
        key, _, text = change.partition("=")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        if key in known:
            augment = replace(augment, **{key: value})
        else:
            values[key] = value
    architecture = replace(NODULES, **parts)
    return settings_of(model, architecture=architecture, seed=seed, augment=augment, **values)


class Results:
    """A JSON-lines file: a line for each network, with the scores of every query."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._known = {}
        for line in lines:
            try:
                found = json.loads(line)
            except json.JSONDecodeError:  # the last line of a run that was cut off
                continue
            self._known[found["key"]] = found

    def get(self, key: str) -> Scores | None:
        found = self._known.get(key)
        return None if found is None else np.array(found["scores"])

    def add(self, key: str, scores: Scores, **story: Any) -> None:
        means = dict(zip(MEASURES, scores.mean(axis=0).round(4).tolist(), strict=True))
        line = {"key": key, **means, **story, "scores": scores.round(6).tolist()}
        self._known[key] = line
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def trained(name: str, settings: PretrainSettings, nodules: Nodules, results: Results, split: str) -> Scores:
    """Return a trained network's scores, out of the file where it is there."""
    key = f"{split}/{nodules.field_px}px/{name}/{settings.seed}/{settings.digest}"
    known = results.get(key)
    if known is not None:
        return known
    losses: list[float] = []
    data = nodules.crops(settings.architecture)
    start = time.perf_counter()
    encoder = pretrain(data, settings, progress=lambda _, __, loss: losses.append(loss))
    took = time.perf_counter() - start
    scores = score(encoder.embed(nodules.middles), nodules)
    said = "  ".join(f"{value:.3f}" for value in scores.mean(axis=0))
    print(f"{key}: {said}   loss {losses[0]:.2f} → {losses[-1]:.2f}, {took:.0f} s", flush=True)
    results.add(key, scores, seconds=round(took, 1), losses=losses[:: max(1, len(losses) // 10)], **settings.to_dict())
    return scores


def untrained(seeds: Sequence[int], nodules: Nodules, crops: npt.NDArray[Any]) -> Scores:
    """Return (seeds, q, 4) of networks with random weights, which see crops (q, 64, 64) of the queries."""
    encoders = (Encoder.untrained(seed, architecture=NODULES) for seed in seeds)
    return np.stack([score(encoder.embed(crops), nodules) for encoder in encoders])


def resampled(scores: Scores, patients: npt.NDArray[np.int64]) -> Scores:
    """Return the means of (q, 4) over resampled patients, (2000, 4); the same resamples for every call."""
    codes = np.unique(patients, return_inverse=True)[1]
    count = int(codes.max()) + 1
    sums = np.stack([np.bincount(codes, column, minlength=count) for column in scores.T], axis=1)
    sizes = np.bincount(codes, minlength=count)
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return np.asarray((times @ sums) / (times @ sizes)[:, None])


def interval(scores: Scores, patients: npt.NDArray[np.int64], sign: str = "") -> str:
    """Say mean and 95 % interval of each measure."""
    low, high = np.quantile(resampled(scores, patients), (0.025, 0.975), axis=0)
    texts = (
        f"{mean:{sign}.3f} [{a:{sign}.3f}, {b:{sign}.3f}]"
        for mean, a, b in zip(scores.mean(axis=0), low, high, strict=True)
    )
    return "".join(f"{text:>26}" for text in texts)


def show(table: dict[str, Scores], baseline: Scores, nodules: Nodules) -> None:
    """Print a row for each model and one for its difference to the untrained networks; scores are (seeds, q, 4)."""
    head = "".join(f"{name:>26}" for name in MEASURES)
    print(f"\n{'model (seeds)':<34}{head}   (chance of P@k {chance(nodules):.3f})")
    for name, scores in table.items():
        seeds = "" if name == "pixels" else f" ({len(scores)})"
        print(f"{name + seeds:<34}{interval(scores.mean(axis=0), nodules.patients)}")
        if name in MODELS:
            print(f"{'  − untrained':<34}{interval((scores - baseline).mean(axis=0), nodules.patients, '+')}")
        if len(scores) > 1:
            spread = scores.mean(axis=1).std(axis=0, ddof=1)
            print(f"{'  deviation over seeds':<34}" + "".join(f"{value:>26.3f}" for value in spread))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the images and the readers' table are")
    parser.add_argument("--split", choices=SPLITS, default="test", help="choose settings on validation only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--field", type=int, default=FIELD_PX, help="pixels of the middle that is seen; 64 is all")
    parser.add_argument("--steps", type=int, help="instead of each model's own")
    parser.add_argument("--batch", type=int, help="lesions a batch, instead of each model's own")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="models to train")
    parser.add_argument("--out", type=Path, default=Path("lidc.jsonl"), help="what was trained already, and will be")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings, for trying them")
    return parser.parse_args()


def main() -> None:
    asked = options()
    print(describe())
    check_pixels(asked.folder)
    nodules, results = read(asked.folder, asked.split, asked.field), Results(asked.out)
    print(f"{len(nodules.kinds)} {asked.split} nodules of {len(set(nodules.patients))} patients")
    baseline = untrained(asked.seeds, nodules, nodules.middles)
    whole = untrained(asked.seeds, nodules, nodules.queries)
    table = {"pixels": pixels(nodules)[None], "untrained-gem, whole images": whole, "untrained-gem": baseline}
    for seed in asked.seeds:
        for name in asked.only:
            settings = settings_for(name, seed, asked.set, steps=asked.steps, batch=asked.batch)
            scores = trained(name, settings, nodules, results, asked.split)[None]
            table[name] = np.concatenate([table[name], scores]) if name in table else scores
    show(table, baseline, nodules)


if __name__ == "__main__":
    main()
