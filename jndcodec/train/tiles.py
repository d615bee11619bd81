"""Pictures held in memory as uint8, and random crops of them: on the CPU with numpy, on a GPU by one gather.

Both make the same crops from the same generator.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jndcodec.errors import DataError
from jndcodec.sampling import spread


class Pair(NamedTuple):
    """A picture, (1, 3, H, W) in [0, 1], and its JND1 version where there is one."""

    x: Tensor
    x_jnd: Tensor | None


class Draw(NamedTuple):
    """n crops: tile, top-left corner, and which of left-right flip, up-down flip, transpose come after; (n,) each."""

    tile: np.ndarray
    y: np.ndarray
    x: np.ndarray
    mirror: np.ndarray
    upside: np.ndarray
    transpose: np.ndarray


class TileSet:
    """Pictures, each uint8 (H, W, 3), with their JND1 versions in the same order and sizes, or None."""

    def __init__(self, pictures: list[np.ndarray], jnd: list[np.ndarray] | None = None) -> None:
        self.pictures, self.jnd = pictures, jnd
        self._heights = np.array([p.shape[0] for p in pictures])
        self._widths = np.array([p.shape[1] for p in pictures])
        self._fits: dict[int, np.ndarray] = {}
        self._resident: dict[torch.device, list[Tensor] | None] = {}
        self._starts = np.cumsum([0] + [p.size for p in pictures])

    def __len__(self) -> int:
        return len(self.pictures)

    def fitting(self, size: int) -> np.ndarray:
        """Indices of the pictures that a crop of size x size fits into; DataError if there is none."""
        if size not in self._fits:
            fits = np.flatnonzero(np.minimum(self._heights, self._widths) >= size)
            if not len(fits):
                raise DataError(f"no training picture holds a patch of {size} x {size}; use a smaller --patch-size")
            self._fits[size] = fits
        return self._fits[size]

    def crops(
        self, n: int, size: int, rng: np.random.Generator, device: torch.device | str = "cpu"
    ) -> Tensor | tuple[Tensor, Tensor]:
        """n random crops, flipped and transposed at random: x, or (x, x_jnd) from the same places.

        float32 (n, 3, size, size) in [0, 1], channels_last, on `device`. All randomness comes from `rng`: the same
        state gives the same crops on every device. On CUDA the pictures stay there as uint8 if they take less than half
        of the free memory; nothing waits for the GPU either way.
        """
        draw = self._draw(n, size, rng)
        device = torch.device(device)
        sets = [self.pictures] if self.jnd is None else [self.pictures, self.jnd]
        if device.type == "cuda" and (resident := self._on_device(sets, device)) is not None:
            out = self._gather(resident, draw, size, device)
        else:
            out = [_to_float(_cut(pictures, draw, size), device) for pictures in sets]
        return out[0] if self.jnd is None else (out[0], out[1])

    def _draw(self, n: int, size: int, rng: np.random.Generator) -> Draw:
        tile = rng.choice(self.fitting(size), n)
        y = rng.integers(0, self._heights[tile] - size + 1)
        x = rng.integers(0, self._widths[tile] - size + 1)
        return Draw(tile, y, x, *rng.integers(0, 2, (3, n)).astype(bool))

    def _on_device(self, sets: list[list[np.ndarray]], device: torch.device) -> list[Tensor] | None:
        """Every set as one flat uint8 tensor on the device, or None where they do not fit."""
        if device not in self._resident:
            free, _ = torch.cuda.mem_get_info(device)
            self._resident[device] = None
            if len(sets) * int(self._starts[-1]) < free // 2:
                flat = (np.concatenate([picture.reshape(-1) for picture in s]) for s in sets)
                self._resident[device] = [torch.from_numpy(values).to(device) for values in flat]
        return self._resident[device]

    def _gather(self, flat: list[Tensor], draw: Draw, size: int, device: torch.device) -> list[Tensor]:
        """A flip turns the sign of a stride and a transpose exchanges the two, so one affine index serves all crops."""
        down, right = 3 * self._widths[draw.tile], np.full(len(draw.tile), 3)
        start = self._starts[draw.tile] + draw.y * down + draw.x * right
        start = start + (size - 1) * (draw.mirror * right + draw.upside * down)
        down, right = np.where(draw.upside, -down, down), np.where(draw.mirror, -right, right)
        down, right = np.where(draw.transpose, right, down), np.where(draw.transpose, down, right)
        host = torch.from_numpy(np.stack([start, down, right]))
        if device.type == "cuda":
            host = host.pin_memory()
        start, down, right = host.to(device, non_blocking=True)[:, :, None, None, None]
        i = torch.arange(size, device=device)
        index = start + down * i[:, None, None] + right * i[:, None] + torch.arange(3, device=device)
        return [_to_float(values[index], device) for values in flat]

    def centres(self, count: int, side: int) -> list[Pair]:
        """Centre crops of up to `count` pictures spread over the set: sides multiples of 64, at most `side`."""
        large = np.flatnonzero(np.minimum(self._heights, self._widths) >= 64)
        pairs = []
        for i in spread(large.tolist(), count):
            h, w = self.pictures[i].shape[:2]
            ch, cw = (max(64, min(side, n) // 64 * 64) for n in (h, w))
            part = np.s_[(h - ch) // 2 : (h + ch) // 2, (w - cw) // 2 : (w + cw) // 2]
            cut = [s[i][part][None] for s in (self.pictures, self.jnd) if s is not None]
            x = [_to_float(c.copy(), torch.device("cpu")) for c in cut]
            pairs.append(Pair(x[0], x[1] if self.jnd is not None else None))
        return pairs


def _cut(pictures: list[np.ndarray], draw: Draw, size: int) -> np.ndarray:
    out = np.empty((len(draw.tile), size, size, 3), np.uint8)
    for k, (tile, y, x, mirror, upside, transpose) in enumerate(zip(*draw, strict=True)):
        crop = pictures[tile][y : y + size, x : x + size]
        crop = crop[:: -1 if upside else 1, :: -1 if mirror else 1]
        out[k] = crop.transpose(1, 0, 2) if transpose else crop
    return out


def _to_float(pixels: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [0, 1] in channels_last, moved as bytes."""
    x = torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels
    if device.type == "cuda" and x.device.type == "cpu":
        x = x.pin_memory().to(device, non_blocking=True)
    return x.to(device).permute(0, 3, 1, 2).float().div_(255)
