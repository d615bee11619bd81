"""The native models for researchers, after CompressAI's conventions, so that evaluation loops run on them unchanged.

    net = TorchCodec(quality=60).eval()
    out = net.compress(x)                      # {"strings": [[y], [z]], "shape": (H, W)}
    x_hat = net.decompress(out["strings"], out["shape"])["x_hat"]
    bits = sum(-torch.log2(p).sum() for p in net(x)["likelihoods"].values())

Everything here is what the codec really codes: symbols rounded, tables exact, pictures of 8 bits. The network itself,
which is differentiable and trains, is `float_model`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jndcodec.codec import Codec
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.errors import InputError, ModelError
from jndcodec.model.native import NativeModel

CHECKSUM = 4  # bytes behind a picture's z


class TorchCodec(nn.Module):
    """One model at one rate. Pictures are float (N, 3, H, W) in [0, 1], of any size; they are rounded to 8 bits."""

    def __init__(
        self,
        model: str | None = None,
        *,
        weights: str | Path | None = None,
        quality: float | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        """model … precision: as for `Codec`. quality: the rate knob, 0 … 100; None: the model's one-JND quality.
        ModelError for CompressAI's models, whose own modules are `Codec.model.net`."""
        super().__init__()
        codec = Codec(model, weights=weights, device=device, precision=precision, engine="torch")
        if not isinstance(codec.model, NativeModel):
            raise ModelError(f"{codec.name} is CompressAI's own: use Codec(weights=…).model.net")
        self._coder = codec.model
        self.float_model = codec.model.float_model
        self.quality = 100 * codec.info.t_1jnd if quality is None else quality

    @property
    def t(self) -> int:
        """The rate knob in a file's header, 0 … 65535."""
        if not 0 <= self.quality <= 100:
            raise InputError(f"quality {self.quality:g} is not between 0 and 100")
        return round(self.quality / 100 * T_MAX)

    def compress(self, x: Tensor) -> dict[str, Any]:
        """{"strings": [y, z], "shape": (H, W)}: a string for each picture, as bytes. z ends with the symbols' checksum,
        so that all bytes that a decoder needs beside the rate are counted."""
        coded = [self._coder.compress(rgb, self.t) for rgb in _to_pictures(x)]
        z = [one.z + one.symbols_crc.to_bytes(CHECKSUM, "little") for one in coded]
        return {"strings": [[one.y for one in coded], z], "shape": torch.Size(x.shape[2:])}

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """{"x_hat": (N, 3, H, W) in [0, 1]}; FormatError and SymbolError for strings that are damaged."""
        found = []
        for y, z in zip(*strings, strict=True):
            checksum = int.from_bytes(z[-CHECKSUM:], "little")
            found.append(self._coder.decompress(z[:-CHECKSUM], y, checksum, self.t, (shape[0], shape[1])))
        return {"x_hat": self._to_tensor(found)}

    def forward(self, x: Tensor) -> dict[str, Any]:
        """{"x_hat": (N, 3, H, W), "likelihoods": {"y": (N, m + detail, h, w), "z": (N, cz, hz, wz)}}: the probability
        of each symbol under the table that it is coded with, 1 where it is not coded. No gradients pass."""
        tables, pictures, ys, zs = self._coder.tables, [], [], []
        for rgb in _to_pictures(x):
            coded = self._coder.compress(rgb, self.t)
            pictures.append(coded.reconstruct())
            symbols = self._coder.unpack(coded.z, coded.y, self.t, (rgb.shape[0], rgb.shape[1]))
            ys.append(2 ** -tables.bits(np.asarray(symbols.y), np.asarray(symbols.index_y)))
            zs.append(2 ** -tables.bits(symbols.z, np.broadcast_to(symbols.index_z, symbols.z.shape)))
        channels = max(y.shape[2] for y in ys)  # each picture has as much detail as it needs
        ys = [np.pad(y, [(0, 0), (0, 0), (0, channels - y.shape[2])], constant_values=1.0) for y in ys]
        likelihoods = {name: self._stack(parts) for name, parts in (("y", ys), ("z", zs))}
        return {"x_hat": self._to_tensor(pictures), "likelihoods": likelihoods}

    def _to_tensor(self, pictures: list[np.ndarray]) -> Tensor:
        return self._stack(pictures).float().div_(255)

    def _stack(self, arrays: list[np.ndarray]) -> Tensor:
        """(h, w, C) each, to (N, C, h, w)."""
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).to(self._coder.device)


def _to_pictures(x: Tensor) -> list[np.ndarray]:
    """uint8 (H, W, 3) each."""
    if x.ndim != 4 or x.shape[1] != 3:
        raise InputError(f"pictures are (N, 3, H, W), not {tuple(x.shape)}")
    levels = x.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
