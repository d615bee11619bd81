"""`jndcodec bulk encode` and `jndcodec bulk decode`."""

from __future__ import annotations

import functools
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jndcodec.cli.encoder_options import check_encoder_options, encoder_options
from jndcodec.cli.options import engine_option, limit_option, stack, transform_options, weights_option
from jndcodec.cli.paths import JLC_SUFFIXES, decoded_name, encoded_name
from jndcodec.cli.report import kilobytes
from jndcodec.cli.screen import Command, Group
from jndcodec.errors import DependencyError
from jndcodec.images.suffixes import PICTURE_SUFFIXES
from jndcodec.model.choice import first_engine
from jndcodec.rate.jnd import UNCERTAINTY
from jndcodec.workers import stoppable

if TYPE_CHECKING:
    from jndcodec.bulk.engine import Progress

QUIET = 10.0  # seconds between progress lines where no terminal overwrites them

bulk_options = stack(
    click.argument("source", metavar="SRC"),
    click.option("--out", "target", required=True, metavar="DST", help="Folder or URI that the results go to."),
    click.option("--ray", default="local", show_default=True, metavar="ADDRESS", help="A Ray cluster, or local."),
    click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Workers.  [default: as many as fit]"),
    click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of each worker."),
    click.option(
        "--gpus-per-worker", "gpus", type=click.FloatRange(0), default=0.0, metavar="G", help="May be a share: 0.25."
    ),
    click.option("--column", default="bytes", show_default=True, help="Of Parquet files: the one with the bytes."),
    click.option("--key", metavar="COLUMN", help="Of Parquet files: names rows in the manifest.  [default: file#row]"),
    click.option("--resume", is_flag=True, help="Go on: do what is missing, and again what failed."),
    click.option("-f", "--force", is_flag=True, help="Write into a DST that is not empty."),
    limit_option,
    transform_options,
    engine_option,
)


@click.group(
    cls=Group,
    short_help="Encode or decode millions of pictures.",
    examples=("jndcodec bulk encode photos/ --out small/", "jndcodec bulk decode small/ --out back/"),
)
def bulk() -> None:
    """Encode or decode millions of pictures, on one machine or a Ray cluster: pip install 'jndcodec[ray]'.

    SRC and DST are folders or URIs (s3://, gs://, file://, and whatever fsspec opens). SRC holds pictures, whose tree
    is recreated; or Parquet files with a column of bytes, or WebDataset tars, whose other columns and members are kept.
    DST/_manifest.parquet says what became of each picture; one that fails stops nothing.
    """


SECTIONS = {
    "Workers": ("ray", "concurrency", "threads", "gpus", "device", "precision", "engine"),
    "Where": ("target", "column", "key", "resume", "force"),
}


@bulk.command(
    cls=Command,
    short_help="Encode pictures.",
    epilog=UNCERTAINTY,
    examples=(
        "jndcodec bulk encode photos/ --out small/",
        "jndcodec bulk encode s3://photos/ --out s3://small/ --ray auto --concurrency 64 --resume",
    ),
    sections={
        **SECTIONS,
        "How good, or how small (one of)": ("jnd", "quality", "bpp", "size"),
        "Model and effort": ("model", "weights", "effort", "estimate_jnd"),
        "What goes in": ("lossless", "strip", "keep_hidden", "verify", "limit"),
    },
)
@bulk_options
@encoder_options
@click.option("--estimate-jnd", is_flag=True, help="Decode each file, and note its distance from the original.")
def encode(weights: Path | None, model: str | None, estimate_jnd: bool, **options: Any) -> None:
    """Encode all pictures in SRC. a.png becomes a.png.jlc; --jnd and the like are those of `jndcodec encode`."""
    job_options, rest = _split(options)
    check_encoder_options(model, weights, rest)
    from jndcodec.installed import find_by_name
    from jndcodec.weights import read_info

    file = read_info(weights).path if weights else find_by_name(model).path  # an error here, not in every worker
    stage = {**rest, "weights": str(file.resolve()), "estimate_jnd": estimate_jnd}
    _run(job_options, stage, encode=True, suffixes=PICTURE_SUFFIXES, rename=encoded_name)


@bulk.command(
    cls=Command,
    short_help="Decode .jlc files.",
    examples=("jndcodec bulk decode small/ --out back/ --format webp",),
    sections={**SECTIONS, "Model": ("weights",), "Pictures": ("suffix", "limit")},
)
@bulk_options
@weights_option
@click.option("--format", "suffix", default="png", show_default=True, help="png, webp, tif, ...")
def decode(weights: Path | None, suffix: str, **options: Any) -> None:
    """Decode all .jlc files in SRC. a.png.jlc becomes a.png.png, or whatever --format says."""
    job_options, rest = _split(options)
    from jndcodec.images.saving import format_for

    ending = "." + suffix.lstrip(".")
    format_for(ending)  # an error here, not in every worker
    stage = {**rest, "weights": str(weights.resolve()) if weights else None, "suffix": ending}
    rename = functools.partial(decoded_name, suffix=ending)
    _run(job_options, stage, encode=False, suffixes=JLC_SUFFIXES, rename=rename)


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the job, and those of its stage."""
    names = ("source", "target", "ray", "concurrency", "gpus", "column", "key", "resume", "force")
    limit = options.pop("limit")
    job = {name: options.pop(name) for name in names} | {"threads": options["threads"]}
    return job, options | limit


def _run(
    job: dict[str, Any], stage: dict[str, Any], encode: bool, suffixes: frozenset[str], rename: Callable[[str], str]
) -> None:
    for package in ("ray", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            raise DependencyError(f"{package} is missing: pip install 'jndcodec[ray]'")
    first_engine(stage["engine"], stage["device"], stage["precision"])  # an error here, not in every worker
    from jndcodec.bulk.engine import Means, run
    from jndcodec.bulk.job import Job

    work = Job(job["source"], job["target"], encode, suffixes, rename, stage, job["column"], job["key"])
    means = Means(job["ray"], job["concurrency"], job["threads"], job["gpus"])
    with stoppable():
        line = Line()
        manifest = run(work, means, resume=job["resume"], force=job["force"], watch=line)
    line.end()
    codes = manifest["exit_code"].drop_null().to_pylist()
    if codes:
        click.echo(f"jndcodec: {len(codes)} failed: see `error` in {job['target']}/_manifest.parquet", err=True)
        sys.exit(codes[0])


class Line:
    """How far a job is, in one line: overwritten on a terminal, now and then elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = time.monotonic()
        self._progress: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self._progress = progress
        if self._terminal:
            click.echo(f"\r\x1b[K{describe(progress)}", nl=False, err=True)
        elif time.monotonic() - self._last > QUIET:
            click.echo(describe(progress), err=True)
            self._last = time.monotonic()

    def end(self) -> None:
        """The last one stays."""
        if self._progress is None:
            click.echo("nothing was left to do", err=True)
        else:
            click.echo(("\r\x1b[K" if self._terminal else "") + describe(self._progress), err=True)


def describe(progress: Progress) -> str:
    """pictures, pictures/s, MB/s, saved bytes, failures, ETA."""
    seconds = max(progress.seconds, 1e-9)
    saved = progress.bytes_in - progress.bytes_out
    parts = [
        f"{progress.pictures} pictures",
        f"{progress.pictures / seconds:.1f}/s",
        f"{progress.bytes_in / seconds / 1e6:.2f} MB/s",
        f"saved {kilobytes(saved)}" if saved >= 0 else f"grown by {kilobytes(-saved)}",
    ]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.kept:
        parts.append(f"{progress.kept} done before")
    if left := progress.seconds_left:
        minutes, rest = divmod(round(left), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{rest:02} left")
    return ", ".join(parts)
