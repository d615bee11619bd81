"""A line every half minute from work that is silent otherwise, so that a log or a scheduler sees that it lives."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 30.0


@contextmanager
def heartbeat(describe: Callable[[], str]) -> Iterator[None]:
    """While the block runs, describe() goes to stderr every `SECONDS`, unless that is a terminal, which has a bar."""
    if sys.stderr.isatty():
        yield
        return
    over = threading.Event()

    def speak() -> None:
        while not over.wait(SECONDS):
            print(describe(), file=sys.stderr, flush=True)

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        over.set()
        speaker.join()
