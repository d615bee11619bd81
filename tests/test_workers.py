"""Workers that die: of one item, while others are under way."""

from __future__ import annotations

import os
import signal

import pytest

from jndcodec.errors import JndcodecError
from jndcodec.workers import map_in_order


def square(number: int) -> int:
    if number in (3, 4, 9):
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def test_the_others_go_on_where_a_worker_dies() -> None:
    found = dict(map_in_order(square, range(11), 2, lost=lambda number: -number))
    assert list(found.items()) == [(n, -n if n in (3, 4, 9) else n**2) for n in range(11)]


def test_it_is_an_error_where_nobody_handles_it() -> None:
    with pytest.raises(JndcodecError, match="worker process died"):
        list(map_in_order(square, range(2, 8), 2))
