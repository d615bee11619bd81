"""Seconds that can be compared: one core, and nothing that happens the first time only."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from jndcodec.evaluate.codecs import Coder

SMALL = 64  # pixels a side of the picture that is coded first


@contextmanager
def one_core() -> Iterator[None]:
    """While the block runs, this thread and those that it starts share one core (on Linux), another one in every worker
    process; and torch takes one thread. Libraries that ask how many cores there are see one."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    cores = os.sched_getaffinity(0) if sys.platform == "linux" else set()
    if torch:
        torch.set_num_threads(1)
    if sys.platform == "linux":
        os.sched_setaffinity(0, {sorted(cores)[_number() % len(cores)]})
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)
        if sys.platform == "linux":
            os.sched_setaffinity(0, cores)


@functools.lru_cache(maxsize=256)
def warm_up(coder: Coder, setting: float) -> None:
    """Code a small picture, once in each process: the first one pays for libraries, kernels and memory."""
    coder.prepare()
    ramp = np.linspace(0, 255, SMALL, dtype=np.uint8)
    coder.decode(coder.encode(np.stack(np.broadcast_arrays(ramp[:, None], ramp, ramp[::-1]), -1), setting))


def _number() -> int:
    """Of this process among its siblings; 0 for the first of a program."""
    digits = multiprocessing.current_process().name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0
