"""`jndcodec web`: the page that decodes in a browser, for any server."""

from __future__ import annotations

from pathlib import Path

import click

from jndcodec.cli.options import runtime_option
from jndcodec.cli.report import kilobytes
from jndcodec.cli.screen import Command
from jndcodec.installed import available_models, find_by_name
from jndcodec.weights import read_info


@click.command(
    cls=Command,
    short_help="Write a page that decodes .jlc files in a browser.",
    examples=("jndcodec web --out site/", "jndcodec web --out site/ --model jlc-jnd --force"),
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write.")
@runtime_option
@click.option(
    "--model",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this one; may be repeated.  [default: all installed]",
)
@click.option(
    "--weights", type=click.Path(path_type=Path), multiple=True, metavar="FILE", help="A weights file to add."
)
@click.option("-f", "--force", is_flag=True, help="Replace the page that is in the folder.")
def web(out: Path, runtime: Path | None, names: tuple[str, ...], weights: tuple[Path, ...], force: bool) -> None:
    """Write a static page that decodes .jlc files in a browser, to be put on any web server.

    It shows files that are dropped on it; with jlc-image.js other pages show them as <jlc-image src="photo.jlc">.
    Nothing is fetched: ONNX Runtime Web, which runs the networks, is given by --runtime. docs/WEB.md has the rest.
    """
    from jndcodec.output import check_folder, write_folder
    from jndcodec.web.site import MANIFEST, site_files

    check_folder(out, force, mark=MANIFEST)
    models = [find_by_name(name) for name in names] or ([] if weights else available_models())
    site = site_files(runtime, models + [read_info(path) for path in weights])
    write_folder(out, site, force, mark=MANIFEST)
    click.echo(f"{out}: {len(site)} files, {kilobytes(sum(map(len, site.values())))}", err=True)
