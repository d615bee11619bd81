"""A folder of pictures by each engine: whole commands, in turns.

    python benchmarks/folder.py PICTURES [--rounds 3]

Medians of wall time and of the processor time of all processes. Goal: `auto` is not slower than torch.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

ENGINES = ("auto", "torch")


def seconds(arguments: list[str]) -> tuple[float, float]:
    """(wall time, processor time) of one command and its workers."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "jndcodec", *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, worked


@click.command()
@click.argument("pictures", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=3, show_default=True)
def main(pictures: Path, rounds: int) -> None:
    """Print times and what auto takes of torch's."""
    with tempfile.TemporaryDirectory() as folder:
        commands = {"encode": [str(pictures), "-o", f"{folder}/coded"], "decode": [f"{folder}/coded", "-o", folder]}
        for name, arguments in commands.items():
            times: dict[str, list[tuple[float, float]]] = {engine: [] for engine in ENGINES}
            for _ in range(rounds):
                for engine in ENGINES:
                    times[engine].append(seconds([name, *arguments, "-f", "--engine", engine]))
            medians = {engine: [*map(statistics.median, zip(*each, strict=True))] for engine, each in times.items()}
            for engine, (wall, worked) in medians.items():
                click.echo(f"{name} --engine {engine:6} {wall:6.1f} s, processor {worked:6.1f} s")
            shares = [mine / other for mine, other in zip(medians["auto"], medians["torch"], strict=True)]
            click.echo(
                f"{name}: auto takes {shares[0]:.2f} of torch's wall time, {shares[1]:.2f} of its processor time"
            )


if __name__ == "__main__":
    main()
