"""Options that several commands share, and their types."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from jndcodec.capacity import MEMORY_PER_JOB, cores, free_memory
from jndcodec.cli.report import json_option
from jndcodec.model.choice import ENGINES
from jndcodec.threads import limit_blas

FILES_PER_JOB = 4  # fewer are done before another worker has its model
MOST_JOBS_ON_GPU = 8  # each takes half a gigabyte there for CUDA itself
_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class Count(click.ParamType):
    """A whole number, with k, M or G for thousands, millions or thousands of millions: 120k, 1.5M."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)b?", value.strip().lower())
        count = int(float(match[1]) * _MULTIPLES[match[2]]) if match else 0
        if count < 1:
            self.fail(f"{value!r} is not a number such as 50000, 120k or 1.5M", param, ctx)
        return count


class Number(click.FloatRange):
    """A number that is one: neither nan nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number that can be aimed at", param, ctx)
        return number


POSITIVE = Number(0, min_open=True)


class Jobs(click.ParamType):
    """How many worker processes: a number, or None for "auto"."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is not a number from 1 on, or auto", param, ctx)
        return int(value)


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def stack(*options: Decorator) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


weights_option = click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE", help="A weights file, for models not installed."
)

runtime_option = click.option(
    "--runtime",
    type=click.Path(exists=True, path_type=Path),
    envvar="JNDCODEC_WEB_RUNTIME",
    show_envvar=True,
    metavar="PATH",
    help="ONNX Runtime Web: its npm package, a .tgz file or the folder that it was unpacked in.",
)

inputs_and_output = stack(
    click.argument("inputs", nargs=-1, required=True, metavar="INPUT..."),
    click.option(
        "-o", "--output", metavar="OUT", help="File, folder, or - for standard output.  [default: beside the input]"
    ),
)


def _limit(ctx: click.Context, param: click.Parameter, value: int | None) -> dict[str, int]:
    """As keyword arguments: without the option, the library's own default holds (and need not be imported here)."""
    return {} if value is None else {"max_pixels": value}


limit_option = click.option(
    "--max-pixels",
    "limit",
    type=Count("count"),
    callback=_limit,
    help="Refuse larger pictures, such as decompression bombs.  [default: 268M]",
)

files_options = stack(
    click.option(
        "-f", "--force", "existing", flag_value="overwrite", default="refuse", help="Overwrite outputs that exist."
    ),
    click.option("--skip-existing", "existing", flag_value="skip", help="Keep outputs that exist: go on after a stop."),
    click.option("--update", "existing", flag_value="update", help="Overwrite outputs older than their input."),
    click.option(
        "--times/--no-times",
        default=None,
        help="Give each output the time of its input.  [default: in folders]",
    ),
    limit_option,
    click.option(
        "--jobs",
        type=Jobs(),
        default="auto",
        show_default=True,
        help="Files worked on at the same time, each in a process of its own. auto: of many files, as many as there "
        "are cores and 2 GB of memory for each (12 megapixels take 1.6).",
    ),
    json_option,
)

transform_options = stack(
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        show_default=True,
        help="Where the transforms run. Files from one decode on all.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        show_default=True,
        help="Of the transforms: bf16 is faster where the processor has it.",
    ),
)

engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="auto",
    show_default=True,
    help="What runs the transforms: onnx starts at once, torch has GPUs, bf16 and efforts from 4 on.",
)

device_options = stack(
    transform_options,
    engine_option,
    click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: all cores, shared among --jobs]"),
)


def choose_jobs(jobs: int | None, files: int, device: str) -> int:
    """As asked for; else by what the machine has, and by whether the files are worth starting workers for. A GPU is
    shared by a few processes, whose entropy coding on the CPU takes longer than the transforms there."""
    if jobs is not None:
        return min(jobs, files)
    on_gpu = device in ("cuda", "mps") or (device == "auto" and Path("/dev/nvidiactl").exists())
    memory = free_memory()
    room = cores() if memory is None else min(cores(), memory // MEMORY_PER_JOB)
    return max(1, min(room, files // FILES_PER_JOB, MOST_JOBS_ON_GPU if on_gpu else room))


def threads_per_job(threads: int | None, jobs: int) -> int | None:
    """As asked for; else the cores divided among several jobs; None (the engine's own choice) for a single one."""
    each = threads or (max(1, cores() // jobs) if jobs > 1 else None)
    if each:
        limit_blas(each)
    return each
