"""CompressAI's rANS coder under guard, in the places where its own models look for one: notes the symbols that pass.

Unlike ours, CompressAI's tables have an escape slot, so bytes from strangers can reach the escape path: a run of
4-bit counts, added up while they are 15, then as many 4-bit digits. The decoder never looks where its input ends.
`guarded` appends zeros behind which no read can get:

- L bytes and n symbols. A state in [2^31, 2^63) refills with 32 bits whenever it falls below 2^31.
- One escape reads at most 9 counts of 15 from its state and 8 more from each word of the stream; the zeros end it.
  Over all escapes: F <= 9 n + 2 L counts of 15, n other ones, and at most 15 F + 14 n digits.
- Those 16 F + 15 n reads take 4 bits each, symbols 16: at most 1 + 20.5 n + 4.1 L words of 4 bytes.

An escape of absurd length yields a meaningless symbol, which the checksum of the symbols catches.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jndcodec.errors import FormatError, ModelError

STATE = 8  # bytes
STATE_MIN, STATE_MAX = 1 << 31, 1 << 63  # every encoder ends in this range
LARGEST = 1 << 24  # of a symbol; CompressAI's encoder never returns from 2^27


def guarded(stream: bytes, count: int) -> bytes:
    """`stream` with the zeros that make decoding `count` symbols safe; FormatError where no encoder wrote it."""
    if len(stream) < STATE or not STATE_MIN <= int.from_bytes(stream[:STATE], "little") < STATE_MAX:
        raise FormatError("damaged .jlc file: its symbols cannot be decoded; get the file again")
    return stream.ljust(16 + 84 * count + 17 * len(stream), b"\0")


class Coder:
    """What CompressAI's entropy models call `entropy_coder`. `symbols`: those that were coded or decoded last."""

    def __init__(self) -> None:
        self.symbols: Sequence[int] = []

    def encode_with_indexes(self, symbols: list[int], indexes: list[int], *tables: Any) -> bytes:
        """One stream; ModelError where broken weights made symbols that the coder hangs on."""
        if max(map(abs, symbols), default=0) > LARGEST:
            raise ModelError("this model's latents are not finite: its weights are broken")
        self.symbols = symbols
        return _ans().RansEncoder().encode_with_indexes(symbols, indexes, *tables)

    def decode_with_indexes(self, stream: bytes, indexes: list[int], *tables: Any) -> list[int]:
        """Symbols of one stream."""
        decoded = _ans().RansDecoder().decode_with_indexes(guarded(stream, len(indexes)), indexes, *tables)
        self.symbols = decoded
        return decoded


class StepwiseCoder(Coder):
    """The interfaces that autoregressive models use: BufferedRansEncoder, and RansDecoder with a stream set first."""

    count = 0  # symbols in the stream that will be set next

    def encode_with_indexes(self, symbols: list[int], indexes: list[int], *tables: Any) -> bytes:
        self._stream = super().encode_with_indexes(symbols, indexes, *tables)
        return self._stream

    def flush(self) -> bytes:
        return self._stream

    def set_stream(self, stream: bytes) -> None:
        self._decoder, self.symbols = _ans().RansDecoder(), []
        self._decoder.set_stream(guarded(stream, self.count))

    def decode_stream(self, indexes: list[int], *tables: Any) -> list[int]:
        decoded = self._decoder.decode_stream(indexes, *tables)
        self.symbols += decoded
        return decoded


def crc(z: Coder, y: Coder) -> int:
    """CRC-32 over the symbols of z, then of y, as little-endian int32."""
    first = zlib.crc32(np.array(z.symbols, "<i4").tobytes())
    return zlib.crc32(np.array(y.symbols, "<i4").tobytes(), first)


def _ans() -> Any:
    return importlib.import_module("compressai.ans")
