"""What decides and codes symbols, in integers alone: the same for every engine that runs the networks."""

from __future__ import annotations

import numpy as np

from jndcodec.container.jlc import read_varint, varint
from jndcodec.entropy.dead_zone import calibrated_dead_zones
from jndcodec.entropy.elements import Elements, new_indexes
from jndcodec.entropy.scale_network import ACTIVATION_BITS
from jndcodec.entropy.symbols import Symbols, bands_of
from jndcodec.entropy.tables import DETAIL_FROM, Tables
from jndcodec.errors import FormatError, SymbolError
from jndcodec.model.grid import CELL, H_S_HALO, hyper_size, latent_size, strips, window
from jndcodec.model.tiling import even
from jndcodec.weights import ModelInfo, read_scale_network

# Channels of detail whose usual scale lies this many table steps below the smallest table are not tried by the encoder.
FAINT = 16
RARE = 1 / 200  # of the symbols of detail that are not 0: so many are lost with the last channels, which only take time


class ExactStage:
    """Scale network and tables of one weights file. Channels of symbols and table indexes, (h, w, channels), are y's,
    then as many of detail as the picture needs."""

    exact = True
    variable_rate = True

    def __init__(self, info: ModelInfo, tensors: dict[str, np.ndarray]) -> None:
        self.info = info
        self.name = info.name
        self.id = bytes.fromhex(info.id)
        self.m = info.config["m"]
        self.scale_network = read_scale_network(tensors)
        self.tables = Tables(*(tensors[f"tables.{part}"] for part in ("cdf", "size", "offset")))
        self.dead_zones = calibrated_dead_zones(info.calibration, self.tables)

    def pack(self, symbols: Symbols) -> tuple[bytes, bytes]:
        """Both streams: z's, and y's behind the number of channels of detail."""
        z, y = symbols.pack(self.tables)
        return z, varint(symbols.y.shape[2] - self.m) + y

    def unpack(self, z_stream: bytes, y_stream: bytes, t: int, size: tuple[int, int]) -> Symbols:
        """Entropy-decode both streams. FormatError where they are not what this model writes."""
        rows, columns = latent_size(*size)
        index_z = self.scale_network.indexes_z(t)
        z = Symbols.unpack_z(z_stream, (*hyper_size(rows, columns), len(index_z)), index_z, self.tables)
        count, at = read_varint(y_stream, 0, len(y_stream))
        if count > self.scale_network.index_y.shape[1] - self.m:
            raise FormatError("damaged .jlc file: more detail than its model has")
        index = self.indexes(z, t, (rows, columns), count)
        return Symbols(z, Symbols.unpack_y(y_stream[at:], index, self.tables), index_z, index)

    def unpack_checked(
        self, z_stream: bytes, y_stream: bytes, symbols_crc: int, t: int, size: tuple[int, int]
    ) -> Symbols:
        """The same; SymbolError where the symbols are not those that were encoded."""
        symbols = self.unpack(z_stream, y_stream, t, size)
        if symbols.crc() != symbols_crc:
            raise SymbolError(
                "the symbols differ from those that were encoded, though the file is whole: "
                "the probability tables came out different here; please report this with the file"
            )
        return symbols

    def indexes(self, z: np.ndarray, t: int, size: tuple[int, int], count: int) -> Elements:
        """Table index of every element of y and of `count` channels of detail, uint8 (h, w, m + count)."""
        rows, columns = size
        index = new_indexes((rows, columns, self.m + count), self.m, even(columns, window(rows, columns)))
        for coarse in strips(rows, columns, H_S_HALO):
            span = coarse.scaled(CELL)
            part = self.scale_network.indexes_y(z[coarse.outer], t, self.m + count)
            part = part[span.inner][: rows - span.start, :columns]
            detail = part[..., self.m :]
            detail *= detail >= DETAIL_FROM
            index[span.target] = part
        return index

    def audible(self, t: int) -> int:
        """How many channels of detail the encoder tries: up to the last whose usual scale is not FAINT."""
        return up_to_last(self.scale_network.usual(t)[self.m :] > -FAINT << ACTIVATION_BITS)


def used(elements: Elements, m: int) -> np.ndarray:
    """How many elements (h, w, C) of each channel from m on are not 0: (C - m,)."""
    total = np.zeros(elements.shape[2] - m, np.int64)
    for band in bands_of(elements):
        total += np.count_nonzero(elements[band, :, m:], (0, 1))
    return total


def worth_having(used: np.ndarray) -> int:
    """How many channels of detail to send, by how many symbols in each are not 0: not the last ones, if hardly a symbol
    is there."""
    so_far = used.cumsum()
    if not len(so_far) or not so_far[-1]:
        return 0
    return int(np.searchsorted(so_far, so_far[-1] * (1 - RARE))) + 1


def up_to_last(flags: np.ndarray) -> int:
    """The number of entries up to the last that is true."""
    return int(np.flatnonzero(flags)[-1]) + 1 if flags.any() else 0
