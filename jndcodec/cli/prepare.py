"""`jndcodec prepare`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from jndcodec.cli.screen import Command


@click.command(
    cls=Command,
    short_help="Make a training set from photos.",
    examples=(
        "jndcodec prepare photos/ --out set/",
        "jndcodec prepare camera/ more/ --out set/ --reduce 3 --jnd-level strict",
    ),
)
@click.argument("sources", nargs=-1, required=True, metavar="SRC...", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), metavar="ROOT", help="Folder of the set.")
@click.option("--tile", type=click.IntRange(16), default=512, show_default=True, help="Side of the square tiles.")
@click.option("--whole", is_flag=True, help="Whole pictures in place of tiles.")
@click.option(
    "--tiles-per-photo", type=click.IntRange(1), default=8, show_default=True, help="At most so many from one photo."
)
@click.option(
    "--reduce",
    type=click.FloatRange(1, 16),
    default=1,
    show_default=True,
    help="Make photos smaller by this first; 2 to 4 removes what JPEG has done to large ones.",
)
@click.option(
    "--jnd-level",
    type=click.Choice(["noticeable", "strict", "flicker"]),
    default="noticeable",
    show_default=True,
    help="Distance of JND1 from Ref: 1, 0.5 or 0.25 JND.",
)
@click.option(
    "--jnd-codec",
    type=click.Choice(["avif", "jpeg", "webp", "jxl"]),
    default="avif",
    show_default=True,
    help="What JND1 pictures are made with.",
)
@click.option("--no-jnd", is_flag=True, help="Ref only: enough for --loss rd, and much faster.")
@click.option("--jobs", type=click.IntRange(1), help="Worker processes.  [default: one a core]")
def prepare(
    sources: tuple[Path, ...],
    out: Path,
    tile: int,
    whole: bool,
    tiles_per_photo: int,
    reduce: float,
    jnd_level: str,
    jnd_codec: str,
    no_jnd: bool,
    jobs: int | None,
) -> None:
    """Make a training set from photos.

    SRC is a folder with photos, at any depth, or a photo. They become ROOT/train and ROOT/test, each with Ref (the
    photo) and JND1 (its version with the first visible loss, found by a codec and SSIMULACRA2), as PNG with equal
    names. One photo in twenty goes to test, with all its tiles. Copies, unreadable pictures and flat areas are left
    out.

    The same command again goes on where it stopped, and takes in photos that are new. ROOT/manifest.json and .jsonl
    say how each tile was made.
    """
    from jndcodec.cli.progress import Progress
    from jndcodec.heartbeat import heartbeat
    from jndcodec.prepare.build import Recipe, Skipped
    from jndcodec.prepare.build import prepare as build
    from jndcodec.workers import stoppable

    recipe = Recipe(None if whole else tile, tiles_per_photo, reduce, None if no_jnd else jnd_level, jnd_codec)

    def report(skipped: Skipped) -> None:
        click.echo(f"{skipped.path}: skipped: {skipped.reason}", err=True)

    done = [0.0]

    def progress(count: int, total: int) -> None:
        done[0] = count / total
        bar.part(done[0])

    with stoppable(), Progress(1) as bar, heartbeat(lambda: f"{out}: {done[0]:.0%} done"):
        summary = build(
            sources,
            out,
            recipe,
            jobs=jobs or os.cpu_count() or 1,
            report=report,
            progress=progress,
        )
    click.echo(
        f"{out}: {summary.train} pictures to train with and {summary.test} to test with; {summary.added} photos added, "
        f"{summary.known} were there, {len(summary.skipped)} skipped",
        err=True,
    )
    if not summary.test or not summary.train:
        click.echo("There is only one photo: training needs two, one of them to validate with.", err=True)
