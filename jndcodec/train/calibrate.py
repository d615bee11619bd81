"""The default rate of a model: one JND, found by coding pictures for real.

Weights are calibrated in two steps. `export_weights` takes what training measured on the float model (`points`); then
`calibrate(path, pictures)` codes held-out pictures with the finished file, at the default effort, and writes the knob
`t_1jnd` that `encode` uses without a target, with what was measured there, into the file's header. The model id stays,
since it names tensors. `export_run` does both; for a file made in another way, or other pictures:

    python benchmarks/calibrate.py WEIGHTS PICTURES... --write

Half of the people see a difference at 1 JND. Pictures differ, so a mean alone would leave many of them well over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from jndcodec.codec import Codec
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.errors import DataError
from jndcodec.metrics.ssimulacra2 import score
from jndcodec.model.export import rewrite_calibration
from jndcodec.rate.jnd import jnd_from_ssimulacra2, ssimulacra2_from_jnd
from jndcodec.rate.search import Expected, search
from jndcodec.weights import ModelInfo

MEAN = 1.0  # JND over the pictures, at most
OVER, SHARE = 1.1, 0.25  # at most this share of the pictures is over so many JND
TOLERANCE = 0.02  # JND by which the search may stay below
PICTURES, SIDE = 32, 512  # of a training set: so many middles of so many pixels a side


def calibrate(path: str | Path, pictures: Sequence[np.ndarray]) -> ModelInfo:
    """Find the smallest knob at which `margin` holds for the pictures, and write it into the weights file.

    pictures: uint8 (H, W, 3), not trained on. A model that does not reach it gets its largest knob. DataError without
    pictures.
    """
    if not len(pictures):
        raise DataError("calibration needs pictures: name some that the model was not trained on")
    codec = Codec(weights=path)
    expected = Expected.ssimulacra2(codec.info)
    expected = Expected(expected.knobs, np.array([MEAN - jnd_from_ssimulacra2(v) for v in expected.values]))
    knob = search(lambda knob: margin(jnd_at(codec, pictures, knob)), 0.0, TOLERANCE, expected)
    knob = T_MAX if knob < 0 else knob
    found = {"t_1jnd": round(knob / T_MAX, 6), "jnd": summary(jnd_at(codec, pictures, knob))}
    return rewrite_calibration(path, codec.info.calibration | found)


def estimate(points: Sequence[dict[str, float]]) -> float:
    """t at one JND from {t, ssimulacra2} of a validation, t rising: where the mean reaches it, or the nearer end."""
    scores = np.maximum.accumulate([point["ssimulacra2"] for point in points])
    return round(float(np.interp(ssimulacra2_from_jnd(MEAN), scores, [point["t"] for point in points])), 5)


def jnd_at(codec: Codec, pictures: Sequence[np.ndarray], knob: int) -> np.ndarray:
    """The estimated JND of each picture, coded and decoded at a knob of 0 … T_MAX. float64 (n,)."""
    return np.array([_jnd(codec, rgb, 100 * knob / T_MAX) for rgb in pictures])


def margin(jnd: np.ndarray) -> float:
    """How much better (JND) the pictures are than asked: at least 0 where their mean is at most MEAN and at most SHARE
    of them are over OVER."""
    allowed = int(SHARE * len(jnd))
    return float(min(MEAN - jnd.mean(), OVER - np.sort(jnd)[len(jnd) - 1 - allowed]))


def summary(jnd: np.ndarray) -> dict[str, Any]:
    """What stands in the header: pictures, their mean JND, and the share of them over OVER."""
    return {"pictures": len(jnd), "mean": round(float(jnd.mean()), 4), "over": round(float((jnd > OVER).mean()), 4)}


def _jnd(codec: Codec, rgb: np.ndarray, quality: float) -> float:
    decoded = np.asarray(
        codec.decode(codec.encode(Image.fromarray(rgb), quality=quality, lossless=False)).convert("RGB")
    )
    a, b = (torch.tensor(each).permute(2, 0, 1)[None].float() / 255 for each in (rgb, decoded))
    with torch.inference_mode():
        return jnd_from_ssimulacra2(score(a, b).item(), learned=True)
