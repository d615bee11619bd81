"""What libraries read about threads once, when they are loaded: how many linear algebra takes, and how they wait.

OpenMP's threads spin at the end of every parallel part, some 3 ms by default. Beside a busy neighbour the one that is
waited for has lost its core, and the others burn theirs: a folder can take ten times as long as with one thread. A
thousand turns, some 10 µs, are enough where every thread has a core (benchmarks/neighbour.py measures both).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# Per OpenMP runtime: what says how its threads wait, and what is set where none of these is.
_ASKED = {
    ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"): ("GOMP_SPINCOUNT", "1000"),  # GNU: turns
    ("KMP_BLOCKTIME", "OMP_WAIT_POLICY"): ("KMP_BLOCKTIME", "1"),  # LLVM and Intel: milliseconds, 200 by default
}


def limit_blas(threads: int) -> None:
    """For numpy where it is not imported yet; what the user has set stays."""
    for variable in BLAS_VARIABLES:
        os.environ.setdefault(variable, str(threads))


def wait_calmly(environment: MutableMapping[str, str]) -> None:
    """Set it in `environment`, unless the user has. Before torch is loaded; worker processes inherit it."""
    given = set(environment)
    for names, (name, value) in _ASKED.items():
        if given.isdisjoint(names):
            environment[name] = value
