"""Beside a busy neighbour: `jndcodec encode` as it is, with one thread, and with OpenMP's own waiting, in turns.

    python benchmarks/neighbour.py PICTURES... [--busy N] [--rounds 3]

--busy: busy processes beside it [default: one a core; 0: an idle machine]. Prints the median seconds of whole
processes. Goals: beside one busy process a core at most 1.3 times one thread; idle at most 1.05 times OpenMP's own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

OWN = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}  # what the runtimes do if nothing is set
VARIANTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "default": ([], {}),
    "--threads 1": (["--threads", "1"], {}),
    "OpenMP's own": ([], OWN),
}


def in_turns(pictures: tuple[str, ...], rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant, after a first round that fills the disk cache."""
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    for _ in range(rounds + 1):
        for name, (options, environment) in VARIANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "jndcodec", "encode", *pictures, "-o", f"{folder}/", *options]
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=clean | environment)
                times[name].append(time.perf_counter() - start)
    return {name: each[1:] for name, each in times.items()}


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--busy", type=click.IntRange(0), default=os.cpu_count)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def main(pictures: tuple[Path, ...], busy: int, rounds: int) -> None:
    """Print times and ratios."""
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        times = in_turns(tuple(map(str, pictures)), rounds)
    finally:
        for neighbour in neighbours:
            neighbour.kill()
    median = {name: statistics.median(each) for name, each in times.items()}
    click.echo(f"{len(pictures)} pictures, {os.cpu_count()} cores, {busy} busy processes")
    for name, each in times.items():
        click.echo(f"{name:14} {median[name]:6.2f} s  ({min(each):.2f} ... {max(each):.2f})")
    other, goal = ("--threads 1", 1.3) if busy else ("OpenMP's own", 1.05)
    click.echo(f"default takes {median['default'] / median[other]:.2f} times {other} (goal {goal})")


if __name__ == "__main__":
    main()
