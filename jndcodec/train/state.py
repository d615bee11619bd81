"""All of a run's state, to a checkpoint and back: what resuming needs to go on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from jndcodec.errors import ModelError
from jndcodec.train.checkpoint import load_checkpoint, random_state, restore_random_state
from jndcodec.train.data import Dataset
from jndcodec.train.objective import Objective
from jndcodec.train.schedule import Plateau
from jndcodec.train.settings import Settings
from jndcodec.train.step import Step
from jndcodec.train.subject import Subject


class Run(Protocol):
    """What of a run is kept: the loop's `Trainer` is one."""

    settings: Settings
    device: torch.device
    data: Dataset
    subject: Subject
    objective: Objective
    step: Step
    plateau: Plateau
    done: int
    left_out: int
    best: float
    scaled: bool
    elapsed_before: float

    @property
    def minutes(self) -> float: ...


def about(run: Run) -> dict[str, Any]:
    """Where the run stands and what it is, without its weights."""
    return {
        "step": run.done,
        "score": run.best,
        "seconds": run.minutes * 60,
        "settings": run.settings.to_dict(),
        "data": run.data.manifest_hash,
    }


def snapshot(run: Run) -> dict[str, Any]:
    """Tensors and plain values only."""
    return about(run) | {
        "model": run.subject.module.state_dict(),
        "ema": run.step.average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.step.optimizers],
        "usual": run.step.usual,
        "sums": run.step.sums,
        "feature_scale": run.objective.feature_scale,
        "scaled": run.scaled,
        "plateau": run.plateau.state_dict(),
        "skipped": run.left_out,
        "random": random_state(run.device),
    }


def restore(run: Run, path: Path) -> None:
    """The inverse of `snapshot`; ModelError where the checkpoint is of another run."""
    state = load_checkpoint(path)
    if state["data"] != run.data.manifest_hash:
        raise ModelError(f"{path} was trained on other data; give the same folders, or start anew with --init")
    run.subject.module.load_state_dict(state["model"])
    run.step.average.load_state_dict(state["ema"])
    for optimizer, saved in zip(run.step.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    run.step.usual.copy_(state["usual"])
    run.step.sums.copy_(state["sums"])
    run.objective.feature_scale.copy_(state["feature_scale"])
    run.plateau.load_state_dict(state["plateau"])
    run.done, run.best = state["step"], state["score"]
    run.left_out, run.scaled = state["skipped"], state["scaled"]
    run.elapsed_before = state["seconds"]
    restore_random_state(state["random"], run.device)
