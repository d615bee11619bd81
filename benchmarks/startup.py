"""Whole processes against `python -c "import torch"`: encode, decode, and the commands that need no model.

    python benchmarks/startup.py PICTURE [--runs 5]

Medians of wall time and of processor time, in turns. Goals in shares of import torch: decode and encode 0.45, encode
--jnd 1 0.9; info, models and --help 0.3 s.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click


def seconds(commands: dict[str, list[str]], runs: int) -> dict[str, tuple[float, float]]:
    """Median (wall time, processor time) of a Python process per command, in turn, so that other load meets all alike.
    The first round fills the disk cache, and compiles modules that are not, as an installation has done."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, arguments in commands.items():
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            times[name].append((time.perf_counter() - start, worked))
    return {name: tuple(map(statistics.median, zip(*each[1:], strict=True))) for name, each in times.items()}


@click.command()
@click.argument("picture", type=click.Path(exists=True, path_type=Path))
@click.option("--runs", default=5, show_default=True)
def main(picture: Path, runs: int) -> None:
    """Print times and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = f"{folder}/picture.jlc", f"{folder}/picture.png"
        jndcodec = ["-m", "jndcodec"]
        subprocess.run([sys.executable, *jndcodec, "encode", picture, "-o", coded], check=True, capture_output=True)
        again = ["-f", "--lossy"]
        commands = {
            "import torch": ["-c", "import torch"],
            "decode": [*jndcodec, "decode", coded, "-o", decoded, "-f"],
            "encode": [*jndcodec, "encode", str(picture), "-o", coded, *again],
            "encode --jnd 1": [*jndcodec, "encode", str(picture), "-o", coded, "--jnd", "1", *again],
            "decode --engine torch": [*jndcodec, "decode", coded, "-o", decoded, "-f", "--engine", "torch"],
            "info": [*jndcodec, "info", coded],
            "models": [*jndcodec, "models"],
            "--help": [*jndcodec, "--help"],
        }
        times = seconds(commands, runs)
        base = times["import torch"]
        for name, (wall, worked) in times.items():
            click.echo(
                f"{name:22} {wall:6.2f} s, {wall / base[0]:.2f} of import torch; "
                f"processor {worked:5.2f} s, {worked / base[1]:.2f}"
            )


if __name__ == "__main__":
    main()
