"""Whole processes: `jndcodec decode` against `python -c "import torch"`, and the commands that need no torch.

    python benchmarks/startup.py PICTURE [--runs 5]

Medians of wall time. Goals: decode at most 2 times import torch; info, models and --help at most 0.3 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click


def seconds(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """Median time of a Python process per command, in turn, so that other load meets all alike. The first round fills
    the disk cache."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each[1:]) for name, each in times.items()}


@click.command()
@click.argument("picture", type=click.Path(exists=True, path_type=Path))
@click.option("--runs", default=5, show_default=True)
def main(picture: Path, runs: int) -> None:
    """Print times and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = f"{folder}/picture.jlc", f"{folder}/picture.png"
        jndcodec = ["-m", "jndcodec"]
        subprocess.run([sys.executable, *jndcodec, "encode", picture, "-o", coded], check=True, capture_output=True)
        commands = {
            "import torch": ["-c", "import torch"],
            "decode": [*jndcodec, "decode", coded, "-o", decoded, "-f"],
            "info": [*jndcodec, "info", coded],
            "models": [*jndcodec, "models"],
            "--help": [*jndcodec, "--help"],
        }
        for name, median in (times := seconds(commands, runs)).items():
            click.echo(f"{name:12} {median:5.2f} s")
        click.echo(f"decode takes {times['decode'] / times['import torch']:.2f} times import torch (goal 2)")


if __name__ == "__main__":
    main()
