"""One optimisation step: forward, backward, clipping, update, averaging. No host synchronisation, one CUDA graph.

What differs from step to step (batch, learning-rate factor, averaging weight) comes in through fixed tensors.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from jndcodec.model.vbr import Output
from jndcodec.train.casting import Bf16Weights
from jndcodec.train.distributed import Team
from jndcodec.train.objective import Objective, Parts
from jndcodec.train.optim import Optimizer, in_memory_order
from jndcodec.train.subject import Subject, named_parameters

EXPLODED = 30.0  # times the usual gradient norm: such a step is left out, as one with NaN is
SETTLED = 20  # steps until the usual norm is trusted
WARM = 3  # steps before the graph is captured, so that libraries choose their kernels
LOGGED = ("loss", "bpp", "psnr", "distortion", "norm")


class Step:
    """Holds the average of the weights (`average`, a module in evaluation mode) and the sums for the log."""

    def __init__(
        self, subject: Subject, objective: Objective, optimizers: list[Optimizer], team: Team, *,
        device: torch.device, bf16: bool, clip: float, graph: bool,
    ) -> None:  # fmt: skip
        self.subject, self.objective, self.optimizers, self.team = subject, objective, optimizers, team
        self.device, self.bf16, self.clip = device, bf16, clip
        self.graphs = graph and device.type == "cuda" and team.size == 1
        self.forward: Callable[[Tensor, Tensor], Output] = Bf16Weights(subject.module) if bf16 else subject.module
        self.parts = self._parts
        self.average = copy.deepcopy(subject.module).eval().requires_grad_(False)
        self.scale, self.fresh = torch.zeros((), device=device), torch.zeros((), device=device)
        self.sums = torch.zeros(len(LOGGED) + 2, device=device)  # LOGGED, steps kept, steps left out
        self.usual = torch.zeros(2, device=device)  # usual gradient norm, steps it was seen
        self.main, self.auxiliary = (
            [p for _, p in named_parameters(subject, auxiliary=part) if p.requires_grad] for part in (False, True)
        )
        self.batch: dict[str, Tensor] = {}
        self.eager_steps = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: dict[str, Tensor], scale: float, fresh: float) -> None:
        """Train on a batch: x, t, perhaps x_jnd. scale: of the rates; fresh: weight of the new in the average."""
        self.scale.fill_(scale)
        self.fresh.fill_(fresh)
        self._load(batch)
        if self.graph is not None:
            self.graph.replay()
        elif self.graphs and self.eager_steps >= WARM:
            self._capture()
        else:
            self._eager()

    def use(self, compiled: bool) -> None:
        """Go on with forward, loss and metric through torch.compile, or without it; the graph is captured anew."""
        self.parts = torch.compile(self._parts, dynamic=False) if compiled else self._parts
        self.batch, self.graph, self.eager_steps = {}, None, 0

    def _load(self, batch: dict[str, Tensor]) -> None:
        if not self.graphs:
            self.batch = batch
            return
        if self.batch and all(self.batch[k].shape == v.shape for k, v in batch.items()):
            for key, value in batch.items():
                self.batch[key].copy_(value, non_blocking=True)
            return
        self.batch = {key: value.clone() for key, value in batch.items()}
        self.graph, self.eager_steps = None, 0

    def _eager(self) -> None:
        self.eager_steps += 1
        if not self.graphs:
            self._update()
            return
        stream = torch.cuda.Stream()  # as capture will do: autograd remembers streams
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._update()
        torch.cuda.current_stream().wait_stream(stream)

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._update()
        self.graph = graph
        graph.replay()  # capture only records

    def _update(self) -> None:
        for _, p in self.subject.module.named_parameters():
            p.grad = None
        with self.team.same_noise():
            parts = self.parts(self.batch["x"], self.batch.get("x_jnd"), self.batch["t"])
        loss = parts.loss
        if self.subject.auxiliary_loss is not None:
            loss = loss + self.subject.auxiliary_loss()
        loss.backward()
        with torch.no_grad():
            self._apply(parts)

    def _parts(self, x: Tensor, x_jnd: Tensor | None, t: Tensor) -> Parts:
        with self.autocast():
            out = self.forward(x, t)
        return self.objective(x, x_jnd, t, out.x_hat.float(), out.bits_y + out.bits_z)

    def _apply(self, parts: Parts) -> None:
        values = torch.stack([parts.loss.detach(), parts.bpp.mean(), psnr(parts.mse), parts.distortion.mean()])
        clipped, others, values = self._flat_gradients(values)
        norm = torch.linalg.vector_norm(clipped)
        keep = self._judge(values[0], norm)
        for part in (clipped, others):
            part.nan_to_num_(0.0, 0.0, 0.0)
        clipped *= torch.where(keep, self.clip / norm.clamp_min(self.clip), 0.0)
        kept = keep.float()
        for optimizer in self.optimizers:
            optimizer.step(self.scale, kept)
        self._average(kept)
        line = torch.cat([values, norm[None], values.new_ones(1)])
        self.sums += torch.cat([torch.where(keep, line, 0.0), 1 - kept[None]])

    def _flat_gradients(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All gradients in one piece of memory, so that one operation serves them all: those of the main loss, the
        others, and `values`, averaged over the processes. The parameters' gradients become views of it.
        """
        main, others = ([p for p in group if p.grad is not None] for group in (self.main, self.auxiliary))
        grads = ((p.grad, p) for p in main + others)
        flat = torch.cat([*(in_memory_order(grad, p).reshape(-1) for grad, p in grads if grad is not None), values])
        self.team.average([flat])
        at = 0
        for p in main + others:
            p.grad = flat[at : at + p.numel()].as_strided(p.shape, p.stride())
            at += p.numel()
        end = sum(p.numel() for p in main)
        return flat[:end], flat[end:at], flat[at:]

    def _judge(self, loss: Tensor, norm: Tensor) -> Tensor:
        """Whether the step counts: finite, and not far above the usual gradient norm, which follows slowly."""
        usual, seen = self.usual
        limit = torch.where(seen < SETTLED, torch.inf, EXPLODED * usual)
        finite = torch.isfinite(norm) & torch.isfinite(loss)
        change = (torch.minimum(norm, limit) - usual) * torch.clamp(1 / (seen + 1), min=0.02)
        self.usual += torch.stack([torch.where(finite, change, 0.0), finite.float()])
        return finite & (norm <= limit)

    def _average(self, kept: Tensor) -> None:
        old: list[Tensor] = list(self.average.parameters())
        change = list(torch._foreach_sub(list(self.subject.module.parameters()), old))
        torch._foreach_mul_(change, self.fresh * kept)
        torch._foreach_add_(old, change)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def take_sums(self) -> dict[str, float]:
        """Means since the last call, and how many steps were kept and left out. Waits for the device."""
        *sums, kept, left_out = self.sums.tolist()
        self.sums.zero_()
        means = {name: value / max(kept, 1) for name, value in zip(LOGGED, sums, strict=True)}
        return means | {"kept": kept, "left_out": left_out}


def psnr(mse: Tensor) -> Tensor:
    """Mean over pictures, in dB, of their 255² MSE."""
    return (10 * torch.log10(255**2 / mse.clamp_min(1e-4))).mean()
