"""Tables and rANS: inside their bounds whatever the bytes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from jndcodec.container.jlc import read_varint, varint
from jndcodec.entropy import rans
from jndcodec.entropy.symbols import Symbols
from jndcodec.entropy.tables import COUNT, PRECISION, Tables, gaussian_tables
from jndcodec.errors import FormatError, ModelError


@pytest.fixture(scope="module")
def tables() -> Tables:
    return gaussian_tables()


def draw(tables: Tables, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    indexes = rng.integers(1, COUNT, count).astype(np.uint8)
    low, high = tables.low[indexes].astype(int), tables.high[indexes].astype(int)
    return np.round(rng.triangular(low, 0, high)).astype(np.int16), indexes


def test_tables_close_before_the_escape_slot(tables: Tables) -> None:
    for cdf, size in zip(tables.lists[0], tables.lists[1], strict=True):
        assert len(cdf) == size
        assert cdf[-1] == cdf[-2] == 1 << PRECISION


def test_round_trip_and_cost(tables: Tables) -> None:
    symbols, indexes = draw(tables, 20_000, 0)
    stream = rans.encode(symbols, indexes, tables)
    np.testing.assert_array_equal(rans.decode(stream, indexes, tables), symbols)
    assert abs(8 * len(stream) - tables.bits(symbols, indexes).sum()) < 100


def test_extreme_symbols_of_every_table(tables: Tables) -> None:
    indexes = np.repeat(np.arange(1, COUNT), 2).astype(np.uint8)
    symbols = np.stack([tables.low[1:], tables.high[1:]], 1).reshape(-1)
    np.testing.assert_array_equal(rans.decode(rans.encode(symbols, indexes, tables), indexes, tables), symbols)


@pytest.mark.parametrize("fill", [0x00, 0xFF, 0xAA])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 100])
def test_garbage_gives_symbols_inside_the_tables(tables: Tables, fill: int, length: int) -> None:
    """A symbol outside its table would mean that the escape path, which can read without end, was entered."""
    _, indexes = draw(tables, 5000, 1)
    symbols = rans.decode(bytes([fill]) * length, indexes, tables)
    assert (symbols >= tables.low[indexes]).all() and (symbols <= tables.high[indexes]).all()


def test_random_streams_never_leave_the_tables(tables: Tables) -> None:
    rng = np.random.default_rng(2)
    _, indexes = draw(tables, 500, 3)
    for _ in range(200):
        symbols = rans.decode(rng.bytes(rng.integers(0, 900)), indexes, tables)
        assert (symbols >= tables.low[indexes]).all() and (symbols <= tables.high[indexes]).all()


def test_padding_bound_is_enough(tables: Tables) -> None:
    """A model of the decoder in integers: it never reads past `padded_size`, even when every symbol is the dearest."""
    indexes = np.full(300, COUNT - 1, np.uint8)
    cdf = tables.lists[0][COUNT - 1]
    rng = np.random.default_rng(4)
    for stream in (b"", b"\xff" * 5000, rng.bytes(5000)):
        data = stream.ljust(rans.padded_size(len(indexes)), b"\0")
        state, at, decoded = int.from_bytes(data[:8], "little"), 8, []
        for _ in indexes:
            slot = state & 0xFFFF
            symbol = next(i for i, value in enumerate(cdf) if value > slot) - 1
            state = (cdf[symbol + 1] - cdf[symbol]) * (state >> 16) + slot - cdf[symbol]
            if state < 1 << 31:
                assert at + 4 <= rans.padded_size(len(indexes))
                state, at = state << 32 | int.from_bytes(data[at : at + 4], "little"), at + 4
            decoded.append(symbol + tables.offset[COUNT - 1])
        np.testing.assert_array_equal(rans.decode(stream, indexes, tables), decoded)


def test_wheel_is_built_without_assertions() -> None:
    """The empty escape slot would trip CompressAI's debug assertions: a build with them must be noticed here."""
    code = (
        "import numpy as np; from jndcodec.entropy import rans; from jndcodec.entropy.tables import gaussian_tables;"
        "t = gaussian_tables(); i = np.ones(3, np.uint8); s = np.zeros(3, np.int16);"
        "assert (rans.decode(rans.encode(s, i, t), i, t) == s).all()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_compressai_itself_is_not_imported() -> None:
    code = (
        "import sys; from jndcodec.entropy import rans; rans._ans();"
        "assert 'compressai' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_symbols_in_several_bands(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jndcodec.entropy.symbols.BAND", 1000)
    y, index_y = draw(tables, 20 * 9 * 16, 5)
    index_y[::3] = 0
    index_y[: 9 * 16 * 6] = 0  # a whole band without coded elements
    y[index_y == 0] = 0
    index_z = np.full(8, 10, np.uint8)
    symbols = Symbols(np.ones((5, 3, 8), np.int16), y.reshape(20, 9, 16), index_z, index_y.reshape(20, 9, 16))
    z_stream, y_stream = symbols.pack(tables)
    np.testing.assert_array_equal(Symbols.unpack_y(y_stream, symbols.index_y, tables), symbols.y)
    np.testing.assert_array_equal(Symbols.unpack_z(z_stream, (5, 3, 8), index_z, tables), symbols.z)


@pytest.mark.parametrize("damage", ["size", "offset", "cdf", "end", "short"])
def test_damaged_tables_are_refused(tables: Tables, damage: str) -> None:
    cdf, size, offset = tables.cdf.copy(), tables.size.copy(), tables.offset.copy()
    if damage == "size":
        size[3] += 1
    elif damage == "offset":
        offset[3] = 5
    elif damage == "cdf":
        cdf[10] = 0
    elif damage == "end":
        cdf[size[0] - 2] -= 1
    else:
        size = size[:-1]
    with pytest.raises(ModelError):
        Tables(cdf, size, offset)


def beyond(tables: Tables, seed: int) -> Symbols:
    """Symbols of which a few lie far outside their tables, on both sides, and a few just at the ends."""
    rng = np.random.default_rng(seed)
    y, index_y = draw(tables, 10 * 9 * 16, seed)
    index_y[index_y > 40] = 5
    at = rng.permutation(len(y))[:60]
    y = y.clip(tables.low[index_y], tables.high[index_y])
    y[at[:20]] = rng.integers(500, 32767, 20)
    y[at[20:40]] = -rng.integers(500, 32767, 20)
    y[at[40:50]], y[at[50:]] = tables.high[index_y[at[40:50]]], tables.low[index_y[at[50:]]]
    z = np.array([[[3, -4000, 40, 0]]], np.int16)
    return Symbols(z, y.reshape(10, 9, 16), np.full(4, 8, np.uint8), index_y.reshape(10, 9, 16))


@pytest.mark.parametrize("band", [1 << 22, 500])
def test_symbols_beyond_their_tables_come_back(tables: Tables, monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    monkeypatch.setattr("jndcodec.entropy.symbols.BAND", band)
    symbols = beyond(tables, 7)
    z_section, y_section = symbols.pack(tables)
    np.testing.assert_array_equal(Symbols.unpack_y(y_section, symbols.index_y, tables), symbols.y)
    np.testing.assert_array_equal(Symbols.unpack_z(z_section, symbols.z.shape, symbols.index_z, tables), symbols.z)


@pytest.mark.parametrize("damage", ["too few", "too many", "too large", "too long", "not there"])
def test_excess_that_does_not_fit_is_refused(tables: Tables, damage: str) -> None:
    symbols = beyond(tables, 8)
    section = symbols.pack(tables)[1]
    length, at = read_varint(section, 0, len(section))
    body, rest = section[at : at + length], section[at + length :]
    body = {
        "too few": body[:1],
        "too many": body + bytes(3),
        "too large": varint(1 << 30) + body,
        "too long": body,
        "not there": b"",
    }[damage]
    damaged = varint(len(body) + (1 << 20 if damage == "too long" else 0)) + body + rest
    if damage == "not there":  # the ends of the tables are taken as they are: other symbols, which the CRC catches
        assert (Symbols.unpack_y(damaged, symbols.index_y, tables) != symbols.y).any()
        return
    with pytest.raises(FormatError):
        Symbols.unpack_y(damaged, symbols.index_y, tables)
