"""What the trainer's tests share: a small data set on disk, small settings, a feature network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from jndcodec.errors import DependencyError
from jndcodec.train.loop import Trainer
from jndcodec.train.recipes import fill_in
from jndcodec.train.settings import Settings, check

TINY = "c8=32,c16=32,m=32,linear=8,detail=16,ce=4,cz=8,d=16,ds=8,h8=8,h16=8,s8=1,s16=1"
SOURCE = Path(__file__).parent.parent


def write_data(root: Path, photo: Any) -> Path:
    """ROOT/{train,test}/{Ref,JND1}: the JND1 pictures are the others with a little noise."""
    for part, seeds in (("train", range(4)), ("test", range(4, 6))):
        for seed in seeds:
            ref = photo(128, 128, seed)
            noise = np.random.default_rng(seed).integers(-6, 7, ref.shape)
            for kind, pixels in (("Ref", ref), ("JND1", np.clip(ref + noise, 0, 255).astype(np.uint8))):
                folder = root / part / kind
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{seed}.png")
    return root


def settings(data: Path, **changes: Any) -> Settings:
    """A complete run of the tiny native model in float32, four patches of 64 pixels."""
    values: dict[str, Any] = {
        "roots": (str(data),), "config": TINY, "steps": 6, "batch_size": 4, "patch_size": 64, "precision": "float32",
        "features": "alexnet", "device": "cpu", "validate_pictures": 2,
    }  # fmt: skip
    made = Settings(**(values | changes))
    check(made)
    return fill_in(made)


def train(data: Path, out: Path, resume: bool = False, **changes: Any) -> Trainer:
    trainer = Trainer(settings(data, **changes), out, resume=resume)
    trainer.run()
    return trainer


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "jndcodec", "train", *arguments]


def run_command(*arguments: str, program: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """`jndcodec train` in a process of its own, from the source tree."""
    call = [*(program or []), *arguments] if program else command(*arguments)
    return subprocess.run(call, env=environment(), capture_output=True, text=True, timeout=300)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}


class StubFeatures(nn.Module):
    """Stands in where no trained network is installed: two random layers, frozen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)]).requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        first = self.layers[0](x).relu()
        return [first, self.layers[1](first).relu()]


def features() -> nn.Module:
    """AlexNet where its weights are installed, else the stub."""
    from jndcodec.metrics.features import load_features

    try:
        return load_features("alexnet")
    except DependencyError:
        return StubFeatures()


def parameters(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.subject.module.state_dict().items()}
