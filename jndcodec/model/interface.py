"""What the codec asks of a model, native or from CompressAI's zoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Progress = Callable[[float], None]  # called with the share done, 0 … 1, rising


def silent(share: float) -> None:
    """Progress that nobody watches."""


def size_of(rgb: np.ndarray) -> tuple[int, int]:
    """(H, W) of a picture (H, W, 3)."""
    return rgb.shape[0], rgb.shape[1]


@dataclass
class Compressed:
    """Streams of z and y, the CRC-32 of the symbols in them, and the picture they decode to, made when asked for."""

    z: bytes
    y: bytes
    symbols_crc: int
    reconstruct: Callable[[], np.ndarray]


class Model(Protocol):
    """What turns pictures into streams. Pictures are uint8 (H, W, 3); t is the rate knob, 0 … 65535."""

    id: bytes  # 8 bytes, in every file
    name: str
    exact: bool  # integers alone decide the symbols
    variable_rate: bool  # whether t does anything
    engine: str  # what runs the networks: "onnx" or "torch"

    def compress(self, rgb: np.ndarray, t: int, dead_zone: float = 1.0, progress: Progress = silent) -> Compressed:
        """Code a picture in one pass; `dead_zone`: the share of the model's dead zones that rounding uses."""

    def decompress(
        self, z: bytes, y: bytes, symbols_crc: int, t: int, size: tuple[int, int], progress: Progress = silent
    ) -> np.ndarray:
        """The picture of `size` = (H, W). SymbolError where the symbols are not those that were encoded."""
