"""Which engine runs a native model's networks: ONNX Runtime, which is there at once, or torch, which takes seconds to
load but has GPUs, gradients and bfloat16."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from jndcodec.capacity import installed
from jndcodec.errors import ArgumentError

ENGINES = ("auto", "onnx", "torch")
# Where torch computes in bfloat16 it saves 0.06 s (decoding, on two threads) to 0.25 s (encoding, on one) of each 0.39
# megapixels, and takes 1.7 s to load (docs/BENCHMARKS.md, "Speed against CompressAI" and "Startup"): that is paid back
# after so many
PIXELS = 10_000_000  # of one picture, or
PICTURES = 24  # of a command, whose sizes nobody knows beforehand


def first_engine(engine: str, device: str, precision: str) -> str:
    """The engine to begin with, "onnx" or "torch"; ArgumentError where the asked one cannot do it."""
    if engine not in ENGINES:
        raise ArgumentError(f"unknown engine {engine!r}: use {', '.join(ENGINES)}")
    alone = device not in ("auto", "cpu") or precision not in ("auto", "fp32")  # torch has it alone, or says it has not
    if engine == "onnx" and alone:
        raise ArgumentError("the engine onnx computes on the CPU in fp32: leave out the device and the precision")
    if engine == "onnx" or engine == "torch":
        return engine
    if alone or not installed("onnxruntime") or (device == "auto" and _has_cuda() and installed("torch")):
        return "torch"
    return "onnx"


def engine_for(engine: str, precision: str, *, pictures: int = 1, pixels: int = 0) -> str:
    """What "auto" becomes for so many pictures or for one of so many pixels; "auto" itself where torch does not pay.

    It depends on what was asked alone, never on what was coded before: an encoder's bytes may differ by engine.
    """
    pays = pictures >= PICTURES or pixels >= PIXELS
    return "torch" if engine == precision == "auto" and pays and torch_is_faster() else engine


@functools.cache
def torch_is_faster() -> bool:
    """Whether torch would compute in bfloat16 here, in two thirds of the time: asked of the system, not of torch."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    return installed("torch") and not {"avx512_bf16", "amx_tile"}.isdisjoint(flags)


def _has_cuda() -> bool:
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
