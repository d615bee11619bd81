"""Files written once must give the same symbols forever: a change here is a new format version, never a new golden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jndcodec.codec import Codec
from jndcodec.container.jlc import Section, parse

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(weights=GOLDEN / "golden.safetensors", device="cpu", precision="fp32")


@pytest.mark.parametrize("name", ["rgb", "low", "high", "one"])
def test_symbols_and_indexes_are_those_of_the_first_day(codec: Codec, name: str) -> None:
    jlc = parse((GOLDEN / f"{name}.jlc").read_bytes())
    symbols = codec.model.unpack(jlc.sections[Section.Z], jlc.sections[Section.Y], jlc.t, (jlc.height, jlc.width))
    with np.load(GOLDEN / f"{name}.npz") as golden:
        for part in golden.files:
            np.testing.assert_array_equal(getattr(symbols, part), golden[part])
    assert symbols.crc() == jlc.symbols_crc
    assert symbols.index_y.any() and (symbols.y.any() or name == "one")


@pytest.mark.parametrize("name", ["rgb", "low", "high", "one"])
def test_encoding_the_golden_symbols_gives_the_golden_bytes(codec: Codec, name: str) -> None:
    data = (GOLDEN / f"{name}.jlc").read_bytes()
    jlc = parse(data)
    symbols = codec.model.unpack(jlc.sections[Section.Z], jlc.sections[Section.Y], jlc.t, (jlc.height, jlc.width))
    assert codec.model.pack(symbols) == (jlc.sections[Section.Z], jlc.sections[Section.Y])
    assert jlc.pack() == data
