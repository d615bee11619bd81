"""Operations and bytes of one training step by part, on any machine: nothing is computed, no GPU is needed.

    python benchmarks/step_cost.py [--metric MIX] [--config CONFIG] [--batch-size 16] [--patch-size 256] [--top 10]
    python benchmarks/step_cost.py --compiled     the bytes of forward, loss, metric and backward through torch.compile

An operation is one call of code of the device (a view or an allocation is none; a `_foreach` call over many
tensors is one). Its bytes are those of the tensors that it reads and writes, each element once. Both are proxies of the
time on a GPU: launches cost it some microseconds each, bytes go at its bandwidth, and arithmetic hardly counts here.

--compiled takes the compiler's own count of what its fused kernels read and write. It compiles for the processor, runs
a step for real, and takes minutes; on CUDA, where the trainer compiles if that is faster, other things may be fused.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from jndcodec.entropy import lookup
from jndcodec.metrics.trade import parse_metrics, variable_rate
from jndcodec.model.vbr import JlcVbr, VbrConfig
from jndcodec.train.distributed import Team
from jndcodec.train.native import stratified
from jndcodec.train.objective import Objective
from jndcodec.train.optim import build_optimizer
from jndcodec.train.settings import parse_config
from jndcodec.train.step import Step
from jndcodec.train.subject import Subject, named_parameters

SHIPPED = ""
FREE = ("device", "empty", "_unsafe_view", "new_empty", "empty_like", "empty_strided", "lift_fresh", "detach", "alias")
COLLIDING = ("index_add", "index_put", "scatter_add", "embedding_dense_backward", "index_reduce", "_index_put_impl")


class Costs(TorchDispatchMode):
    """While it is active: counts every operation under the name in `part`."""

    def __init__(self) -> None:
        super().__init__()
        self.part = ""
        self.operations: Counter[tuple[str, str]] = Counter()
        self.bytes: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        returns = func._schema.returns
        view = bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not view and name not in FREE:
            self.operations[self.part, name] += 1
            self.bytes[self.part, name] += sum(map(_size, tree_leaves((args, kwargs, out))))
        return out

    def total(self, part: str) -> tuple[int, int]:
        """Operations and bytes of a part."""
        return tuple(sum(n for (p, _), n in c.items() if p == part) for c in (self.operations, self.bytes))


def _size(value: object) -> int:
    """Bytes of a tensor's elements, those of an expanded one once; 0 for anything else."""
    if not isinstance(value, Tensor):
        return 0
    count = value.element_size()
    for size, stride in zip(value.shape, value.stride(), strict=True):
        count *= size if stride else 1
    return count


def _faked(module: nn.Module) -> nn.Module:
    """With parameters and buffers that are fake too, kernels channels last as in training."""
    for part in module.modules():
        for name, p in part._parameters.items():
            layout = torch.channels_last if p.ndim == 4 else torch.contiguous_format
            part._parameters[name] = nn.Parameter(torch.empty_like(p, device="cpu").contiguous(memory_format=layout))
        part._buffers = {name: torch.empty_like(b) for name, b in part._buffers.items()}
    return module


def _step(model: JlcVbr, metric: str) -> Step:
    """A step in bf16 on the processor, not captured."""
    trade = variable_rate(parse_metrics(metric), "")
    subject = Subject(model, trade, stratified, (0.0,))
    optimizer = build_optimizer("muon", named_parameters(subject, False), 1e-3, fast_bf16=True)
    objective = Objective(trade, "rd", "balanced", None)
    return Step(subject, objective, [optimizer], Team(), device=torch.device("cpu"), bf16=True, clip=1.0, graph=False)


def step_costs(config: str, metric: str, batch: int, patch: int) -> Costs:
    """The parts "forward", "metric" (with its gradient), "backward" and "optimiser" of a step in bf16."""
    lookup.PARALLEL.add("cpu")  # what a GPU would do
    model = JlcVbr(VbrConfig(**parse_config(config)))
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = _faked(model)
        step = _step(model, metric)
        batches = [(torch.rand(batch, 3, patch, patch), torch.rand(batch)) for _ in range(2)]
        for x, t in batches:  # the second counts: the first makes what is kept
            costs = Costs()
            with costs:
                costs.part = "forward"
                with step.autocast():
                    out = step.forward(x, t)
                costs.part = "metric"
                ends = [v.detach().requires_grad_() for v in (out.x_hat, out.bits_y, out.bits_z)]
                parts = step.objective(x, None, t, ends[0].float(), ends[1] + ends[2])
                parts.loss.backward()
                costs.part = "backward"
                torch.autograd.backward(list(out), [v.grad for v in ends])
                costs.part = "optimiser"
                with torch.no_grad():
                    step._apply(parts)
            for p in model.parameters():
                p.grad = None
    return costs


def compiled_bytes(config: str, metric: str, batch: int, patch: int) -> int:
    """What the kernels of a compiled step read and write, but for the optimiser's."""
    from torch._inductor import compile_fx, metrics
    from torch._inductor import config as inductor

    inductor.force_disable_caches = True  # what comes from a cache is not counted
    log = logging.getLogger(f"{compile_fx.__name__}.__inductor_metrics")  # it counts where it would say so
    log.setLevel(logging.INFO)
    log.propagate = False
    step = _step(JlcVbr(VbrConfig(**parse_config(config))).to(memory_format=torch.channels_last), metric)
    step.use(compiled=True)
    metrics.reset()
    step({"x": torch.rand(batch, 3, patch, patch), "t": torch.rand(batch)}, 0.0, 0.0)
    return metrics.num_bytes_accessed


@click.command()
@click.option("--config", default=SHIPPED, show_default=True)
@click.option("--metric", default="mse", show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--patch-size", default=256, show_default=True)
@click.option("--top", default=0, show_default=True, help="Name so many operations of each part.")
@click.option("--compiled", is_flag=True, help="Count the kernels of torch.compile instead.")
def main(config: str, metric: str, batch_size: int, patch_size: int, top: int, compiled: bool) -> None:
    """Print what one step costs."""
    if compiled:
        moved = compiled_bytes(config, metric, batch_size, patch_size)
        print(f"{batch_size} x {patch_size}², {metric}, compiled: {moved / batch_size / 1e6:.0f} MB a patch")
        return
    costs = step_costs(config, metric, batch_size, patch_size)
    print(f"{batch_size} x {patch_size}², {metric}, bf16, {config}")
    print("| part | operations | MB a patch | MB a step |\n|---|---|---|---|")
    for part in ("forward", "metric", "backward", "optimiser"):
        operations, moved = costs.total(part)
        each = "" if part == "optimiser" else f"{moved / batch_size / 1e6:.0f}"
        print(f"| {part} | {operations} | {each} | {moved / 1e6:.0f} |")
        named = [(name, costs.bytes[p, name]) for (p, name), count in costs.operations.most_common() if p == part]
        for name, moved in named[:top]:
            print(f"|   {name} | {costs.operations[part, name]} | | {moved / 1e6:.0f} |")
    colliding = sorted({f"{part}: {name}" for part, name in costs.operations if name.startswith(COLLIDING)})
    print("scatter with colliding addresses: " + (", ".join(colliding) or "none"))


if __name__ == "__main__":
    main()
