"""Colours that nobody sees: those under alpha 0 are drawn on smoothly from what is seen, and cost next to nothing."""

from __future__ import annotations

import numpy as np
from PIL import Image


def fill_hidden(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The picture with the colours under alpha 0 drawn on from those around them. uint8 (H, W, 3), (H, W) -> (H, W, 3).

    Visible pixels stay as they are. Means of 2×2, 4×4, … visible pixels make a pyramid; from its top down each level
    fills its gaps with the smooth interpolation of the one above. Without a visible pixel the picture becomes black.
    """
    seen = alpha > 0
    return _fill(rgb, seen) if seen.any() else np.zeros_like(rgb)


def _fill(colours: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Colours that are not known drawn on from those that are. uint8 (h, w, 3), bool (h, w) -> (h, w, 3)."""
    if known.all():
        return colours
    h, w = known.shape
    above = Image.fromarray(_fill(*_halved(colours, known)))
    drawn = np.asarray(above.resize((w, h), Image.Resampling.BILINEAR, box=(0, 0, w / 2, h / 2)))
    return np.where(known[..., None], colours, drawn)


def _halved(colours: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of what is known of 2×2 pixels, and whether anything is; odd sides are rounded up."""
    size = tuple((side + 1) // 2 for side in known.shape)
    total, count = np.zeros((*size, 3), np.uint16), np.zeros((*size, 1), np.uint16)
    for row in (0, 1):
        for column in (0, 1):
            part = known[row::2, column::2, None]
            h, w = part.shape[:2]
            total[:h, :w] += colours[row::2, column::2] * part
            count[:h, :w] += part
    means = (total + count // 2) // np.maximum(count, 1)
    return means.astype(np.uint8), count[..., 0] > 0
