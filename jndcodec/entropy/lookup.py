"""Values per probability table, looked up for every element."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jndcodec.entropy.tables import COUNT, DETAIL_FROM, LOG_STEP, SCALE_MIN


def table_index(log_scale: Tensor) -> Tensor:
    """The table nearest to each natural log of a scale in quantisation steps, uint8: for training and estimates.

    Coding has the exact integers of `ScaleNetwork.indexes_y` instead.
    """
    return ((log_scale - math.log(SCALE_MIN)) / LOG_STEP).round_().clamp_(0, COUNT - 1).to(torch.uint8)


def audible(index: Tensor) -> Tensor:
    """Table indexes of detail, 0 (not coded) where they are below DETAIL_FROM."""
    return index * (index >= DETAIL_FROM)


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[index]: table (COUNT,), index uint8 of any shape; four dimensions lie channels last, as in the result.

    index_select over the elements in memory order takes an eighth of the time of indexing with four dimensions.
    """
    if index.ndim != 4:
        return table[index.int()]
    last = index.permute(0, 2, 3, 1)
    return table.index_select(0, last.reshape(-1).int()).view(last.shape).permute(0, 3, 1, 2)
