"""`jndcodec decode`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import click

from jndcodec.cli.options import (
    choose_jobs,
    device_options,
    files_options,
    inputs_and_output,
    threads_per_job,
    weights_option,
)
from jndcodec.cli.paths import JLC_SUFFIXES, PIPE, decoded_name, plan, read_jlc
from jndcodec.cli.report import Done, by_engine, kilobytes
from jndcodec.cli.screen import Command
from jndcodec.model.choice import engine_for

ORIGINAL = "original"  # --format: the suffix that the picture had before it was encoded


@click.command(
    cls=Command,
    short_help="Decode .jlc files to pictures.",
    examples=(
        "jndcodec decode photo.png.jlc -o copy.png",
        "jndcodec decode small/ -o back/ --format original",
        "jndcodec decode - --format webp",
    ),
    sections={
        "Model": ("weights", "device", "precision", "engine", "threads"),
        "Files": ("output", "suffix", "existing", "times", "limit", "jobs", "as_json"),
    },
)
@inputs_and_output
@click.option(
    "--format",
    "suffix",
    metavar="SUFFIX",
    help="png, webp, tif, ... where -o does not say it; original: that of before, as in a.jpg.jlc.  [default: png]",
)
@weights_option
@device_options
@files_options
def decode(
    inputs: tuple[str, ...],
    output: str | None,
    suffix: str | None,
    existing: str,
    times: bool | None,
    as_json: bool,
    jobs: int | None,
    threads: int | None,
    limit: dict[str, Any],
    **options: Any,
) -> None:
    """Decode .jlc files to pictures.

    INPUT is a .jlc file, a folder (with all .jlc files in it, at any depth), or - for standard input. The picture is
    a PNG, or whatever the suffix of -o says and Pillow writes; its ICC profile, EXIF and XMP go with it where that
    format holds them. The model is found by its id in the file; --weights gives one that is not installed.

    a.jpg.jlc becomes a.jpg.png, or a.jpg with --format original. Folders and bad files are treated as by `jndcodec
    encode`.
    """
    from jndcodec.cli import batch
    from jndcodec.images.saving import format_for

    ending = None if suffix == ORIGINAL else "." + (suffix or "png").lstrip(".")
    tasks = plan(inputs, output, JLC_SUFFIXES, lambda name: decoded_name(name, ending))
    if len(tasks) == 1 and suffix is None and tasks[0].target != PIPE and Path(tasks[0].target).suffix:
        ending = Path(tasks[0].target).suffix
    if ending:
        format_for(ending)  # before any work
    options["engine"] = engine_for(options["engine"], options["precision"], pictures=len(tasks))
    processes = choose_jobs(jobs, len(tasks), options["device"])
    work = functools.partial(
        _decode,
        ending=ending,
        limit=limit,
        options={**options, "threads": threads_per_job(threads, processes)},
    )
    how = batch.Handling(batch.Existing(existing), times, as_json)
    batch.run(tasks, work, _describe, how, verb="decoded", processes=processes)


def _decode(
    source: str,
    *,
    progress: Callable[[float], None] = lambda share: None,
    ending: str | None,
    limit: dict[str, Any],
    options: dict[str, Any],
) -> Done:
    """Decode one file. Runs in worker processes too. ending: of the output, None for the original's."""
    from jndcodec.codec import codec_for
    from jndcodec.codec import decode as decode_bytes
    from jndcodec.container.jlc import parse
    from jndcodec.images.saving import format_for, write_image

    start = time.monotonic()
    file_format = format_for(ending or Path(decoded_name(source, None)).suffix)
    data = read_jlc(source)
    image = decode_bytes(data, progress=progress, **limit, **options)
    stream = BytesIO()
    notes = write_image(image, stream, file_format)
    jlc = parse(data)
    facts = {
        "width": image.width,
        "height": image.height,
        "mode": image.mode,
        "bytes": len(stream.getbuffer()),
        "input_bytes": len(data),
        "engine": None if jlc.lossless else codec_for(jlc, **options).model.engine,
        "seconds": round(time.monotonic() - start, 3),
    }
    return Done(stream.getvalue(), facts, notes)


def _describe(facts: dict[str, Any]) -> str:
    return (
        f"{facts['input']} -> {facts['output']}: {facts['width']} x {facts['height']}, {facts['mode']}, "
        f"{kilobytes(facts['bytes'])}, {facts['seconds']:.1f} s{by_engine(facts)}"
    )
