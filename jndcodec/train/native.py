"""jlc-vbr as what is trained, started from weights, a checkpoint or the KLT."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jndcodec.entropy.dead_zone import calibrated_dead_zones
from jndcodec.entropy.tables import gaussian_tables
from jndcodec.errors import ModelError
from jndcodec.model.build import load_model
from jndcodec.model.klt import init_klt
from jndcodec.model.vbr import JlcVbr
from jndcodec.train.settings import Settings, native_config, parse_config, trade
from jndcodec.train.subject import Subject, load_weights
from jndcodec.weights import read_info

WEIGHTS = ".safetensors"
# What a decoder alone computes. The scales decide symbols and the gains of the encoder stand in both: they stay.
DECODER = ("g_s_", "gain_s.", "gain_y_inverse.", "recon_shift", "h_s.", "mean_0.", "context.")


def build_native_subject(settings: Settings, tiles: Callable[[], Tensor]) -> Subject:
    """The native model of a run, started as asked. tiles(): training crops (n, 3, h, w) for the KLT start."""
    return Subject(build_native(settings, tiles), trade(settings), stratified, (0.0, 0.25, 0.5, 0.75, 1.0))


def stratified(n: int, rng: np.random.Generator) -> np.ndarray:
    """One t from each n-th of [0, 1], all moved by the same random amount: every batch sees the whole range, and rates
    that people use more often than those near the top, half of all below t = 0.38.
    """
    return (((np.arange(n) + rng.random()) / n) ** 1.4).astype(np.float32)


def build_native(settings: Settings, tiles: Callable[[], Tensor]) -> JlcVbr:
    """jlc-vbr as `start_native` gives it, rounding as the encoder really will: with the dead zones tuned for the
    weights it goes on from, else those that the encoder has for untuned ones. For its decoder alone the rest is frozen.
    """
    model = start_native(settings, tiles)
    if settings.hold_detail:
        hold_detail(model)
    if settings.decoder_only:
        for name, p in model.named_parameters():
            p.requires_grad_(name.startswith(DECODER))
    calibration = read_info(settings.init).calibration if settings.init.endswith(WEIGHTS) else {}
    model.round_with(torch.from_numpy(calibrated_dead_zones(calibration, gaussian_tables())))
    return model


def hold_detail(model: JlcVbr) -> None:
    """Let nothing move the steps and scales of detail, which were tuned for what files have: their gradients are 0."""
    parts = [model.config.m, model.config.detail]

    def without(gradient: Tensor, axis: int) -> Tensor:
        main, detail = gradient.split(parts, axis)
        return torch.cat([main, torch.zeros_like(detail)], axis)

    for gain in (model.gain_y, model.gain_y_inverse, model.scale_y):
        gain.log_gain.register_hook(partial(without, axis=1))
    for p in model.scale_net[-1].parameters():
        p.register_hook(partial(without, axis=0))
    model.h_a_detail.requires_grad_(False)


def start_native(settings: Settings, tiles: Callable[[], Tensor]) -> JlcVbr:
    """jlc-vbr from a weights file, a checkpoint, or the KLT of the training tiles."""
    if settings.init.endswith(WEIGHTS):
        model = load_model(settings.init)
        overrides = parse_config(settings.config)
        if any(getattr(model.config, name, None) != value for name, value in overrides.items()):
            raise ModelError(f"{settings.init} has another --config: {model.config}")
        return model
    config = native_config(settings)
    model = JlcVbr(config)
    if settings.init:
        load_weights(model, Path(settings.init))
    elif config.c8 == 192 and config.c16 >= config.m - config.linear:  # other widths have no room for the KLT
        init_klt(model, tiles())
    return model
