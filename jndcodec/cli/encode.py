"""`jndcodec encode`."""

from __future__ import annotations

import functools
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jndcodec.cli.encoder_options import check_encoder_options, encoder_options
from jndcodec.cli.options import (
    choose_jobs,
    device_options,
    files_options,
    inputs_and_output,
    threads_per_job,
)
from jndcodec.cli.paths import PIPE, encoded_name, plan, standard_input
from jndcodec.cli.report import Done, by_engine, kilobytes
from jndcodec.cli.screen import Command
from jndcodec.errors import DependencyError, InputError, ModelError
from jndcodec.images.suffixes import PICTURE_SUFFIXES
from jndcodec.model.choice import engine_for
from jndcodec.rate.jnd import UNCERTAINTY

if TYPE_CHECKING:
    from jndcodec.codec import Codec


@click.command(
    cls=Command,
    short_help="Encode pictures to .jlc files.",
    epilog=UNCERTAINTY,
    examples=(
        "jndcodec encode photo.png",
        "jndcodec encode photo.png --jnd 0.5 -o photo.jlc",
        "jndcodec encode holiday/ -o small/ --skip-existing",
    ),
    sections={
        "How good, or how small (one of)": ("jnd", "quality", "bpp", "size"),
        "Model and effort": ("model", "weights", "effort", "device", "precision", "engine", "threads"),
        "What goes in": ("lossless", "strip", "keep_hidden", "verify", "limit"),
        "Files": ("output", "existing", "times", "jobs", "as_json"),
    },
)
@inputs_and_output
@encoder_options
@device_options
@files_options
def encode(
    inputs: tuple[str, ...],
    output: str | None,
    existing: str,
    times: bool | None,
    as_json: bool,
    jobs: int | None,
    threads: int | None,
    limit: dict[str, Any],
    model: str | None,
    weights: Path | None,
    device: str,
    precision: str,
    engine: str,
    **options: Any,
) -> None:
    """Encode pictures to .jlc files.

    INPUT is a picture, a folder (with all pictures in it, at any depth), or - for standard input. Without a target
    (--jnd, --quality, --bpp or --size) the model's one-JND quality is used: half of the people see a difference at
    1 JND, looking closely at both pictures. Where the very pixels take fewer bytes, they are kept.

    a.png becomes a.png.jlc. A folder's tree is recreated under -o; several inputs keep their folders' names there. A
    bad file is reported and the others go on; the exit code is then that of the first error.
    """
    from jndcodec.cli import batch

    check_encoder_options(model, weights, options)
    passed: Counter[str] = Counter()
    tasks = plan(inputs, output, PICTURE_SUFFIXES, encoded_name, passed)
    if passed:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(passed.items()))
        click.echo(f"passed over, since nothing here reads them: {kinds}", err=True)
    engine = engine_for(engine, precision, pictures=len(tasks))
    processes = choose_jobs(jobs, len(tasks), device)
    work = functools.partial(
        _encode,
        codec_options=(model, weights, device, precision, engine, threads_per_job(threads, processes)),
        options=options,
        limit=limit,
    )
    fatal = (ModelError, DependencyError)
    how = batch.Handling(batch.Existing(existing), times, as_json)
    batch.run(tasks, work, _describe, how, verb="coded", processes=processes, fatal=fatal)


@functools.cache
def _codec(
    model: str | None, weights: Path | None, device: str, precision: str, engine: str, threads: int | None
) -> Codec:
    from jndcodec.codec import Codec

    return Codec(model, weights=weights, device=device, precision=precision, engine=engine, threads=threads)


def _encode(
    source: str,
    *,
    progress: Callable[[float], None] = lambda share: None,
    codec_options: tuple[Any, ...],
    options: dict[str, Any],
    limit: dict[str, Any],
) -> Done:
    """Encode one file. Runs in worker processes too."""
    from jndcodec.container.jlc import parse
    from jndcodec.images.loading import load_picture
    from jndcodec.lossless import encode_lossless
    from jndcodec.output import is_device

    start = time.monotonic()
    data: str | bytes = source
    if source == PIPE:
        data = standard_input().read()
    elif is_device(source):  # a named pipe, or the shell's <(command): can be read once
        data = Path(source).read_bytes()
    name = "standard input" if source == PIPE else source
    input_bytes = len(data) if isinstance(data, bytes) else _size(source)
    with warnings.catch_warnings(record=True) as caught:  # this process works on one picture at a time
        warnings.simplefilter("always", UserWarning)
        picture = load_picture(data, name=name, **limit)
    picture.notes += dict.fromkeys(str(entry.message) for entry in caught if entry.category is UserWarning)
    if options["lossless"]:  # needs no model
        wanted = {key: value for key, value in options.items() if key in ("effort", "strip", "keep_hidden", "verify")}
        encoded = encode_lossless(picture, progress=progress, **limit, **wanted)
    else:
        encoded = _codec(*codec_options).encode(picture, progress=progress, **limit, **options)
    jlc = parse(encoded)
    if len(encoded) > input_bytes:
        picture.notes.append(_larger(input_bytes, jlc.lossless))
    facts = {
        "width": picture.width,
        "height": picture.height,
        "bytes": len(encoded),
        "input_bytes": input_bytes,
        "bpp": 8 * len(encoded) / (picture.width * picture.height),
        "ratio": input_bytes / len(encoded),
        "lossless": jlc.lossless,
        "quality": jlc.t / 655.35 if jlc.exact and not jlc.lossless else None,
        "model": None if jlc.lossless else _codec(*codec_options).name,
        "engine": None if jlc.lossless else _codec(*codec_options).model.engine,
        "seconds": round(time.monotonic() - start, 3),
    }
    return Done(encoded, facts, picture.notes)


def _size(source: str) -> int:
    """Bytes of a file, asked before the work: it may be gone after it."""
    try:
        return Path(source).stat().st_size
    except FileNotFoundError:
        raise InputError(f"{source}: no such file") from None
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from error


def _larger(input_bytes: int, lossless: bool) -> str:
    way = "--lossy, or a lower -q" if lossless else "a lower -q, or a higher --jnd"
    return f"larger than the input, which has {kilobytes(input_bytes)}: for fewer bytes use {way}"


def _describe(facts: dict[str, Any]) -> str:
    quality = (
        ("lossless, " if facts["lossless"] else "") if facts["quality"] is None else f"quality {facts['quality']:.1f}, "
    )
    return (
        f"{facts['input']} -> {facts['output']}: {kilobytes(facts['bytes'])}, {facts['bpp']:.3f} bpp, "
        f"1/{facts['ratio']:.1f} of the input, {quality}{facts['seconds']:.1f} s{by_engine(facts)}"
    )
