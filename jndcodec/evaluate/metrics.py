"""The metrics of an evaluation: ours and those that are installed."""

from __future__ import annotations

import numpy as np

from jndcodec.errors import ArgumentError, InputError
from jndcodec.evaluate.extensions import extra_metrics
from jndcodec.metrics import arrays
from jndcodec.metrics.external import EXTERNAL, Metric


def psnr(reference: np.ndarray, distorted: np.ndarray) -> float:
    """PSNR over all three channels of 8-bit RGB in dB; 100 for identical pictures, so that means stay finite."""
    return min(100.0, arrays.psnr(reference, distorted))


METRICS: tuple[Metric, ...] = (
    Metric("ssimulacra2", "SSIMULACRA2", arrays.ssimulacra2),
    Metric("psnr", "PSNR-RGB (dB)", psnr),
    Metric("ms_ssim", "MS-SSIM", arrays.ms_ssim, digits=4, smallest=161),
    *EXTERNAL,
)
METRICS += tuple(metric for metric in extra_metrics() if metric.name not in [ours.name for ours in METRICS])
BY_NAME = {metric.name: metric for metric in METRICS}
ALWAYS = ("ssimulacra2", "psnr", "ms_ssim")  # no package needed


def choose(names: list[str] | None) -> tuple[list[Metric], dict[str, str]]:
    """The metrics to measure, and of those left out what is missing. names: None for all that can run here.

    A metric asked for by name that cannot run is an InputError; SSIMULACRA2 is always in, as the JND comes from it.
    """
    if names is not None:
        for name in names:
            if name not in BY_NAME:
                raise ArgumentError(f"no metric '{name}'; there are {', '.join(BY_NAME)}")
            if missing := BY_NAME[name].missing():
                raise InputError(f"metric '{name}' needs: {missing}")
        return [m for m in METRICS if m.name in names or m.name == "ssimulacra2"], {}
    skipped = {m.name: reason for m in METRICS if (reason := m.missing())}
    return [m for m in METRICS if m.name not in skipped], skipped


def measure(reference: np.ndarray, distorted: np.ndarray, metrics: list[Metric]) -> dict[str, float | None]:
    """Each metric's value; None where the picture is too small for it. (H, W, 3) uint8 of one size."""
    if reference.shape != distorted.shape:
        sizes = " and ".join(f"{w}x{h}" for h, w, _ in (reference.shape, distorted.shape))
        raise InputError(f"the pictures have different sizes: {sizes}")
    side = min(reference.shape[:2])
    return {m.name: m.measure(reference, distorted) if side >= m.smallest else None for m in metrics}


def decibels(name: str, value: float) -> float:
    """The scale on which a metric is plotted and integrated: MS-SSIM in dB, everything else as it is."""
    return -10 * float(np.log10(max(1 - value, 1e-6))) if name == "ms_ssim" else value


def axis_label(metric: Metric) -> str:
    return "MS-SSIM (dB)" if metric.name == "ms_ssim" else metric.label
