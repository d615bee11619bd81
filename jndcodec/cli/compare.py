"""`jndcodec compare`: how far a decoded picture is from its original."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from jndcodec.cli.options import weights_option
from jndcodec.cli.paths import spare
from jndcodec.cli.report import say_notes
from jndcodec.cli.screen import Command
from jndcodec.rate.jnd import UNCERTAINTY


@click.command(
    cls=Command,
    short_help="Compare a picture with its decoded version.",
    epilog=UNCERTAINTY,
    examples=(
        "jndcodec compare photo.png photo.png.jlc",
        "jndcodec compare photo.png photo.avif --html look.html",
    ),
)
@click.argument("original", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("decoded", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with the flicker viewer.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the page if it exists.")
@click.option("--learned/--classic", "learned", default=None, help="The codec that made it: learned ones are more "
              "visible at the same score.  [default: learned for .jlc, else classic]")  # fmt: skip
@weights_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(
    original: Path, decoded: Path, html: Path | None, force: bool, learned: bool | None, weights: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Compare ORIGINAL with DECODED: a picture, or a coded file (.jlc, .avif, .jxl, ...), which is decoded first.

    Prints the metrics that are installed and the estimated distance in JND with its interval of one standard
    deviation. Alpha is left aside.
    """
    from jndcodec import decode
    from jndcodec.evaluate.comparison import as_page, as_text, read_decoded
    from jndcodec.evaluate.comparison import compare as compare_pictures
    from jndcodec.evaluate.metrics import choose
    from jndcodec.images.loading import load_picture
    from jndcodec.output import check_output, writing

    if html:
        spare(html, [original, decoded])
        check_output(html, force)
    if learned is None:
        learned = decoded.suffix.lower() == ".jlc"
    reference = load_picture(original)
    say_notes(original, reference.notes)
    pixels = read_decoded(decoded, partial(decode, weights=weights))
    result = compare_pictures(reference.seen(), pixels, decoded.name, decoded.stat().st_size, learned, choose(None)[0])
    click.echo(json.dumps(result.as_json()) if as_json else as_text(result))
    if html:
        with writing(html, force) as stream:
            stream.write(as_page(result, original.name).encode())
