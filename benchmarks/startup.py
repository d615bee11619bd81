"""Whole processes: `jndcodec decode` against `python -c "import torch"`, and the commands that need no torch.

    python benchmarks/startup.py PICTURE [--runs 5]

Medians of wall time.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click


def seconds(arguments: list[str], runs: int) -> float:
    """Median time of a Python process with these arguments; the first one fills the disk cache."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


@click.command()
@click.argument("picture", type=click.Path(exists=True, path_type=Path))
@click.option("--runs", default=5, show_default=True)
def main(picture: Path, runs: int) -> None:
    """Print times and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = f"{folder}/picture.jlc", f"{folder}/picture.png"
        jndcodec = ["-m", "jndcodec"]
        subprocess.run([sys.executable, *jndcodec, "encode", picture, "-o", coded], check=True, capture_output=True)
        torch = seconds(["-c", "import torch"], runs)
        decode = seconds([*jndcodec, "decode", coded, "-o", decoded, "-f"], runs)
        click.echo(f"import torch       {torch:5.2f} s")
        click.echo(f"jndcodec decode    {decode:5.2f} s, {decode / torch:.2f} times import torch (goal 2)")
        for name, arguments in (("info", ["info", coded]), ("models", ["models"]), ("--help", ["--help"])):
            click.echo(f"jndcodec {name:9} {seconds([*jndcodec, *arguments], runs):5.2f} s (goal 0.3)")


if __name__ == "__main__":
    main()
