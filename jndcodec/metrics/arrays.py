"""PSNR, MS-SSIM and SSIMULACRA2 of two pictures in numpy, for what scores pictures and does not train.

All take uint8 (H, W, 3) in sRGB, the original first. Values are those of the differentiable versions in torch
(`pixel`, `ssimulacra2`), which a test holds them to.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from jndcodec.metrics.constants import (
    BIAS,
    BLOCK,
    C1,
    C2,
    OPSIN,
    POLYNOMIAL,
    POWER,
    RADIUS,
    SCALE,
    SCALE_WEIGHTS,
    SCALES,
    SIGMA,
    SMALLEST,
    WEIGHTS,
    WINDOW,
)


@functools.cache
def _band() -> np.ndarray:
    """(BLOCK, BLOCK + 2 RADIUS): row i holds the taps of the Gaussian from column i on."""
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    band = np.zeros((BLOCK, BLOCK + 2 * RADIUS), np.float32)
    for i in range(BLOCK):
        band[i, i : i + WINDOW] = taps / taps.sum()
    return band


def blur(plane: np.ndarray) -> np.ndarray:
    """Gaussian blur of (H, W) float32, H at least 5: mirrored above and below, zero beside, as `blur.blur` in torch.

    Blocks of each axis times one banded matrix: numpy hands such products to BLAS without a copy.
    """
    height, width = plane.shape
    band, rows, columns = _band(), -(-height // BLOCK) * BLOCK, -(-width // BLOCK) * BLOCK
    x = np.zeros((rows + 2 * RADIUS, columns + 2 * RADIUS), np.float32)
    inside = x[:, RADIUS : RADIUS + width]
    inside[RADIUS : RADIUS + height] = plane
    inside[:RADIUS] = plane[RADIUS - 1 :: -1]
    inside[RADIUS + height : 2 * RADIUS + height] = plane[: -RADIUS - 1 : -1]
    across = np.empty((len(x), columns), np.float32)
    for start in range(0, columns, BLOCK):
        np.matmul(x[:, start : start + BLOCK + 2 * RADIUS], band.T, out=across[:, start : start + BLOCK])
    out = np.empty((rows, columns), np.float32)
    for start in range(0, rows, BLOCK):
        np.matmul(band, across[start : start + BLOCK + 2 * RADIUS], out=out[start : start + BLOCK])
    return out[:height, :width]


def psnr(reference: np.ndarray, distorted: np.ndarray) -> float:
    """PSNR over all three channels of 8-bit RGB in dB; infinite for identical pictures."""
    error = np.mean(np.square(reference.astype(np.float32) - distorted), dtype=np.float64)
    return 10 * math.log10(255**2 / error) if error else math.inf


def ms_ssim(reference: np.ndarray, distorted: np.ndarray) -> float:
    """MS-SSIM (Wang et al., 2003), the mean over channels, at most 1. Sides of at least 11 pixels; ValueError.

    Sides under 161 pixels have no room for all five scales: as many as fit are used, with weights scaled to sum to 1.
    """
    side = min(reference.shape[:2])
    if side < WINDOW:
        raise ValueError(f"MS-SSIM needs at least {WINDOW} x {WINDOW} pixels")
    count = sum((side - 1) // 2**s >= 2 * RADIUS for s in range(len(SCALE_WEIGHTS)))
    values = []
    for channel in range(3):
        a, b = (picture[..., channel].astype(np.float32) / 255 for picture in (reference, distorted))
        value = 1.0
        for scale, weight in enumerate(SCALE_WEIGHTS[:count]):
            if scale:
                a, b = _half_zero(a), _half_zero(b)
            ssim, contrast = _ssim(a, b)
            part = ssim if scale == count - 1 else contrast
            value *= max(part, 1e-6) ** (weight / sum(SCALE_WEIGHTS[:count]))
        values.append(value)
    return sum(values) / 3


def _ssim(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean SSIM and mean contrast-structure term of two planes, over pixels whose window lies inside."""
    e = b - a
    inside = (slice(RADIUS, -RADIUS), slice(RADIUS, -RADIUS))
    mean_a, mean_e, power, power_e = (blur(x)[inside] for x in (a, e, a * a + b * b, e * e))
    mean_b = mean_a + mean_e
    means = mean_a * mean_a + mean_b * mean_b
    contrast = 1 - (power_e - mean_e * mean_e) / (power - means + C2)
    luminance = 1 - mean_e * mean_e / (means + C1)
    return float((luminance * contrast).mean()), float(contrast.mean())


def _half_zero(x: np.ndarray) -> np.ndarray:
    """Means of 2 x 2; odd sides get a zero before, as in torch's `avg_pool2d(padding=1)`."""
    return _means(np.pad(x, [(length % 2, 0) for length in x.shape]))


def _half(x: np.ndarray) -> np.ndarray:
    """Means of 2 x 2; odd sides end with means of fewer."""
    return _means(np.pad(x, [(0, length % 2) for length in x.shape], mode="edge"))


def _means(x: np.ndarray) -> np.ndarray:
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) * np.float32(0.25)


def ssimulacra2(reference: np.ndarray, distorted: np.ndarray) -> float:
    """SSIMULACRA2 (version 2.1): 100 for identical pictures, 90 about visually lossless, no lower end."""
    return _score(_terms(map(Seen.of, _xyb_planes(reference)), _xyb_planes(distorted)))


class Reference:
    """An original that several pictures are compared with: what concerns it alone is computed once."""

    def __init__(self, rgb: np.ndarray) -> None:
        self._planes = [Seen.of(plane) for plane in _xyb_planes(rgb)]

    def ssimulacra2(self, distorted: np.ndarray) -> float:
        return _score(_terms(self._planes, _xyb_planes(distorted)))


@dataclass(frozen=True)
class Seen:
    """A plane of an original, its blur, the blur of its square less that of its blur's, and its edges."""

    plane: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    edge: np.ndarray

    @classmethod
    def of(cls, plane: np.ndarray) -> Seen:
        mean = blur(plane)
        return cls(plane, mean, blur(plane * plane) - mean * mean, np.abs(plane - mean))


@functools.cache
def _linear_light() -> np.ndarray:
    """float32 (256,): of each sRGB value."""
    x = np.arange(256) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _xyb_planes(rgb: np.ndarray) -> Iterator[np.ndarray]:
    """Scale by scale (full size first), the planes X, Y, B, scaled and shifted to be positive."""
    padding = [(0, max(0, SMALLEST - length)) for length in rgb.shape[:2]]
    light = [_linear_light()[np.pad(rgb[..., channel], padding, mode="edge")] for channel in range(3)]
    for scale in range(SCALES):
        if scale:
            light = [_half(x) for x in light]
        if min(light[0].shape) < SMALLEST:
            return
        roots = []
        for row in OPSIN:
            mixed = sum(np.float32(weight) * x for weight, x in zip(row, light, strict=True)) + np.float32(BIAS)
            roots.append(np.cbrt(np.maximum(mixed, np.float32(1e-6))) - np.float32(BIAS ** (1 / 3)))
        long, middle, short = roots
        y = (long + middle) * np.float32(0.5)
        yield (long - middle) * np.float32(7) + np.float32(0.42)
        yield y + np.float32(0.01)
        yield short - y + np.float32(0.55)


def _terms(planes: Iterable[Seen], others: Iterable[np.ndarray]) -> list[list[float]]:
    """Means and 4-norms of the three error maps, for each plane of the original and of the other picture."""
    return [_errors(seen, q) for seen, q in zip(planes, others, strict=True)]


def _errors(p: Seen, q: np.ndarray) -> list[float]:
    """Computed from the difference of the planes, so that near identity they keep their digits."""
    e = q - p.plane
    mean_e = blur(e)
    mean_q = p.mean + mean_e
    luminance = mean_e * mean_e
    structure = blur(e * e) - luminance
    structure /= p.variance + (blur(q * q) - mean_q * mean_q) + np.float32(C2)
    ssim = np.maximum(luminance + (1 - luminance) * structure, 0)
    edge = (np.abs(q - mean_q) - p.edge) / (1 + p.edge)
    maps = (ssim, np.maximum(edge, 0), np.maximum(-edge, 0))
    return [float(m.mean()) for m in maps] + [_fourth_norm(m) for m in maps]


def _fourth_norm(error: np.ndarray) -> float:
    square = np.square(error).ravel()
    return float(np.dot(square, square) / square.size) ** 0.25


def _score(terms: list[list[float]]) -> float:
    """Of the terms of each scale's planes X, Y, B; with fewer scales the weights close ranks, as in the original."""
    values = [value for channel in range(3) for plane in terms[channel::3] for value in plane]
    weights = [weight for channel in WEIGHTS for scale in channel for weight in scale]
    v = SCALE * sum(value * weight for value, weight in zip(values, weights, strict=False))
    v *= POLYNOMIAL[0] + v * (POLYNOMIAL[1] + v * POLYNOMIAL[2])
    return 100 - 10 * v**POWER if v > 0 else 100.0
