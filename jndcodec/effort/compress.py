"""A picture through a model at one of the levels: the model's own single pass, or descent on top of it."""

from __future__ import annotations

import numpy as np

from jndcodec.effort import level_of
from jndcodec.errors import ArgumentError
from jndcodec.model.interface import Compressed, Model, Progress, silent

DESCENT = 0.9  # about the share of gradient descent in the time of a level that has it, for progress


def compress(model: Model, rgb: np.ndarray, t: int, effort: int, progress: Progress = silent) -> Compressed:
    """Code uint8 (H, W, 3) at the knob t, 0 … 65535; effort 1 … 9 trades time for bytes. A model of the zoo has one
    level only. ArgumentError where there is no such level, or not
    with this engine; progress is called with the share done."""
    level = level_of(effort)
    if not level.steps or not model.exact:
        return model.compress(rgb, t, level.dead_zone, progress)
    if model.engine != "torch":
        raise ArgumentError(f"effort {effort} needs gradients, which the engine torch alone has: leave out onnx")
    from jndcodec.effort.refine import refine
    from jndcodec.effort.settle import settle
    from jndcodec.model.native import NativeModel

    assert isinstance(model, NativeModel)
    y, energies = model.analyse(rgb, t)
    z = model.hyper_analyse(y, energies, t)
    single_pass, _ = model.code(rgb, y, z, t, level.dead_zone)
    y, z = refine(model, rgb, y, z, t, level.steps, lambda share: progress(DESCENT * share))
    return settle(model, rgb, y, z, t, single_pass)
