"""Which device, which precision, how many threads."""

from __future__ import annotations

import ctypes
import sys

import torch

from jndcodec.errors import InputError
from jndcodec.model.device import processor_has_bf16

# glibc's malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD; bytes, as C integers
KEEP = {-1: (2 << 30) - 1, -2: 256 << 20, -3: 32 << 20}


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """CUDA where there is one, else the CPU, for "auto"."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise InputError("no CUDA device here; train with --device cpu")
        device = torch.device(name if ":" in name else f"cuda:{local_rank}")
        torch.cuda.set_device(device)
        return device
    if name != "cpu":
        raise InputError(f"training runs on cpu or cuda, not on {name!r}")
    return torch.device("cpu")


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is in the hardware, so that it is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return processor_has_bf16()


def pick_bf16(precision: str, device: torch.device) -> bool:
    """Whether to train in bf16 autocast; where the hardware has it for "auto"."""
    return has_bf16(device) if precision == "auto" else precision == "bf16"


def keep_memory_of_steps() -> None:
    """Let glibc keep what a step frees for the next one: a tenth of the time of a step on a virtual machine.

    Else it gives the better part of a gigabyte back to the system after every step, and takes it anew, page by page.
    A program of its own may do so; a codec in somebody's process is more modest (`jndcodec.model.device`). Other
    allocators take no notice.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        for parameter, size in KEEP.items():
            mallopt(parameter, size)
