"""The image models of CompressAI's zoo behind the trainer's interface. The only module here that imports CompressAI."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jndcodec.errors import ArgumentError, DependencyError, ModelError, OutputError
from jndcodec.metrics.trade import LEVELS
from jndcodec.model.vbr import Output
from jndcodec.train.settings import NATIVE, Settings, trade
from jndcodec.train.subject import Subject, load_weights

QUANTILES = ".quantiles"  # parameters of the auxiliary loss


class ZooModel(nn.Module):
    """A model of the zoo as `module(x, t, hard)`. Noise stands for rounding unless `hard` (or in evaluation mode)."""

    net: Any  # CompressAI has no types

    def __init__(self, net: nn.Module, variable: bool) -> None:
        super().__init__()
        self.net, self.variable = net, variable

    def forward(self, x: Tensor, t: Tensor, hard: bool = False) -> Output:
        """x: (N, 3, H, W) in [0, 1]. The zoo's variable-rate models take one t for the whole batch."""
        if hard and self.training:
            raise ValueError("real rounding needs evaluation mode")
        x = x.contiguous()  # in channels_last torch 2.15 crashes in the backward pass of cheng2020 on a CPU
        out = self.net(x, stage=2, s=round(float(t[0]) * (LEVELS - 1))) if self.variable else self.net(x)
        bits = {name: -p.log2().sum((1, 2, 3)) for name, p in out["likelihoods"].items()}
        return Output(out["x_hat"], bits["y"], bits["z"] if "z" in bits else torch.zeros_like(bits["y"]))

    def auxiliary_loss(self) -> Tensor:
        """Moves the quantiles of the entropy bottleneck to the tails of its distributions."""
        return self.net.aux_loss()


def build_zoo_subject(settings: Settings) -> Subject:
    """A model by its name in the zoo, with random, downloaded or given weights."""
    models = _image_models()
    if settings.model not in models:
        raise ArgumentError(f"unknown model {settings.model!r}; choose {NATIVE} or one of {', '.join(models)}")
    if settings.config:
        raise ArgumentError(f"--config is for {NATIVE}; a zoo model has --quality")
    if settings.precision == "bf16":
        raise ArgumentError("the zoo's likelihoods need float32; leave out --precision bf16")
    variable = settings.all_rates
    costs = trade(settings)
    module = ZooModel(_create(models, settings, costs.main, variable), variable)
    if settings.init:
        load_weights(module, Path(settings.init))
    auxiliary = frozenset(name for name, _ in module.named_parameters() if name.endswith(QUANTILES))
    if variable:
        knobs = (0.0, 2 / 7, 5 / 7, 1.0)
        return Subject(module, costs, one_level, knobs, auxiliary, module.auxiliary_loss)
    t = (settings.quality - 1) / 7
    return Subject(module, costs, lambda n, rng: np.full(n, t, np.float32), (t,), auxiliary, module.auxiliary_loss)


def one_level(n: int, rng: np.random.Generator) -> np.ndarray:
    """One of the zoo's rate levels for the whole batch."""
    return np.full(n, rng.integers(LEVELS) / (LEVELS - 1), np.float32)


def export_zoo(module: ZooModel, path: Path, settings: Settings, record: dict[str, Any]) -> None:
    """A .pth that `torch.load(weights_only=True)` reads: `state_dict` is CompressAI's own, its tables made."""
    module.net.update(force=True)
    partial = path.with_name(path.name + ".partial")
    content = {
        "architecture": settings.model, "quality": settings.quality, "record": record,
        "state_dict": {key: value.cpu().contiguous() for key, value in module.net.state_dict().items()},
    }  # fmt: skip
    try:
        torch.save(content, partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot write the weights: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _image_models() -> Mapping[str, Any]:
    try:
        return importlib.import_module("compressai.zoo").image_models
    except ImportError:
        raise DependencyError("the zoo models need CompressAI: pip install compressai") from None


def _create(models: Mapping[str, Any], settings: Settings, metric: str, variable: bool) -> nn.Module:
    options: dict[str, Any] = {"pretrained": settings.pretrained}
    if not variable:
        options |= {"quality": settings.quality, "metric": metric if metric == "ms-ssim" else "mse"}
    try:
        return models[settings.model](**options)
    except ValueError as error:
        raise ArgumentError(f"{settings.model} has no --quality {settings.quality}: {error}") from None
    except OSError as error:  # URLError is one
        raise ModelError(
            f"cannot download {settings.model}: {error}; on a machine without a network leave out --pretrained"
        ) from None
    except RuntimeError as error:
        raise ModelError(f"{settings.model}, quality {settings.quality}: {error}") from None
