"""What the seconds of an evaluation are: of one core, one thread, after a warm-up."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jndcodec.evaluate.codecs import Coder
from jndcodec.evaluate.runner import evaluate, find_sources
from jndcodec.evaluate.timing import warm_up


@pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen on Linux alone")
def test_one_core_and_one_thread_after_a_warm_up(tmp_path: Path, photo) -> None:
    import torch

    calls: list[tuple[tuple[int, ...], int, int]] = []

    def encode(rgb: np.ndarray, setting: float) -> bytes:
        calls.append((rgb.shape, len(os.sched_getaffinity(0)), torch.get_num_threads()))
        return rgb.tobytes()

    def decode(data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.uint8).reshape(calls[-1][0])

    Image.fromarray(photo(40, 48)).save(tmp_path / "a.png")
    coder = Coder("raw", "Raw", ".raw", (1, 2), "1", encode, decode)
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    torch.set_num_threads(2)
    warm_up.cache_clear()
    try:
        evaluate(find_sources([tmp_path / "a.png"]), [coder], ["psnr"], tmp_path, 1)
        assert torch.get_num_threads() == 2 and os.sched_getaffinity(0) == cores
    finally:
        torch.set_num_threads(threads)
    small, timed = calls[::2], calls[1::2]
    assert [shape for shape, _, _ in small] == [(64, 64, 3)] * 2
    assert timed == [((40, 48, 3), 1, 1)] * 2
