"""A training step on tensors without data: whatever would ask the device for a number, or mix devices, raises.

    python tests/fake_step.py cpu|cuda

Run by test_train_processes.py in a process of its own, since cached constants become fake too. "cuda" needs no GPU; its
backward pass and autocast do: gradients are zeros there, and all is float32.
"""

from __future__ import annotations

import sys
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from jndcodec.metrics.trade import variable_rate
from jndcodec.model.vbr import JlcVbr, VbrConfig
from jndcodec.train.distributed import Team
from jndcodec.train.native import stratified
from jndcodec.train.objective import Objective
from jndcodec.train.optim import build_optimizer
from jndcodec.train.step import Step
from jndcodec.train.subject import Subject, named_parameters


def move(module: nn.Module, device: str) -> None:
    """`module.to(device)`, which fake tensors refuse."""
    for part in module.modules():
        part._parameters = {name: nn.Parameter(p.detach().to(device)) for name, p in part._parameters.items()}
        part._buffers = {name: buffer.to(device) for name, buffer in part._buffers.items()}


def main(device: str) -> None:
    trade = variable_rate({"ssimulacra2": 1.0, "mse": 0.1, "ms-ssim": 1.0, "cvvdp": 1.0}, "")
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device(device):
        model = JlcVbr(
            VbrConfig(c8=32, c16=32, m=32, linear=8, detail=32, ce=4, cz=8, d=16, ds=8, h8=8, h16=8, s8=1, s16=1)
        )
        move(model, device)
        subject = Subject(model, trade, stratified, (0.0,))
        optimizer = build_optimizer("muon", named_parameters(subject, False), 1e-3, fast_bf16=True)
        batch = {"x": torch.rand(4, 3, 128, 128), "x_jnd": torch.rand(4, 3, 128, 128), "t": torch.rand(4)}
        for loss in ("rd", "pwl", "iwl"):
            step = Step(
                subject, Objective(trade, loss, "balanced", None), [optimizer], Team(),
                device=torch.device(device), bf16=device == "cpu", clip=1.0, graph=False,
            )  # fmt: skip

            def zeros(*_: object) -> None:
                for p in model.parameters():
                    p.grad = torch.zeros_like(p)

            with mock.patch.object(torch.Tensor, "backward", zeros) if device == "cuda" else mock.MagicMock():
                step(batch, 1.0, 0.1)
            assert step.sums.device.type == device
        try:
            step.take_sums()
        except DataDependentOutputException:
            print("asked for nothing until the log did")


if __name__ == "__main__":
    main(sys.argv[1])
