"""`jndcodec eval`: models against other codecs, with a report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import click

from jndcodec.cli.report import say_notes
from jndcodec.cli.screen import Command
from jndcodec.heartbeat import heartbeat
from jndcodec.rate.jnd import UNCERTAINTY, ssimulacra2_from_jnd

CODECS = "jpeg,webp,avif,avif-ssim,jpeg2000"


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


@click.command(
    cls=Command,
    examples=(
        "jndcodec eval photos/ --out report/ --models jlc-jnd --codecs jpeg,avif",
        "jndcodec eval photos/ --out report/ --models old=a.safetensors,new=b.safetensors --points 5",
    ),
    sections={
        "What is measured": ("models", "codecs", "points", "metrics", "anchor"),
        "The report": ("folder", "viewed", "rates"),
        "How": ("jobs", "device", "precision"),
    },
    short_help="Measure models against other codecs and write a report.",
    epilog=f"{UNCERTAINTY} One JND is SSIMULACRA2 {ssimulacra2_from_jnd(1, False):g} for classic codecs and "
    f"{ssimulacra2_from_jnd(1):g} for learned ones.",
)
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="IMAGES...")
@click.option("--out", "folder", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder for the results. A run that was broken off goes on from there; nothing is measured "
              "twice.")  # fmt: skip
@click.option("--models", callback=_names, metavar="M,...", help="Models by name, weights files, CompressAI "
              "checkpoints, or folders of them (a rate each). A=FILE calls it A, M@5 encodes with effort "
              "5.")  # fmt: skip
@click.option("--codecs", callback=_names, default=CODECS, show_default=True, metavar="C,...",
              help="Of jpeg, webp, avif, avif-ssim, jxl, jpeg2000; '' for none. avif:50/70/90 sets the settings, "
              "for models too (their quality, 0 to 100).")  # fmt: skip
@click.option("--points", type=click.IntRange(2), help="At most so many settings per codec.  [default: 9 or 10]")
@click.option("--metrics", callback=_names, metavar="N,...", help="Of ssimulacra2, psnr, ms_ssim, cvvdp, vmaf_neg, "
              "butteraugli, lpips, dists.  [default: all that are installed]")  # fmt: skip
@click.option("--anchor", metavar="C", help="Codec that BD-rates are against; on Kodak also "
              "a published one, such as mbt2018-mean.  [default: avif, else jpeg]")  # fmt: skip
@click.option("--view", "viewed", type=click.IntRange(0), default=2, show_default=True,
              help="Pictures in the report's viewer, from the first.")  # fmt: skip
@click.option("--rates", type=click.IntRange(1), default=5, show_default=True, help="Rates per codec in the viewer.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count, help="Processes.  [default: all cores]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
def eval(
    images: tuple[Path, ...], folder: Path, models: list[str] | None, codecs: list[str], points: int | None,
    metrics: list[str] | None, anchor: str | None, viewed: int, rates: int, jobs: int, device: str, precision: str,
) -> None:  # fmt: skip
    """Measure models against other codecs on IMAGES (files or folders) with real files and real decodes.

    Writes results.csv, results.json, plots/ (SVG and PNG) and report.html, a page that needs no network and lets you
    look at the pictures, into the folder of --out.
    """
    from jndcodec.errors import ArgumentError, DependencyError
    from jndcodec.evaluate.codecs import check_unique, parse_coder
    from jndcodec.evaluate.extensions import named_coder
    from jndcodec.evaluate.metrics import choose
    from jndcodec.evaluate.models import model_coder
    from jndcodec.evaluate.outputs import references, write_outputs
    from jndcodec.evaluate.runner import evaluate, find_sources
    from jndcodec.evaluate.table import print_table

    for package in ("bjontegaard", "matplotlib"):  # before hours of work that would need them at its end
        if not find_spec(package):
            raise DependencyError(f"{package} is missing: pip install jndcodec[eval]")
    coders = [parse_coder(spec, lambda name: model_coder(name, device, precision), points) for spec in models or []]
    coders += [parse_coder(spec, named_coder, points) for spec in codecs]
    if not coders:
        raise ArgumentError("nothing to measure: name --models or --codecs")
    check_unique(coders)
    chosen, skipped = choose(metrics)
    for name, needs in skipped.items():
        click.echo(f"not measured: {name} (needs {needs})", err=True)
    sources = find_sources(images)
    known = [coder.name for coder in coders] + [curve.name for curve in references(sources)]
    if anchor and anchor not in known:
        raise ArgumentError(f"--anchor {anchor} is not among the curves here: {', '.join(known)}")
    for source in sources:
        say_notes(source.path, source.notes)
    names = [metric.name for metric in chosen]
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each process, which inherits it
    with _progress() as advance:
        rows = evaluate(sources, coders, names, folder, jobs, advance("measuring"))
        tables = write_outputs(
            folder, sources, coders, rows, names, skipped, anchor, viewed, rates, jobs, advance("writing the report")
        )
    for table in tables:
        print_table(table)
    click.echo(f"{folder / 'report.html'}")


@contextmanager
def _progress() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """A bar on stderr where that is a terminal, a line every half minute elsewhere; what it gives makes the callback
    (done, total) of one named stage."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    said = [""]
    console = Console(stderr=True)
    with (
        heartbeat(lambda: said[0]),
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):

        def stage(name: str) -> Callable[[int, int], None]:
            task, said[0] = bar.add_task(name, total=None), name

            def update(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)
                said[0] = f"{name}: {done} of {total}"

            return update

        yield stage
