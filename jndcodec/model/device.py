"""Which device and which precision the transforms run in. What decides symbols is not affected by either."""

from __future__ import annotations

import torch

from jndcodec.errors import ArgumentError


def choose_device(name: str = "auto") -> torch.device:
    """auto: CUDA, else the CPU. ArgumentError when the asked device is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ArgumentError("no CUDA device is available: use --device cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ArgumentError("no MPS device is available: use --device cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ArgumentError(f"unknown device {name!r}: use auto, cpu, cuda or mps") from None


def processor_has_bf16() -> bool:
    """Whether this processor computes in bfloat16 in hardware; False where torch is too old to tell."""
    return any(getattr(torch.cpu, f"_is_{kind}_supported", bool)() for kind in ("avx512_bf16", "amx_tile"))


def faster_in_bf16(device: torch.device) -> bool:
    """Whether the transforms are faster in bfloat16: by half on a CPU that has it in hardware, where emulated it would
    be slower. On CUDA they are not: a picture of 768x512 takes an H200 42 ms in float32 and 52 in bfloat16, since what
    it waits for is the entropy coding."""
    return device.type == "cpu" and processor_has_bf16()


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """torch.bfloat16 or torch.float32 for auto, bf16 or fp32."""
    if precision not in ("auto", "bf16", "fp32"):
        raise ArgumentError(f"unknown precision {precision!r}: use auto, bf16 or fp32")
    if precision == "bf16" or (precision == "auto" and faster_in_bf16(device)):
        return torch.bfloat16
    return torch.float32
