"""How many threads numpy's linear algebra takes: its libraries read that once, when numpy is imported."""

from __future__ import annotations

import os

BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def limit_blas(threads: int) -> None:
    """For numpy where it is not imported yet; what the user has set stays."""
    for variable in BLAS_VARIABLES:
        os.environ.setdefault(variable, str(threads))
