"""At the start of a run by the clock on CUDA: which batch trains most patches a second, and whether compiling pays.

A minute at most, and nothing of the run changes by it. What does not work on a machine is left out without a word.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch
from torch import Tensor

from jndcodec.train.checkpoint import random_state, restore_random_state
from jndcodec.train.step import WARM, Step

BATCHES = (32, 64, 128)
SECONDS = 60.0
MEASURED = 1.0  # seconds that one variant is timed
SHOWN = 20  # kernels in the profile


class Variant(NamedTuple):
    """Patches in a batch, and whether forward, loss and metric go through torch.compile."""

    batch: int
    compiled: bool = False


class OutOfTime(Exception):
    """The time for trying is over."""


def choose(
    step: Step, draw: Callable[[int], dict[str, Tensor]], batches: tuple[int, ...], seconds: float = SECONDS
) -> dict[Variant, float]:
    """Patches/s of what was tried and works, the fastest first; the step is set to it. draw(n) makes a batch of n.

    Empty where nothing worked: then the step is as it was.
    """
    rates: dict[Variant, float] = {}
    until = time.monotonic() + seconds
    with unchanged(step):
        for batch in batches:
            _try(step, Variant(batch), draw, until, rates)
        if rates:
            best = max(rates, key=rates.__getitem__)
            _try(step, Variant(best.batch, compiled=True), draw, until, rates)
    rates = dict(sorted(rates.items(), key=lambda item: -item[1]))
    step.use(compiled=next(iter(rates), Variant(0)).compiled)
    return rates


def profile(step: Step, batch: dict[str, Tensor], path: Path) -> None:
    """Write the kernels that a step spends most of its time in; nothing where the profiler does not work."""
    try:
        with unchanged(step):
            for _ in range(WARM + 1):
                step(batch, 0.0, 0.0)
            with torch.profiler.profile() as found:
                step(batch, 0.0, 0.0)
                _wait(step.device)
            key = "self_cuda_time_total" if step.device.type == "cuda" else "self_cpu_time_total"
            path.write_text(found.key_averages().table(sort_by=key, row_limit=SHOWN, max_name_column_width=90))
    except (RuntimeError, AttributeError, AssertionError):
        return


@contextmanager
def unchanged(step: Step) -> Iterator[None]:
    """What the step holds is put back at the end: weights, averages, the optimisers' state, the log, random state."""
    held = [*step.subject.module.parameters(), *step.average.parameters(), step.usual, step.sums]
    for optimizer in step.optimizers:
        held += [value for state in optimizer.state.values() for value in state.values()]
    before, random = [t.detach().clone() for t in held], random_state(step.device)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_([t.detach() for t in held], before)
        restore_random_state(random, step.device)


def _try(
    step: Step, variant: Variant, draw: Callable[[int], dict[str, Tensor]], until: float, rates: dict[Variant, float]
) -> None:
    left = until - time.monotonic()
    if left <= 0:
        return
    try:
        with _alarm(left):
            step.use(variant.compiled)
            rates[variant] = _rate(step, draw(variant.batch), variant.batch)
    except Exception:  # too little memory, no compiler, no time: whatever it is, the run goes on without
        step.use(compiled=False)


def _rate(step: Step, batch: dict[str, Tensor], count: int) -> float:
    """Patches/s; the weights stay, since the learning rate is 0."""
    for _ in range(WARM + 2):
        step(batch, 0.0, 0.0)
    _wait(step.device)
    start, steps = time.perf_counter(), 0
    while steps < 2 or time.perf_counter() - start < MEASURED:
        step(batch, 0.0, 0.0)
        _wait(step.device)
        steps += 1
    return count * steps / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """OutOfTime after so long, in the main thread; compiling cannot be asked to stop in any other way."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
