"""All of a run's state, to a checkpoint and back: what resuming needs to go on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jndcodec.errors import ModelError
from jndcodec.train.checkpoint import load_checkpoint, random_state, restore_random_state

if TYPE_CHECKING:
    from jndcodec.train.loop import Trainer


def about(trainer: Trainer) -> dict[str, Any]:
    """Where the run stands and what it is, without its weights."""
    return {
        "step": trainer.done,
        "score": trainer.best,
        "seconds": trainer.minutes * 60,
        "settings": trainer.settings.to_dict(),
        "data": trainer.data.manifest_hash,
    }


def snapshot(trainer: Trainer) -> dict[str, Any]:
    """Tensors and plain values only."""
    return about(trainer) | {
        "model": trainer.subject.module.state_dict(),
        "ema": trainer.step.average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in trainer.step.optimizers],
        "usual": trainer.step.usual,
        "sums": trainer.step.sums,
        "feature_scale": trainer.objective.feature_scale,
        "scaled": trainer.scaled,
        "plateau": trainer.plateau.state_dict(),
        "skipped": trainer.left_out,
        "random": random_state(trainer.device),
    }


def restore(trainer: Trainer, path: Path) -> None:
    """The inverse of `snapshot`; ModelError where the checkpoint is of another run."""
    state = load_checkpoint(path)
    if state["data"] != trainer.data.manifest_hash:
        raise ModelError(f"{path} was trained on other data; give the same folders, or start anew with --init")
    trainer.subject.module.load_state_dict(state["model"])
    trainer.step.average.load_state_dict(state["ema"])
    for optimizer, saved in zip(trainer.step.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    trainer.step.usual.copy_(state["usual"])
    trainer.step.sums.copy_(state["sums"])
    trainer.objective.feature_scale.copy_(state["feature_scale"])
    trainer.plateau.load_state_dict(state["plateau"])
    trainer.done, trainer.best = state["step"], state["score"]
    trainer.left_out, trainer.scaled = state["skipped"], state["scaled"]
    trainer.elapsed_before = state["seconds"]
    restore_random_state(state["random"], trainer.device)
