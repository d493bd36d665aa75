"""Two processes on one joint batch do what one process does on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_runs import SCRIPT
from torch import nn

from lesiondash.learning.distributed import World
from lesiondash.learning.runs import Run


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
