"""Validation: real rounding on held-out pictures, in 8 bits as a decoder writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from jndcodec.metrics.pixel import psnr
from jndcodec.metrics.ssimulacra2 import score
from jndcodec.train.step import Step
from jndcodec.train.tiles import Pair

CALIBRATION_KNOBS = tuple(i / 8 for i in range(9))
SAMPLES = 3  # reconstructions kept as pictures


class Stopped(Exception):
    """A signal came while pictures were being looked at."""


@torch.no_grad()
def measure(
    step: Step, pictures: Sequence[Pair], knobs: Sequence[float], stop: Callable[[], bool], samples: Path | None = None
) -> tuple[float, list[dict[str, float]]]:
    """(mean loss, a point of {t, bpp, psnr, ssimulacra2} per knob) of the averaged weights."""
    total, points = 0.0, []
    for knob in knobs:
        sums = torch.zeros(4, dtype=torch.float64)
        for i, held in enumerate(pictures):
            if stop():
                raise Stopped
            x = held.x.to(step.device)
            x_jnd = None if held.x_jnd is None else held.x_jnd.to(step.device)
            t = torch.full((1,), float(knob), device=step.device)
            with step.autocast():
                out = step.average(x, t, hard=True)
            x_hat = (out.x_hat.float().clamp(0, 1) * 255).round() / 255
            parts = step.objective(x, x_jnd, t, x_hat, out.bits_y + out.bits_z)
            sums += torch.stack([parts.loss, parts.bpp[0], psnr(x, x_hat)[0].clamp_max(100), score(x, x_hat)[0]]).cpu()
            if samples is not None and i < SAMPLES:
                _save(x_hat[0], samples / f"{i}_t{knob:g}.png")
        loss, bpp, decibel, perceptual = (sums / len(pictures)).tolist()
        total += loss / len(knobs)
        points.append({"t": float(knob), "bpp": bpp, "psnr": decibel, "ssimulacra2": perceptual})
    return total, points


def _save(picture: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (picture * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    Image.fromarray(pixels).save(path)
