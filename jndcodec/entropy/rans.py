"""CompressAI's rANS coder, made safe for bytes from strangers.

`import compressai` takes seconds because it imports everything, so the extension module is loaded by itself.
Its decoder reads past the end of a short stream without noticing. Two facts keep every read inside our buffer:
the tables close at 2^16 before the escape slot, so no stream can reach the escape path, and a symbol then takes at
most one 32-bit word. `decode` pads the stream to 8 bytes of state and 4 bytes for every symbol.
"""

from __future__ import annotations

import array
import functools
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from jndcodec.entropy.tables import Tables
from jndcodec.errors import DependencyError

MIN_SYMBOLS = 3


@functools.cache
def _ans() -> ModuleType:
    """`compressai.ans` without the rest of CompressAI."""
    if "compressai.ans" in sys.modules:
        return sys.modules["compressai.ans"]
    package = importlib.util.find_spec("compressai")
    for folder in (package.submodule_search_locations or []) if package else []:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder) / f"ans{suffix}"
            if path.exists():
                spec = importlib.util.spec_from_file_location("compressai.ans", path)
                assert spec is not None and spec.loader is not None
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                return module
    raise DependencyError("the entropy coder is missing: pip install --no-deps compressai")


def encode(symbols: np.ndarray, indexes: np.ndarray, tables: Tables) -> bytes:
    """One rANS stream of `symbols` (int, 1-D), each under the table that `indexes` (same shape) names.

    Symbols must lie inside their tables (`Tables.low` and `Tables.high`). The coder's buffer has one word for each
    symbol, and its state takes two, so that one or two symbols can write before it: zeros under table 1 make up three.
    """
    symbol_list, index_list = symbols.tolist(), indexes.tolist()
    filling = max(0, MIN_SYMBOLS - len(symbols))
    symbol_list += filling * [0]
    index_list += filling * [1]
    return _ans().RansEncoder().encode_with_indexes(symbol_list, index_list, *tables.lists)


def padded_size(count: int) -> int:
    """Bytes that decoding `count` symbols can touch at most: the 64-bit state and one 32-bit word for each symbol."""
    return 8 + 4 * count


def decode(stream: bytes, indexes: np.ndarray, tables: Tables) -> np.ndarray:
    """Symbols (int16, shape of `indexes`) of a stream; garbage in gives garbage out, but never a read outside it."""
    stream = stream.ljust(padded_size(len(indexes)), b"\0")
    cdfs, sizes, offsets = tables.lists
    # Without offsets it answers with places in the tables: no negative numbers, which Python lists are slow with.
    places = _ans().RansDecoder().decode_with_indexes(stream, indexes.tolist(), cdfs, sizes, [0] * len(offsets))
    return np.frombuffer(array.array("I", places), np.uint32).astype(np.int16) + tables.low.take(indexes)
