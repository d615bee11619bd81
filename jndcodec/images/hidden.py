"""Colours that nobody sees: those under alpha 0 are drawn on smoothly from what is seen, and cost next to nothing."""

from __future__ import annotations

import numpy as np

_ROWS = 1 << 10  # rows of the full size that are worked on at a time


def fill_hidden(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The picture with the colours under alpha 0 drawn on from those around them. uint8 (H, W, 3), (H, W) -> (H, W, 3).

    Visible pixels stay as they are. Means of 2×2, 4×4, … visible pixels make a pyramid; from its top down each level
    fills its gaps with the smooth interpolation of the one above. Without a visible pixel the picture becomes black.
    """
    hidden = alpha == 0
    if not hidden.any():
        return rgb
    if hidden.all():
        return np.zeros_like(rgb)
    colours, weights = _halved(rgb, hidden)
    filled = _fill(colours, weights)
    out = rgb.copy()
    for top in range(0, len(rgb), _ROWS):  # the full size only in strips of floats
        rows = slice(top, min(top + _ROWS, len(rgb)))
        gaps = hidden[rows]
        if gaps.any():
            out[rows][gaps] = np.rint(_doubled(filled, rows.start, rows.stop, rgb.shape[1])[gaps]).astype(np.uint8)
    return out


def _halved(rgb: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of the visible pixels of 2×2, float32 (h, w, 3), and whether there are any, float32 (h, w, 1)."""
    parts = []
    for top in range(0, len(rgb), _ROWS):
        seen = (~hidden[top : top + _ROWS, :, None]).astype(np.float32)
        parts.append(_pool(rgb[top : top + _ROWS] * seen, seen))
    colours, weights = (np.concatenate([part[i] for part in parts]) for i in range(2))
    return colours, weights


def _pool(weighted: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted colours and weights to means of 2×2 and their weights, at most 1."""
    odd = ((0, weighted.shape[0] % 2), (0, weighted.shape[1] % 2), (0, 0))
    total, weight = (
        sum(padded[i::2, j::2] for i in range(2) for j in range(2))
        for padded in (np.pad(weighted, odd), np.pad(weights, odd))
    )
    return total / np.maximum(weight, 1e-6), np.minimum(weight, 1)


def _fill(colours: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Colours where the weight is 0 drawn on from the others. float32 (h, w, 3), (h, w, 1) -> (h, w, 3)."""
    if weights.all():
        return colours
    above = _fill(*_pool(colours * weights, weights))
    return weights * colours + (1 - weights) * _doubled(above, 0, *colours.shape[:2])


def _doubled(small: np.ndarray, top: int, bottom: int, width: int) -> np.ndarray:
    """Rows top … bottom of the picture of twice the size, interpolated bilinearly. float32 (h, w, 3)."""
    rows, columns = np.arange(top, bottom), np.arange(width)
    near, far = rows // 2, np.clip(rows // 2 + rows % 2 * 2 - 1, 0, len(small) - 1)
    strip = 0.75 * small[near] + 0.25 * small[far]
    near, far = columns // 2, np.clip(columns // 2 + columns % 2 * 2 - 1, 0, small.shape[1] - 1)
    return 0.75 * strip[:, near] + 0.25 * strip[:, far]
