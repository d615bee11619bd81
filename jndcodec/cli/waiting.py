"""How threads wait for each other: they spin for a moment and then sleep.

OpenMP's threads spin at the end of every parallel part, some 3 ms by default. Beside a busy neighbour the one that is
waited for has lost its core, and the others burn theirs: a folder can take ten times as long as with one thread. A
thousand turns, some 10 µs, are enough where every thread has a core (benchmarks/neighbour.py measures both).
"""

from __future__ import annotations

from collections.abc import MutableMapping

# Per OpenMP runtime: what says how its threads wait, and what is set where none of these is.
_ASKED = {
    ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"): ("GOMP_SPINCOUNT", "1000"),  # GNU: turns
    ("KMP_BLOCKTIME", "OMP_WAIT_POLICY"): ("KMP_BLOCKTIME", "1"),  # LLVM and Intel: milliseconds, 200 by default
}


def wait_calmly(environment: MutableMapping[str, str]) -> None:
    """Set it in `environment`, unless the user has. Before torch is loaded; worker processes inherit it."""
    given = set(environment)
    for names, (name, value) in _ASKED.items():
        if given.isdisjoint(names):
            environment[name] = value
