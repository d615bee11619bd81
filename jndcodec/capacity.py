"""What this machine has for worker processes: cores and memory that a container or a batch system may have cut down."""

from __future__ import annotations

import importlib.util
import os
from contextlib import suppress
from pathlib import Path

MEMORY_PER_JOB = 2_000_000_000  # bytes; a picture of 12 megapixels takes 1.6 (docs/BENCHMARKS.md, "Many pictures")
_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that new processes can take without swapping; None where the system does not tell (it is not Linux)."""
    found = [_available(Path("/proc/meminfo")), _left_in_group(_CGROUP)]
    return min((size for size in found if size is not None), default=None)


def _available(meminfo: Path) -> int | None:
    with suppress(OSError, ValueError, StopIteration):
        line = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:"))
        return int(line.split()[1]) << 10
    return None


def _left_in_group(folder: Path) -> int | None:
    """Of a container's limit (cgroup v2); files that the kernel has cached there count as free."""
    with suppress(OSError, ValueError):
        limit = int((folder / "memory.max").read_text())  # "max" is no number
        used = int((folder / "memory.current").read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(statistics.get("inactive_file", 0)))
    return None


def installed(package: str) -> bool:
    """Whether a package can be imported, without doing so."""
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # blocked: None stands for it in sys.modules
        return False
