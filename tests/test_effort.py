"""Effort levels: dead zones, gradient descent, targets."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from jndcodec.codec import Codec
from jndcodec.effort import LEVELS
from jndcodec.effort.dead_zone import calibrated_dead_zones, dead_zones, quantiser
from jndcodec.entropy.tables import COUNT, gaussian_tables
from jndcodec.errors import InputError, ModelError


def test_dead_zones_shrink_with_the_scale():
    zones = dead_zones(gaussian_tables())
    assert zones.shape == (COUNT,) and zones[0] == 0
    assert (np.diff(zones[1:7]) <= 0).all() and zones[1] > 0.3 and zones[-1] < 0.01


def test_dead_zones_are_checked():
    tables = gaussian_tables()
    assert calibrated_dead_zones({"dead_zone": [0.25] * COUNT}, tables).tolist() == [0.25] * COUNT
    for bad in ([0.1] * 3, [0.7] * COUNT, "wide", [float("nan")] * COUNT):
        with pytest.raises(ModelError):
            calibrated_dead_zones({"dead_zone": bad}, tables)


def test_quantiser_moves_only_what_lies_in_the_dead_zone():
    zones = torch.zeros(COUNT)
    zones[5] = 0.2
    quantise = quantiser(zones)
    residual = torch.tensor([0.0, 0.65, -0.65, 0.75, -0.75, 1.65, 1.75, 0.65])
    index = torch.tensor([5, 5, 5, 5, 5, 5, 5, 9], dtype=torch.uint8)
    assert quantise(residual, index).tolist() == [0, 0, 0, 1, -1, 1, 2, 1]
    assert quantiser(zones, 0.0)(residual, index).tolist() == [0, 1, -1, 1, -1, 2, 2, 1]


def test_effort_outside_the_levels_is_refused(tiny_weights, photo):
    with pytest.raises(InputError, match="between 1 and 9"):
        Codec(weights=tiny_weights).encode(_image(photo(64, 64)), effort=10)
