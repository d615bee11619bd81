"""How the C library treats the memory of tensors."""

from __future__ import annotations

import numpy as np


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, up to 62 MB, for the next tensors.

    It gives memory back to the system and takes it anew, page by page, unless it has seen larger blocks come and go:
    it learns from the largest one that was freed, up to 32 MB (mallopt(3), M_MMAP_THRESHOLD). Where taking pages is
    slow, as in virtual machines, that is a tenth of the time of the transforms. Other allocators take no notice.
    """
    np.empty(31 << 20, np.uint8)
