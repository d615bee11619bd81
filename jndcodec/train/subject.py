"""What is trained: a module that maps (x, t) to pictures and bits, and what the loop has to know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from jndcodec.errors import ModelError
from jndcodec.metrics.trade import RateTrade
from jndcodec.train.checkpoint import load_checkpoint


@dataclass
class Subject:
    """module(x, t, hard) returns `jndcodec.model.vbr.Output`.

    draw_t: rate knobs for a batch of n, float32 (n,). knobs: those that validation looks at. auxiliary: names of
    parameters that learn by `auxiliary_loss` alone (CompressAI's quantiles).
    """

    module: nn.Module
    trade: RateTrade
    draw_t: Callable[[int, np.random.Generator], np.ndarray]
    knobs: tuple[float, ...]
    auxiliary: frozenset[str] = field(default_factory=frozenset)
    auxiliary_loss: Callable[[], Tensor] | None = None


def load_weights(model: nn.Module, path: Path) -> None:
    """The averaged weights of a checkpoint of ours."""
    try:
        model.load_state_dict(load_checkpoint(path)["ema"])
    except (RuntimeError, KeyError) as error:
        raise ModelError(f"{path}: not a checkpoint of this model and --config: {error}".splitlines()[0]) from None


def named_parameters(subject: Subject, auxiliary: bool) -> list[tuple[str, nn.Parameter]]:
    """The parameters of the main loss, or those of the auxiliary one."""
    return [(n, p) for n, p in subject.module.named_parameters() if (n in subject.auxiliary) == auxiliary]


def set_threads(threads: int | None) -> None:
    """One thread each unless told: two collapse when anything else runs on the machine."""
    if threads:
        torch.set_num_threads(threads)
