"""The exact part of the model: from z to the table index of every element of y, in integers carried by float64.

The index decides which table a symbol is coded with, so both sides must compute the same one on any machine, with any
thread count and any BLAS. All values here are integers, and the largest partial sum that can occur is proved at export
to stay below 2^53; float64 adds such numbers without rounding, in any order. A convolution is the sum of a matrix
product for each of its taps (no Winograd, no FFT); between layers: add half, shift right, clamp, which is exact too.
It runs in numpy on the CPU, whichever engine runs the transforms (and for batches on their device:
jndcodec.model.exact_torch).

Number formats: weights int16 with `shift` fractional bits; activations at most 16 bits with ACTIVATION_BITS fractional
bits; biases with both; what comes out is in table steps with ACTIVATION_BITS fractional bits.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from jndcodec.entropy.tables import COUNT
from jndcodec.errors import ModelError

ACTIVATION_BITS = 8
ACTIVATION_LIMIT = 2**15 - 1
WEIGHT_BITS = 14  # the largest weight of a layer takes this many bits besides its sign
EXACT_BITS = 53  # float64 holds every integer below 2^53
T_MAX = 65535  # the rate knob t = 1 in the header


@dataclass(frozen=True)
class IntegerConv:
    """weight (C_out, C_in, k, k) and bias (C_out,), integers in float64; `shift` fractional bits of the weights.

    `upsample`: a PixelShuffle(2) follows. `relu`: negative results become 0.
    """

    weight: np.ndarray
    bias: np.ndarray
    shift: int
    upsample: bool
    relu: bool

    def bound(self) -> float:
        """log2 of the largest partial sum that any input can cause, rounding and the added half included."""
        largest = np.abs(self.weight).sum((1, 2, 3)) * ACTIVATION_LIMIT + np.abs(self.bias) + 2.0**self.shift
        return math.log2(largest.max())

    @property
    def order(self) -> np.ndarray:
        """Where each output channel stands in the file. With `upsample`, row and column of the four come first here, so
        that the shuffle moves whole runs of channels."""
        channels = np.arange(len(self.bias))
        return channels.reshape(-1, 4).T.ravel() if self.upsample else channels

    @functools.cached_property
    def taps(self) -> np.ndarray:
        """A matrix (C_in, C_out) for each tap, row by row."""
        taps = self.weight[self.order].transpose(2, 3, 1, 0)
        return np.ascontiguousarray(taps.reshape(-1, *taps.shape[2:]))

    def first(self, count: int) -> IntegerConv:
        """The same for the first `count` output channels alone."""
        return replace(self, weight=self.weight[:count], bias=self.bias[:count])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(h, w, C_in) -> (h, w, C_out), or (2h, 2w, C_out / 4)."""
        height, width, _ = x.shape
        y = self._sums(x)
        y *= 2.0**-self.shift
        np.floor(y, out=y)
        np.clip(y, 0 if self.relu else -ACTIVATION_LIMIT, ACTIVATION_LIMIT, out=y)
        if not self.upsample:
            return y
        return y.reshape(height, width, 2, 2, -1).swapaxes(1, 2).reshape(2 * height, 2 * width, -1)

    def _sums(self, x: np.ndarray) -> np.ndarray:
        """The convolution and the half that rounds, as a product for each tap. Rows of the padded input lie one after
        the other, so that each tap reads a contiguous piece; what a row's end reads of the next row is cut off, and the
        last row needs `margin` more."""
        height, width, channels = x.shape
        kernel, margin = self.weight.shape[2], self.weight.shape[2] // 2
        wide = width + 2 * margin
        if margin:
            flat = np.zeros(((height + 2 * margin) * wide + 2 * margin, channels))
            padded = flat[: (height + 2 * margin) * wide].reshape(-1, wide, channels)
            padded[margin:-margin, margin:-margin] = x
        else:
            flat = x.reshape(-1, channels)
        y = flat[: height * wide] @ self.taps[0]
        product = np.empty_like(y) if margin else y
        for tap in range(1, kernel**2):
            start = tap // kernel * wide + tap % kernel
            y += np.matmul(flat[start : start + height * wide], self.taps[tap], out=product)
        y += (self.bias + 2.0 ** (self.shift - 1))[self.order]
        return y.reshape(height, wide, -1)[:, :width]


class ScaleNetwork:
    """z, and per channel and rate tables, to table indexes. The same function for both directions."""

    def __init__(self, layers: list[IntegerConv], index_y: np.ndarray, index_z: np.ndarray) -> None:
        """index_y (K, C), index_z (K, cz): usual table index per rate anchor and channel, integers with
        ACTIVATION_BITS fractional bits. Raises ModelError where float64 could round."""
        self.layers, self.index_y, self.index_z = layers, index_y, index_z
        self.bound = max(layer.bound() for layer in layers)
        if self.bound >= EXACT_BITS:
            raise ModelError(f"the scale network's sums can reach 2^{self.bound:.1f}, where float64 is not exact")

    def indexes_z(self, t: int) -> np.ndarray:
        """Table index per channel of z at rate t (0 … 65535): uint8 (cz,)."""
        return _to_index(interpolate(self.index_z, t))

    def usual(self, t: int) -> np.ndarray:
        """What the network's answers are added to at rate t: (C,) in float64, of y's channels and those of detail."""
        return interpolate(self.index_y, t)

    def indexes_y(self, z: np.ndarray, t: int, count: int | None = None) -> np.ndarray:
        """z (h, w, cz) integers -> table indexes of the first `count` channels, uint8 (4h, 4w, count); of
        all channels without `count`."""
        count = len(self.layers[-1].bias) if count is None else count
        x = np.clip(z.astype(np.float64) * 2.0**ACTIVATION_BITS, -ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        for layer in (*self.layers[:-1], self.layers[-1].first(count)):
            x = layer(x)
        x += self.usual(t)[:count]
        return _to_index(x)


def interpolate(anchors: np.ndarray, t: int) -> np.ndarray:
    """(K, C) integers at rate t of 65535, linear between anchors, rounded to nearest, in float64: (C,).

    Every term is below 2^16 * 2^17 = 2^33, exact in int64.
    """
    position = t * (len(anchors) - 1)
    left = min(position // T_MAX, len(anchors) - 2)
    fraction = position - left * T_MAX
    low, high = anchors[left].astype(np.int64), anchors[left + 1].astype(np.int64)
    return ((low * (T_MAX - fraction) + high * fraction + T_MAX // 2) // T_MAX).astype(np.float64)


def _to_index(x: np.ndarray) -> np.ndarray:
    """Round away the fractional bits and limit to the tables there are. Overwrites x."""
    x += 2.0 ** (ACTIVATION_BITS - 1)
    x *= 2.0**-ACTIVATION_BITS
    return np.clip(np.floor(x, out=x), 0, COUNT - 1, out=x).astype(np.uint8)
