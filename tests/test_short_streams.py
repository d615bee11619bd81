"""CompressAI's encoder writes before its buffer when one or two symbols are all there is: ours must not let it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import numpy as np
from jndcodec.entropy import rans
from jndcodec.entropy.tables import gaussian_tables

tables = gaussian_tables()
for _ in range(200):  # the heap's own checks end the process when its bookkeeping was written over
    for count in range(1, 6):
        for symbol in (tables.low[1], 0, tables.high[1]):
            symbols, indexes = np.full(count, symbol), np.ones(count, np.uint8)
            assert (rans.decode(rans.encode(symbols, indexes, tables), indexes, tables) == symbols).all()
"""


def test_one_or_two_symbols_do_not_damage_the_heap() -> None:
    """In a process of its own, since the failure is an abort."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
