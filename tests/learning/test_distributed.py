"""Two processes on one joint batch do what one process does on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from test_runs import SCRIPT, cut_at
from torch import nn
from toy_training import toy_settings

from lesiondash.learning import monitor
from lesiondash.learning.checkpoint import HEADER_KEY
from lesiondash.learning.distributed import World
from lesiondash.learning.runs import Run
from lesiondash.learning.settings import PretrainSettings
from lesiondash.records import DEFAULT_AUGMENTATION


def train(folder: Path, model: str, processes: int) -> list[float]:
    arguments = [str(SCRIPT), str(folder), model, "3", "1e9"]
    command = [sys.executable, *arguments]
    if processes > 1:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command += arguments
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [row["loss"] for row in Run(folder).metrics()]


def test_two_processes_lose_what_one_loses_on_the_joint_batch(tmp_path: Path) -> None:
    alone, together = train(tmp_path / "alone", "simclr", 1), train(tmp_path / "together", "simclr", 2)
    assert len(alone) == len(together) == 3
    assert together[0] == pytest.approx(alone[0], rel=1e-5)
    assert together == pytest.approx(alone, rel=5e-3)  # after a step the orders of the sums begin to show
    status = Run(tmp_path / "together").status
    assert (status["state"], status["processes"]) == ("done", 2)


def test_alone_there_is_nothing_to_join() -> None:
    world, model = World.join(torch.device("cpu")), nn.BatchNorm1d(3)
    assert (world.size, world.rank) == (1, 0)
    assert world.share(model) is model
    assert world.gather(torch.ones(2)).shape == (2,)
    assert world.rows(7) == slice(0, 7)
    assert world.agree(True)


def test_parts_make_the_whole() -> None:
    parts = [World(3, rank, torch.device("cpu")).rows(12) for rank in range(3)]
    assert [list(range(12))[part] for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


JOINT_NORM = """
import sys, torch, torch.distributed as dist
from torch import nn
from lesiondash.learning.distributed import World, join_batch_norms
world = World.join(torch.device("cpu"))
torch.manual_seed(0)
x, target = torch.randn(12, 4, 5, 5), torch.randn(12, 4, 5, 5)
plain, joint = nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4))
join_batch_norms(joint)
whole = x.clone().requires_grad_(True)
loss = ((plain(whole) - target) ** 2).sum(); loss.backward()
part = world.rows(12)
mine = x[part].clone().requires_grad_(True)
out = joint(mine)
((out - target[part]) ** 2).sum().backward()
torch.testing.assert_close(out, plain(x)[part].detach(), atol=1e-5, rtol=1e-5)
torch.testing.assert_close(mine.grad, whole.grad[part], atol=1e-5, rtol=1e-4)
fresh = nn.BatchNorm2d(4); fresh(x)
torch.testing.assert_close(joint[0].running_mean, fresh.running_mean, atol=1e-6, rtol=1e-5)
torch.testing.assert_close(joint[0].running_var, fresh.running_var, atol=1e-6, rtol=1e-5)
joint.eval(); fresh.eval()
torch.testing.assert_close(joint(x), fresh(x), atol=1e-5, rtol=1e-5)
world.leave()
"""


def test_joint_batch_norm_is_torchs_on_all_rows(tmp_path: Path) -> None:
    script = tmp_path / "joint.py"
    script.write_text(JOINT_NORM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]


APART = """
import json, os, sys
from pathlib import Path
folder, tests, model, steps = Path(sys.argv[1]), *sys.argv[2:]
sys.path.insert(0, tests)
import torch
from test_distributed import noisy_settings
from toy_training import toy_data
import lesiondash.learning.pretrain as training
from lesiondash.errors import TrainingError
from lesiondash.learning import monitor
from lesiondash.learning.distributed import World
from lesiondash.learning.runs import Run
torch.set_num_threads(1)
monitor.REPORT_S = 0.0
settings, rank, told, own = noisy_settings(model, int(steps)), os.environ["RANK"], [], training._loss
run = Run(folder / rank)  # as machines that share no folder have it
if rank == "0":
    run.begin(settings, {})
def listen(*arguments):
    loss = own(*arguments)
    told.append(loss.item())
    return loss
training._loss = listen
try:
    end = training.pretrain(toy_data(), settings, run=run).fingerprint
except TrainingError as error:
    end = str(error)
    World.join().leave()  # gloo's threads end before the process does
(folder / f"{rank}.json").write_text(json.dumps({"losses": told, "end": end}))
"""


def noisy_settings(model: str, steps: int) -> PretrainSettings:
    return replace(toy_settings(model, steps), augment=DEFAULT_AUGMENTATION)


def train_apart(folder: Path, model: str, steps: int) -> list[dict[str, Any]]:
    """Train in two processes that share no folder; return the losses that each computed, and how it ended."""
    script = folder / "apart.py"
    script.write_text(APART)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [*command, str(folder), str(Path(__file__).parent), model, str(steps)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("model", ["simclr", "vae"])
def test_the_loss_told_is_of_the_joint_batch(model: str, tmp_path: Path) -> None:
    parts = train_apart(tmp_path, model, 3)
    losses = [part["losses"] for part in parts]
    assert [row["loss"] for row in Run(tmp_path / "0").metrics()] == pytest.approx(np.mean(losses, axis=0), rel=1e-6)
    assert (losses[0] == losses[1]) == (model == "simclr")  # the VAE's processes see lesions and noise of their own
    assert parts[0]["end"] == parts[1]["end"]  # but train the same weights


@pytest.mark.parametrize("model", ["simclr", "vae"])
def test_a_machine_without_the_runs_folder_resumes_with_the_first(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "CHECKPOINT_S", 0.0)
    settings, run = noisy_settings(model, 5), Run(tmp_path / "0")
    run.begin(settings, {})
    cut_at(run, 3, settings)  # what the third step told is kept; it ended before that was
    kept = load_step(run)
    parts = train_apart(tmp_path, model, 5)
    assert [len(part["losses"]) for part in parts] == [5 - kept] * 2
    assert parts[0]["end"] == parts[1]["end"]
    assert not (tmp_path / "1").exists()


def test_what_the_first_process_cannot_read_is_said_by_all(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "checkpoint.safetensors").write_bytes(b"no tensors")
    parts = train_apart(tmp_path, "simclr", 3)
    assert all("is damaged" in part["end"] for part in parts)


def load_step(run: Run) -> int:
    with safe_open(str(run.checkpoint), framework="pt") as file:
        return int(json.loads(file.metadata()[HEADER_KEY])["step"])
