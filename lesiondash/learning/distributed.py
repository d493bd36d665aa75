"""Training on several devices or machines: one process each, as `torchrun` starts them, and one joint batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lesiondash.errors import LesionDashError
from lesiondash.learning.network import best_device

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes that train together: how many, which of them this is, and its device."""

    size: int
    rank: int
    device: torch.device

    @classmethod
    def join(cls, device: torch.device | None = None) -> World:
        """Meet the other processes where `torchrun` started this one; alone otherwise."""
        size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        chosen = device or best_device()
        if size == 1:
            return cls(1, 0, chosen)
        if chosen.type == "cuda":
            chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(chosen)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        return cls(size, rank, chosen)

    def leave(self) -> None:
        """Part from the others."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    def share(self, model: nn.Module) -> nn.Module:
        """Let the batch norms count the joint batch, and the gradients be averaged over the processes."""
        if self.size == 1:
            return model
        if self.device.type == "cuda":
            joint = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
            return nn.parallel.DistributedDataParallel(joint, device_ids=[self.device.index], broadcast_buffers=False)
        return nn.parallel.DistributedDataParallel(join_batch_norms(model), broadcast_buffers=False)

    def rows(self, count: int) -> slice:
        """Return this process's part of `count` rows of the joint batch."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def gather(self, part: Tensor) -> Tensor:
        """Return every process's rows, in the order of the processes; gradients flow back to where they came from."""
        if self.size == 1:
            return part
        gathered: Tensor = _Gather.apply(part)
        return gathered

    def agree(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        said = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(said, op=dist.ReduceOp.MAX)
        return bool(said.item())

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over the processes, without gradients."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.size

    def from_first(self, find: Callable[[], T]) -> T:
        """Return in every process what the first one finds, which alone looks; or raise what it raised."""
        if self.size == 1:
            return find()
        told: list[Any] = [None, None]
        if self.rank == 0:
            try:
                told[0] = find()
            except LesionDashError as error:  # the others would wait for it in vain
                told[1] = error
        dist.broadcast_object_list(told)
        if told[1] is not None:
            raise told[1]
        found: T = told[0]
        return found


class _Gather(torch.autograd.Function):
    """Everybody's rows, one after another; backward, everybody's gradients for the own rows."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part.contiguous())
        ctx.rows = len(part)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous()
        dist.all_reduce(summed)
        start = ctx.rows * dist.get_rank()
        return summed[start : start + ctx.rows]


class _Sum(torch.autograd.Function):
    """The sum over everybody; backward, the sum of everybody's gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient.contiguous())


def _total(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)
    return total


class JointBatchNorm(_BatchNorm):
    """Batch normalisation over the joint batch on CPUs, for which torch's `SyncBatchNorm` has no kernel.

    Equal to `nn.BatchNorm2d` or `nn.BatchNorm1d` on all the rows at once, gradients included.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, c, …) by the mean and variance of every process's rows."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        axes = [0, *range(2, x.ndim)]
        values = x.float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        sums = _total(torch.cat([values.sum(axes), count]))
        total, shape = sums[-1], [1, -1] + [1] * (x.ndim - 2)
        mean = sums[:-1] / total
        centred = values - mean.view(shape)  # before squaring: the difference of two large sums would lose digits
        variance = _total(centred.square().sum(axes)) / total
        self._follow(mean.detach(), (variance * total / (total - 1)).detach())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalised: Tensor = (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)
        return normalised

    def _check_input_dim(self, input: Tensor) -> None:
        """Take inputs of any number of dimensions."""

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def join_batch_norms(model: nn.Module) -> nn.Module:
    """Replace every batch norm by one over the joint batch; parameters and buffers stay the same tensors."""
    for name, child in model.named_children():
        if isinstance(child, _BatchNorm):
            joint = JointBatchNorm(child.num_features, child.eps, child.momentum)
            joint.weight, joint.bias = child.weight, child.bias
            joint.running_mean, joint.running_var = child.running_mean, child.running_var
            joint.num_batches_tracked = child.num_batches_tracked
            setattr(model, name, joint)
        else:
            join_batch_norms(child)
    return model
