"""The scale network in torch, on the transforms' device: the indexes of `ExactStage.indexes`, to the bit.

All its values are integers whose sums stay below 2^53, so float64 adds them without rounding on any device, in any
order, as long as a product of matrices is what it says: so it is one for each tap here too, never a convolution of a
library's choice (jndcodec.entropy.scale_network). The encoder of batches needs it, or the host would wait for z.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.entropy.lookup import audible
from jndcodec.entropy.scale_network import ACTIVATION_BITS, ACTIVATION_LIMIT, IntegerConv, ScaleNetwork
from jndcodec.entropy.tables import COUNT
from jndcodec.model.transfer import upload


class DeviceConv:
    """`IntegerConv` of N pictures: (N, h, w, C_in) -> (N, h, w, C_out), or (N, 2h, 2w, C_out / 4); float64."""

    def __init__(self, layer: IntegerConv, device: torch.device) -> None:
        self._shift, self._upsample, self._relu = layer.shift, layer.upsample, layer.relu
        self._kernel = layer.weight.shape[2]
        self._taps = torch.from_numpy(layer.taps).to(device)
        self._bias = torch.from_numpy((layer.bias + 2.0 ** (layer.shift - 1))[layer.order]).to(device)

    def __call__(self, x: Tensor, count: int | None = None) -> Tensor:
        """count: that many output channels alone, of a layer without `upsample`."""
        n, height, width, _ = x.shape
        kernel, margin = self._kernel, self._kernel // 2
        padded = F.pad(x, (0, 0, margin, margin, margin, margin)) if margin else x
        y = self._bias[:count].expand(n * height * width, -1)
        for tap in range(kernel**2):
            row, column = divmod(tap, kernel)
            piece = padded[:, row : row + height, column : column + width].reshape(n * height * width, -1)
            y = torch.addmm(y, piece, self._taps[tap][:, :count])
        y = y.mul_(2.0**-self._shift).floor_().clamp_(0 if self._relu else -ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        if not self._upsample:
            return y.view(n, height, width, -1)
        return y.view(n, height, width, 2, 2, -1).transpose(2, 3).reshape(n, 2 * height, 2 * width, -1)


class DeviceIndexes:
    """Table indexes on a device; on the CPU for one without float64."""

    def __init__(self, network: ScaleNetwork, m: int, device: torch.device) -> None:
        """m: channels of y, before those of detail."""
        self._network, self._m = network, m
        self._device = torch.device("cpu") if device.type == "mps" else device
        self._layers = [DeviceConv(layer, self._device) for layer in network.layers]

    def __call__(self, z: Tensor, t: int, size: tuple[int, int], count: int) -> Tensor:
        """z (N, cz, hz, wz) integers -> uint8 (N, m + count, h, w), channels last, on z's device."""
        rows, columns = size
        x = z.to(self._device).to(torch.float64).permute(0, 2, 3, 1).mul(2.0**ACTIVATION_BITS)
        x = x.clamp_(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        for layer in self._layers[:-1]:
            x = layer(x)
        x = self._layers[-1](x, self._m + count)[:, :rows, :columns]
        usual = np.ascontiguousarray(self._network.usual(t)[: self._m + count] + 2.0 ** (ACTIVATION_BITS - 1))
        x = (x + upload([usual], self._device)).mul_(2.0**-ACTIVATION_BITS).floor_().clamp_(0, COUNT - 1)
        index = x.to(torch.uint8)
        index[..., self._m :] = audible(index[..., self._m :])
        return index.permute(0, 3, 1, 2).to(z.device)
