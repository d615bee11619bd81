"""What is trained: a module that maps (x, t) to pictures and bits, and what the loop has to know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from jndcodec.effort.dead_zone import calibrated_dead_zones
from jndcodec.entropy.tables import gaussian_tables
from jndcodec.errors import InputError, ModelError
from jndcodec.train.checkpoint import load_checkpoint
from jndcodec.train.rates import RateTrade, variable_rate
from jndcodec.train.settings import NATIVE, Settings, parse_config, parse_metrics
from jndcodec.weights import load_model, read_info

WEIGHTS = ".safetensors"
# What a decoder alone computes. The scales decide symbols and the gains of the encoder stand in both: they stay.
DECODER = ("g_s_", "gain_s.", "gain_y_inverse.", "recon_shift", "h_s.", "mean_0.", "context.")


@dataclass
class Subject:
    """module(x, t, hard) returns `jndcodec.model.vbr.Output`.

    draw_t: rate knobs for a batch of n, float32 (n,). knobs: those that validation looks at. auxiliary: names of
    parameters that learn by `module.auxiliary_loss()` alone (CompressAI's quantiles).
    """

    module: nn.Module
    trade: RateTrade
    draw_t: Callable[[int, np.random.Generator], np.ndarray]
    knobs: tuple[float, ...]
    auxiliary: frozenset[str] = field(default_factory=frozenset)


def build_subject(settings: Settings, tiles: Callable[[], Tensor]) -> Subject:
    """The model of a run, started as asked. tiles(): training crops (n, 3, h, w) for the KLT start."""
    if not settings.native:
        from jndcodec.train.zoo import build_zoo_subject

        return build_zoo_subject(settings)
    trade = variable_rate(parse_metrics(settings.metric), settings.lmbda)
    return Subject(build_native(settings, tiles), trade, stratified, (0.0, 0.25, 0.5, 0.75, 1.0))


def stratified(n: int, rng: np.random.Generator) -> np.ndarray:
    """One t from each n-th of [0, 1], all moved by the same random amount: every batch sees the whole range."""
    return ((np.arange(n) + rng.random()) / n).astype(np.float32)


def build_native(settings: Settings, tiles: Callable[[], Tensor]) -> nn.Module:
    """jlc-vbr as `start_native` gives it, rounding as the encoder really will: with the dead zones tuned for the
    weights it goes on from, else those that the encoder has for untuned ones. For its decoder alone the rest is frozen.
    """
    model = start_native(settings, tiles)
    if settings.decoder_only:
        for name, p in model.named_parameters():
            p.requires_grad_(name.startswith(DECODER))
    calibration = read_info(settings.init).calibration if settings.init.endswith(WEIGHTS) else {}
    model.dead_zone.copy_(torch.from_numpy(calibrated_dead_zones(calibration, gaussian_tables())))
    return model


def start_native(settings: Settings, tiles: Callable[[], Tensor]) -> nn.Module:
    """jlc-vbr from a weights file, a checkpoint, or the KLT of the training tiles."""
    from jndcodec.model.klt import init_klt
    from jndcodec.model.vbr import JlcVbr, VbrConfig

    overrides = parse_config(settings.config)
    if settings.init.endswith(WEIGHTS):
        from jndcodec.model.widen import add_detail, add_slim

        model = load_model(settings.init)
        if overrides.get("detail") and not model.config.detail:
            model = add_detail(model, overrides.pop("detail"), tiles())
        widths = overrides.get("h8", 0), overrides.get("h16", 0)
        if any(widths) and not (model.config.h8 or model.config.h16):
            model = add_slim(model, *widths)
        if any(getattr(model.config, name, None) != value for name, value in overrides.items()):
            raise ModelError(f"{settings.init} has another --config: {model.config}")
        return model
    try:
        config = VbrConfig(**overrides)
    except TypeError:
        names = ", ".join(VbrConfig.__dataclass_fields__)
        raise InputError(f"--config {settings.config}: {NATIVE} knows {names}") from None
    if config.m % 4 or config.detail % 4 or config.detail >= config.m:
        raise InputError("--config m and detail must each be a multiple of 4, and detail below m")
    model = JlcVbr(config)
    if settings.init:
        load_weights(model, Path(settings.init))
    elif config.c8 == 192 and config.c16 >= config.m - config.detail:  # other widths have no room for the KLT
        init_klt(model, tiles())
    return model


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
