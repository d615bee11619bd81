"""A folder of pictures by each engine: whole commands, in turns.

    python benchmarks/folder.py PICTURES [--rounds 3]

Medians of the wall time, of default workers and threads. Goal: `auto` is not slower than torch.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

ENGINES = ("auto", "torch")


def seconds(arguments: list[str]) -> float:
    """Wall time of one command."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "jndcodec", *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


@click.command()
@click.argument("pictures", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=3, show_default=True)
def main(pictures: Path, rounds: int) -> None:
    """Print times and what auto takes of torch's."""
    with tempfile.TemporaryDirectory() as folder:
        commands = {"encode": [str(pictures), "-o", f"{folder}/coded"], "decode": [f"{folder}/coded", "-o", folder]}
        for name, arguments in commands.items():
            times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
            for _ in range(rounds):
                for engine in ENGINES:
                    times[engine].append(seconds([name, *arguments, "-f", "--engine", engine]))
            auto, torch = (statistics.median(times[engine]) for engine in ENGINES)
            click.echo(f"{name}: auto {auto:.1f} s, torch {torch:.1f} s, {auto / torch:.2f} of it")


if __name__ == "__main__":
    main()
