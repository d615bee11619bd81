"""Which engine runs a native model's networks: ONNX Runtime, which is there at once, or torch, which takes seconds to
load but has GPUs, gradients and bfloat16."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from jndcodec.capacity import installed
from jndcodec.errors import ModelError

ENGINES = ("auto", "onnx", "torch")
# Pixels after which loading torch has paid for itself where it computes in bfloat16 (benchmarks/startup.py, --folder).
PAYS_AFTER = 24_000_000


def first_engine(engine: str, device: str, precision: str) -> str:
    """The engine to begin with, "onnx" or "torch"; ModelError where the asked one cannot do it."""
    if engine not in ENGINES:
        raise ModelError(f"unknown engine {engine!r}: use {', '.join(ENGINES)}")
    alone = device not in ("auto", "cpu") or precision not in ("auto", "fp32")  # torch has it alone, or says it has not
    if engine == "onnx" and alone:
        raise ModelError("the engine onnx computes on the CPU in fp32: leave out the device and the precision")
    if engine == "onnx" or engine == "torch":
        return engine
    if alone or not installed("onnxruntime") or (device == "auto" and _has_cuda() and installed("torch")):
        return "torch"
    return "onnx"


@functools.cache
def torch_is_faster() -> bool:
    """Whether torch would compute in bfloat16 here, in half the time: asked of the system, not of torch."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    return installed("torch") and not {"avx512_bf16", "amx_tile"}.isdisjoint(flags)


def _has_cuda() -> bool:
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
