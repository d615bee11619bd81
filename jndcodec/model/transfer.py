"""Between host and device: pinned memory, copies that nobody waits for, and one wait for all that comes back.

A copy from or to ordinary memory makes the host wait until the device has done all that it was given. From pinned
memory it is one more thing in the device's queue, so the host goes on to the next batch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def upload(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Arrays of one shape as one tensor (N, …) on the device. Nobody waits for it."""
    pinned = device.type == "cuda"
    kind = torch.from_numpy(arrays[0]).dtype
    staged = torch.empty((len(arrays), *arrays[0].shape), dtype=kind, pin_memory=pinned)
    np.stack(arrays, out=staged.numpy())
    return staged.to(device, non_blocking=pinned)


class Download:
    """Tensors on their way to the host, from the moment that this is made."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._lock, self._event = threading.Lock(), None
        if tensors[0].device.type == "cuda":
            self._host = [
                torch.empty(one.shape, dtype=one.dtype, pin_memory=True).copy_(one, non_blocking=True)
                for one in tensors
            ]
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(tensors[0].device))
        else:
            self._host = [one.cpu() for one in tensors]

    def wait(self) -> list[np.ndarray]:
        """All of them, once they are there. From any thread; the first to ask waits for the device, nobody after it."""
        with self._lock:
            if self._event is not None:
                self._event.synchronize()
                self._event = None
        return [one.numpy() for one in self._host]
