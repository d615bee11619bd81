"""Integer probability tables: made once at export, stored in the weights file, never computed when coding.

Table i begins as a zero-mean Gaussian of scale SCALE_MIN * (SCALE_MAX / SCALE_MIN)^(i / 63), integrated over the
integers and scaled to 2^16; at export it is fitted to the symbols that pictures really have under it, more of which are
0 than of a Gaussian. Elements with table index 0 are not coded at all: their symbol is 0.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from jndcodec.errors import ModelError

COUNT = 64
DETAIL_FROM = 7  # table index from which on detail is coded: below, dead zones leave one element in a thousand
SCALE_MIN = 0.11
SCALE_MAX = 256.0
LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (COUNT - 1)  # one table step on a natural-log scale
PRECISION = 16  # bits; CompressAI's rANS has no other
TAIL = 6.0  # half width of a table in scales …
MIN_HALF_WIDTH = 32  # … but never fewer symbols, for the rare surprise under a small scale
PRIOR = 200.0  # symbols that the Gaussian counts for in a fitted table
MAX_SYMBOLS = 8192  # what a loaded table may hold at most


@dataclass(frozen=True)
class Tables:
    """`cdf` int32 (sum of sizes,): the tables one after the other. `size` and `offset` int32 (COUNT,).

    A table of size n codes the n - 2 symbols offset … offset + n - 3. Its cumulative frequencies start at 0, rise
    strictly, and reach 2^16 at entry n - 2, so the last slot (CompressAI's escape) has width 0 and can't be decoded.
    """

    cdf: np.ndarray
    size: np.ndarray
    offset: np.ndarray

    def __post_init__(self) -> None:
        """Check what keeps hostile or damaged tables from steering the coder out of its buffers; ModelError."""
        if not (len(self.size) == len(self.offset) == COUNT and self.cdf.ndim == 1):
            raise ModelError("the weights file has malformed probability tables")
        if self.size.min() < 4 or self.size.max() > MAX_SYMBOLS + 2 or int(self.size.sum()) != len(self.cdf):
            raise ModelError("the weights file has probability tables of impossible sizes")
        for table, offset in zip(np.split(self.cdf, np.cumsum(self.size)[:-1]), self.offset, strict=True):
            rising = (np.diff(table[:-1]) > 0).all()
            if table[0] != 0 or table[-2] != 1 << PRECISION or table[-1] != 1 << PRECISION or not rising:
                raise ModelError("the weights file has probability tables that are not cumulative frequencies")
            if not -(1 << 14) <= offset <= 0 or offset + len(table) - 3 < 0:
                raise ModelError("the weights file has probability tables that do not contain 0")

    @functools.cached_property
    def lists(self) -> tuple[list[list[int]], list[int], list[int]]:
        """The form that CompressAI's coder takes."""
        tables = np.split(self.cdf, np.cumsum(self.size)[:-1])
        return [table.tolist() for table in tables], self.size.tolist(), self.offset.tolist()

    @functools.cached_property
    def low(self) -> np.ndarray:
        """Smallest symbol of each table; 0 for table 0, which is not coded."""
        low = self.offset.astype(np.int16)
        low[0] = 0
        return low

    @functools.cached_property
    def high(self) -> np.ndarray:
        """Largest symbol of each table; 0 for table 0."""
        high = (self.offset + self.size - 3).astype(np.int16)
        high[0] = 0
        return high

    def bits(self, symbols: np.ndarray, indexes: np.ndarray) -> np.ndarray:
        """Cost of each symbol in bits (float32), 0 under table 0; beyond a table, that of its end and of a varint."""
        inside = np.clip(symbols, self.low[indexes], self.high[indexes])
        start = np.concatenate([[0], np.cumsum(self.size)[:-1]])
        at = start[indexes] + inside - self.offset[indexes]
        cost = PRECISION - np.log2(np.maximum(self.cdf[at + 1] - self.cdf[at], 1))
        return np.where(indexes == 0, 0.0, cost + 8.0 * (inside != symbols)).astype(np.float32)


def gaussian_tables() -> Tables:
    """Tables for a model of which no symbols are known. Floats decide here once; the result is stored as integers."""
    return _tables([_gaussian(i) for i in range(COUNT)])


def fitted_tables(counts: np.ndarray) -> Tables:
    """Tables of the same widths for what was counted, with the Gaussian as PRIOR symbols of each table.

    counts: (COUNT, 2n + 1), how often each of the symbols -n … n was seen under each table. Both signs count alike.
    """
    middle, probabilities = counts.shape[1] // 2, []
    for i in range(COUNT):
        prior = _gaussian(i)
        half = len(prior) // 2
        seen = np.zeros(len(prior))
        inside = min(half, middle)
        seen[half - inside : half + inside + 1] = counts[i, middle - inside : middle + inside + 1]
        mixed = seen + seen[::-1] + 2 * PRIOR * prior
        probabilities.append(mixed / mixed.sum())
    return _tables(probabilities)


def _gaussian(index: int) -> np.ndarray:
    """Probabilities of the symbols -half … half of one table."""
    scale = SCALE_MIN * math.exp(index * LOG_STEP)
    half = max(MIN_HALF_WIDTH, math.ceil(TAIL * scale))
    edges = (np.arange(-half, half + 2) - 0.5) / scale
    upper = np.array([0.5 * math.erfc(-edge / math.sqrt(2)) for edge in edges])
    return np.diff(upper) / np.diff(upper).sum()


def _tables(probabilities: list[np.ndarray]) -> Tables:
    """Each (2 half + 1,), for the symbols -half … half."""
    cdfs = [_cumulative(probability) for probability in probabilities]
    return Tables(
        np.concatenate(cdfs).astype(np.int32),
        np.array([len(cdf) for cdf in cdfs], np.int32),
        np.array([-(len(probability) // 2) for probability in probabilities], np.int32),
    )


def _cumulative(probability: np.ndarray) -> np.ndarray:
    """Frequencies of at least 1 that add up to 2^16, cumulated, with the empty escape slot at the end."""
    total = (1 << PRECISION) - len(probability)  # one count each is given away first
    exact = probability * total
    frequency = np.floor(exact).astype(np.int64)
    missing = total - int(frequency.sum())
    largest_remainders = np.argsort(-(exact - frequency), kind="stable")[:missing]
    frequency[largest_remainders] += 1
    return np.concatenate([[0], np.cumsum(frequency + 1), [1 << PRECISION]])
