"""From a finished or interrupted run to a weights file that `jndcodec encode --weights` takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jndcodec import __version__
from jndcodec.entropy.dead_zone import calibration_of
from jndcodec.errors import DependencyError, ModelError
from jndcodec.model.vbr import JlcVbr
from jndcodec.train.checkpoint import load_checkpoint
from jndcodec.train.loop import BEST, LAST, Trainer
from jndcodec.train.settings import Settings
from jndcodec.train.validate import CALIBRATION_KNOBS, measure
from jndcodec.train.zoo import ZooModel, export_zoo
from jndcodec.weights import ModelInfo

TUNED, SIDE = 12, 256  # pictures that the steps of detail are tuned on, and the side of their middles


def export_run(trainer: Trainer, name: str, command: str) -> Path:
    """Write the best averaged weights, calibrated: OUT/NAME.safetensors, or OUT/NAME.pth for a zoo model."""
    best = trainer.out / BEST
    checkpoint = load_checkpoint(best if best.exists() else trainer.out / LAST)
    model = trainer.step.average
    model.load_state_dict(checkpoint["ema"])
    record = training_record(checkpoint, trainer, command)
    if isinstance(model, ZooModel):
        path = trainer.out / f"{name}.pth"
        export_zoo(model, path, trainer.settings, record)
        return path
    from jndcodec.effort.counting import middles
    from jndcodec.model.export import rewrite_calibration
    from jndcodec.train import calibrate

    path = trainer.out / f"{name}.safetensors"
    if not trainer.held:
        raise ModelError("no held-out picture has 64 pixels on its short side, which calibration needs")
    assert isinstance(model, JlcVbr)
    rounding = calibration_of(model.dead_zone.cpu().numpy())  # what training rounded with
    about: dict[str, Any] = {"name": name, "loss": describe_loss(trainer.settings), "record": record}
    model.cpu().to(memory_format=torch.contiguous_format)
    export_tuned(model, path, trainer.data.typical, **about, calibration={"t_1jnd": 0.5} | rounding)
    model.to(trainer.device).to(memory_format=torch.channels_last)
    _, points = measure(trainer.step, trainer.held, CALIBRATION_KNOBS, lambda: False)
    rounded = [{key: round(value, 5) for key, value in point.items()} for point in points]
    rewrite_calibration(path, {"t_1jnd": calibrate.estimate(points), "points": rounded} | rounding)
    try:
        calibrate.calibrate(path, middles(trainer.data.test.pictures, calibrate.PICTURES, calibrate.SIDE, smallest=64))
    except (DependencyError, ImportError) as error:  # a bare machine trains, but has no entropy coder
        warnings.warn(
            f"{path}: its one-JND rate is estimated only ({error}); benchmarks/calibrate.py sets it elsewhere",
            stacklevel=2,
        )
    return path


def export_tuned(
    model: JlcVbr, path: Path, pictures: Sequence[np.ndarray], say: Callable[[str], None] = lambda line: None,
    **about: Any,
) -> ModelInfo:  # fmt: skip
    """`export_fitted` with the steps of detail tuned before, where some of the pictures are large enough. `model`, on
    the CPU, has them then. say: takes a line per rate anchor."""
    from jndcodec.effort.counting import middles
    from jndcodec.model.native import NativeModel
    from jndcodec.train.detail_steps import tune_detail

    info = export_fitted(model, path, pictures, **about)
    if not (chosen := middles(pictures, TUNED, SIDE, smallest=SIDE)):
        return info
    tune_detail(NativeModel(info, "cpu"), model, chosen, say)
    return export_fitted(model, path, pictures, **about)


def export_fitted(model: JlcVbr, path: Path, pictures: Sequence[np.ndarray], **about: Any) -> ModelInfo:
    """Write a weights file with probability tables fitted to what it codes some of the pictures as, uint8 (H, W, 3),
    with the dead zones in `about`'s calibration, and its detail in the order of use. about: as `export_weights` takes
    it."""
    from jndcodec.effort.counting import count
    from jndcodec.model.export import export_weights
    from jndcodec.model.klt import reorder_detail

    counts = count(export_weights(model, path, **about), pictures)
    reorder_detail(model, torch.from_numpy(counts.order()))
    return export_weights(model, path, **about, tables=counts.tables())


def describe_loss(settings: Settings) -> str:
    """ "fwl balanced, ssimulacra2:1,mse:0.1"."""
    loss = settings.loss if settings.loss == "rd" else f"{settings.loss} {settings.variant}"
    return f"{loss}, {settings.metric}"


def training_record(checkpoint: dict[str, Any], trainer: Trainer, command: str) -> dict[str, Any]:
    """What a reader needs to make the weights again."""
    return {
        "data": trainer.data.manifest_hash,
        "steps": checkpoint["step"],
        "minutes": round(trainer.minutes, 1),
        "validation": checkpoint["score"],
        "loss": describe_loss(trainer.settings),
        "command": command,
        "version": __version__,
    }
