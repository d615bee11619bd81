"""Dead zones tuned on pictures, once per weights file, and kept in its calibration.

The table of w (jndcodec.entropy.dead_zone) is searched range by range for the fewest bits at equal quality: how far
each coding lies below the curve of plain rounding, log R over quality, averaged over pictures and rate knobs.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, from_numpy

from jndcodec.effort.objective import Objective
from jndcodec.entropy.dead_zone import DISTORTION, calibration_of, dead_zones
from jndcodec.entropy.rounding import Quantise, quantiser
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.model.interface import size_of
from jndcodec.model.native import NativeModel
from jndcodec.weights import METADATA_KEY

KNOBS = tuple(round(t * T_MAX) for t in (0.1, 0.3, 0.5, 0.7))
FACTORS = (0.5, 0.7, 1.4, 2.0)  # tried on each range's w
CURVE = tuple(round(t / 8 * T_MAX) for t in range(9))  # knobs of the curve of plain rounding


@dataclass
class Subject:
    """A picture's y and z at the tuned knobs, and its curve under plain rounding: -log D rising, log bits."""

    rgb: np.ndarray
    latents: list[tuple[int, Tensor, Tensor]]
    quality: np.ndarray
    log_bits: np.ndarray


def tune(
    model: NativeModel, pictures: Sequence[np.ndarray], say: Callable[[str], None] = lambda line: None
) -> tuple[np.ndarray, float]:
    """(dead zones float32 (COUNT,), mean gain in log bits, negative) for uint8 pictures (H, W, 3)."""
    subjects = [_subject(model, rgb) for rgb in pictures]
    table = list(DISTORTION)

    def gain(candidate: Sequence[tuple[int, float]]) -> float:
        return float(np.mean([_gain(model, s, from_numpy(dead_zones(model.tables, candidate))) for s in subjects]))

    best = gain(table)
    say(f"default dead zones: {best:+.2%}")
    for i, (bound, w) in enumerate(table):
        for factor in FACTORS:
            candidate = [*table[:i], (bound, w * factor), *table[i + 1 :]]
            if sorted(candidate, key=lambda entry: entry[1]) != candidate:
                continue  # w rises with the scale; where it seems not to, that is noise
            if (found := gain(candidate)) < best:
                best, table = found, candidate
        say(f"table indexes below {bound}: w = {table[i][1]:.3g}, {best:+.2%}")
    return dead_zones(model.tables, table), best


def _subject(model: NativeModel, rgb: np.ndarray) -> Subject:
    points = [_point(model, rgb, knob, *_latents(model, rgb, knob), quantiser(model.dead_zone, 0.0)) for knob in CURVE]
    points = [p for i, p in enumerate(points) if all(p[0] > q[0] for q in points[:i])]
    quality, log_bits = np.array(points).T
    return Subject(rgb, [(knob, *_latents(model, rgb, knob)) for knob in KNOBS], quality, log_bits)


def _latents(model: NativeModel, rgb: np.ndarray, knob: int) -> tuple[Tensor, Tensor]:
    y, energies = model.analyse(rgb, knob)
    return y, model.hyper_analyse(y, energies, knob)


def _point(
    model: NativeModel, rgb: np.ndarray, knob: int, y: Tensor, z: Tensor, quantise: Quantise
) -> tuple[float, float]:
    """(-log D, log bits)."""
    coded = model.quantise(rgb, y, z, knob, quantise)
    objective = Objective(model.info, knob)
    d = objective.judge(0, model.decoded(coded, knob, size_of(rgb)), rgb) / objective.lmbda
    return -math.log(max(d, 1e-9)), math.log(max(coded.symbols.bits(model.tables), 1.0))


def _gain(model: NativeModel, subject: Subject, zones: Tensor) -> float:
    gains = []
    for knob, y, z in subject.latents:
        quality, log_bits = _point(model, subject.rgb, knob, y, z, quantiser(zones.to(model.device)))
        if subject.quality[0] <= quality <= subject.quality[-1]:
            gains.append(log_bits - np.interp(quality, subject.quality, subject.log_bits))
    return float(np.mean(gains)) if gains else 0.0


def store(path: Path, zones: np.ndarray) -> None:
    """Write the dead zones into a weights file's calibration: its header changes, its tensors and its id do not."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    about = json.loads(header["__metadata__"][METADATA_KEY])
    about["calibration"] |= calibration_of(zones)
    header["__metadata__"][METADATA_KEY] = json.dumps(about)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # safetensors keeps tensors aligned
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
