"""Several processes through torchrun that together do what one process with the whole batch does.

Every rank draws the same global batch and the same noise and keeps its slice; gradients are averaged.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Team:
    """This process among its equals; alone when torchrun did not start it."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))

    def join(self, device: torch.device) -> None:
        """Tensors travel by nccl between GPUs, by gloo else; small decisions always by gloo, so that no GPU waits."""
        if self.size > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
            control = dist.new_group(backend="gloo")
            assert isinstance(control, dist.ProcessGroup)  # every rank is in it
            self._control = control

    def leave(self) -> None:
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        return self.rank == 0

    def slice(self, count: int) -> slice:
        """This rank's part of a global batch."""
        share = count // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def average(self, tensors: list[Tensor]) -> None:
        """Mean over the ranks, in place, as one message."""
        if self.size > 1 and tensors:
            if len(tensors) == 1:
                dist.all_reduce(tensors[0])
                tensors[0] /= self.size
                return
            flat = torch.cat([t.reshape(-1) for t in tensors])
            dist.all_reduce(flat)
            flat /= self.size
            for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                t.copy_(part.view(t.shape))

    def broadcast(self, tensors: list[Tensor]) -> None:
        """What rank 0 has, to all, in place."""
        if self.size > 1:
            for t in tensors:
                dist.broadcast(t, 0)

    def agree(self, *values: float) -> list[float]:
        """Rank 0's numbers on every rank: when to stop, how far the run is."""
        if self.size == 1:
            return list(values)
        message = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(message, 0, group=self._control)
        return message.tolist()

    def any(self, flag: bool) -> bool:
        """Whether any rank says yes: a signal may reach only one of them."""
        if self.size == 1:
            return flag
        message = torch.tensor([float(flag)])
        dist.all_reduce(message, dist.ReduceOp.MAX, group=self._control)
        return bool(message.item())

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier(group=self._control)

    def same_noise(self) -> AbstractContextManager:
        """Within it, uniform noise is drawn for the global batch on every rank, and each takes its slice."""
        return _SlicedNoise(self) if self.size > 1 else nullcontext()


class _SlicedNoise(TorchFunctionMode):
    """Covers `torch.rand_like` (jlc-vbr) and `Tensor.uniform_` (CompressAI), batch first in both."""

    def __init__(self, team: Team) -> None:
        super().__init__()
        self.team = team

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and function in (torch.rand_like, Tensor.uniform_):
            mine = args[0]
            # The global batch in the same memory order, since noise is drawn in that order.
            last = mine.ndim == 4 and mine.is_contiguous(memory_format=torch.channels_last)
            order = torch.channels_last if last and not mine.is_contiguous() else torch.contiguous_format
            count = mine.shape[0] * self.team.size
            whole = torch.empty((count, *mine.shape[1:]), dtype=mine.dtype, device=mine.device, memory_format=order)
            noise = function(whole, *args[1:], **kwargs)[self.team.slice(count)]
            return noise if function is torch.rand_like else mine.copy_(noise)
        return function(*args, **kwargs)
