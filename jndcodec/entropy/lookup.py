"""Values per probability table, looked up for every element."""

from __future__ import annotations

from torch import Tensor


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[index]: table (COUNT,), index uint8 of any shape; four dimensions lie channels last, as in the result.

    index_select over the elements in memory order takes an eighth of the time of indexing with four dimensions.
    """
    if index.ndim != 4:
        return table[index.int()]
    last = index.permute(0, 2, 3, 1)
    return table.index_select(0, last.reshape(-1).int()).view(last.shape).permute(0, 3, 1, 2)
