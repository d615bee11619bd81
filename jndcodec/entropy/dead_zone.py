"""Rate-distortion-optimised quantisation in one pass: a dead zone per probability table.

A residual r is rounded towards zero where |r| lies less than `dead_zone[index]` above a half-integer: the symbol below
costs fewer bits, and what it adds to the distortion is worth less. With a distortion of w e² bits for an error of e
steps, that is right up to (bits(1) - bits(0)) / 2w above 1/2 (Sullivan and Wiegand, IEEE SPM 1998, on a fixed step).

For an orthonormal transform at its optimal step w is 6 / ln 2 = 8.7 bits. The dead zones that measure best are half as
wide or less, and vanish for scales over one step: an element that goes to the mean also spoils the context of its
neighbours, and the encoder, trained under noise, already shrinks what it sends. So w is a table, tuned on pictures
(`tune`) and kept in the weights file under calibration, beside the model id: it decides nothing in the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jndcodec.entropy.tables import COUNT, Tables
from jndcodec.errors import ModelError

CALIBRATION_KEY = "dead_zone"
WIDEST = 0.5  # an element of |r| >= 1 is never lost
# w in bits for table indexes below each bound, measured on a young model: a start for the tuning, and what weights
# without tuned dead zones use
DISTORTION = ((7, 12.0), (10, 18.0), (13, 24.0), (COUNT, 60.0))


def dead_zones(tables: Tables, distortion: Sequence[tuple[int, float]] = DISTORTION) -> np.ndarray:
    """float32 (COUNT,): dead zones from w; 0 for index 0, which is not coded."""
    index = np.arange(1, COUNT)
    saved = tables.bits(np.ones_like(index), index) - tables.bits(np.zeros_like(index), index)
    w = np.array([next(w for bound, w in distortion if i < bound) for i in index])
    return np.concatenate([[0.0], np.clip(saved / (2 * w), 0.0, WIDEST)]).astype(np.float32)


def calibration_of(zones: np.ndarray) -> dict[str, list[float]]:
    """What a weights file's calibration holds of them, float32 (COUNT,)."""
    return {CALIBRATION_KEY: [round(float(v), 4) for v in zones]}


def calibrated_dead_zones(calibration: dict[str, Any], tables: Tables) -> np.ndarray:
    """float32 (COUNT,): those of a weights file, or the default; ModelError where they are no such thing."""
    if CALIBRATION_KEY not in calibration:
        return dead_zones(tables)
    try:
        values = np.array(calibration[CALIBRATION_KEY], np.float32)
        if values.shape == (COUNT,) and (values >= 0).all() and (values <= WIDEST).all():
            return values
    except (TypeError, ValueError):
        pass
    raise ModelError("the weights file has malformed dead zones")
