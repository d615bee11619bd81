"""Metrics and codecs of other packages, which announce them as entry points (docs/EXTENDING.md).

jndcodec.metrics: a `jndcodec.metrics.external.Metric`. jndcodec.codecs: a function without arguments that returns a
`jndcodec.evaluate.codecs.Coder`. What has the name of one of ours is left aside.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

from jndcodec.errors import DependencyError
from jndcodec.evaluate.codecs import CLASSIC, Coder, classic_coder
from jndcodec.metrics.external import Metric

METRICS, CODECS = "jndcodec.metrics", "jndcodec.codecs"


def extra_metrics() -> tuple[Metric, ...]:
    """Those of other packages. One that cannot be loaded is there by name, and says why when it is asked for."""
    return tuple(_metric(entry) for entry in entry_points(group=METRICS))


def extra_codecs() -> dict[str, EntryPoint]:
    """Names of other packages' codecs, with where they are."""
    return {entry.name: entry for entry in entry_points(group=CODECS) if entry.name not in CLASSIC}


def named_coder(name: str) -> Coder:
    """A classic codec, or another package's. InputError if there is none, DependencyError if it cannot be loaded."""
    entry = extra_codecs().get(name)
    if entry is None:
        return classic_coder(name)
    coder = _load(entry)()
    if not isinstance(coder, Coder):
        raise DependencyError(f"codec {name}: {entry.value} returns no jndcodec.evaluate.codecs.Coder: mend it")
    return coder


def _metric(entry: EntryPoint) -> Metric:
    try:
        metric = _load(entry)
        if isinstance(metric, Metric):
            return metric
        reason = f"{entry.value} is no jndcodec.metrics.external.Metric"
    except DependencyError as error:
        reason = str(error)
    return Metric(entry.name, entry.name, _never, missing=functools.partial(str, reason))


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # whatever somebody else's module does while it is imported
        raise DependencyError(f"{entry.value} cannot be loaded: {type(error).__name__}: {error}") from error


def _never(reference: np.ndarray, distorted: np.ndarray) -> float:
    raise AssertionError("a metric that is missing is never measured")
