"""`jndcodec view`: pictures in the system's viewer, as temporary PNG files, or in the browser, decoded there."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path

import click

from jndcodec.cli.decode import decode
from jndcodec.cli.options import runtime_option, weights_option
from jndcodec.cli.paths import JLC_SUFFIXES, PIPE, encoded_name, plan, read_jlc
from jndcodec.cli.screen import Command
from jndcodec.errors import ModelError, OutputError
from jndcodec.installed import find_by_id
from jndcodec.weights import ModelInfo, read_info


@click.command(
    cls=Command,
    short_help="Show .jlc files.",
    examples=("jndcodec view photo.png.jlc", "jndcodec view --browser small/"),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@runtime_option
@weights_option
@click.option("--browser", is_flag=True, help="Show them in a browser, which decodes them itself.")
@click.pass_context
def view(ctx: click.Context, files: tuple[str, ...], runtime: Path | None, weights: Path | None, browser: bool) -> None:
    """Show .jlc files in the system's viewer, decoded to PNG files in a temporary folder.

    FILE is a .jlc file or a folder; of several the temporary folder is shown. With --browser a page shows them, with
    zoom, header and the bytes of each section; it is served to this machine alone until Ctrl-C.
    """
    if PIPE in files:
        raise click.UsageError("standard input cannot be viewed: name a file.")
    if not browser:
        folder = tempfile.mkdtemp(prefix="jndcodec-")
        options = ["--format", "png", "--output", f"{folder}/", *(["--weights", str(weights)] if weights else [])]
        with decode.make_context("decode", [*options, "--", *files], parent=ctx.parent) as inner:
            decode.invoke(inner)
        _open(Path(folder))
        return
    from jndcodec.web.server import PageServer
    from jndcodec.web.site import site_files

    own = read_info(weights) if weights else None
    served: dict[str, Path] = {}
    models: dict[str, ModelInfo] = {}
    for task in plan(files, None, JLC_SUFFIXES, encoded_name):
        if task.error:
            raise task.error
        if info := _model_of(task.source, own):
            models[info.id] = info
        served[f"files/{len(served)}/{Path(task.source).name}"] = Path(task.source)
    with PageServer(site_files(runtime, models.values()), served) as server:
        click.echo(f"{server.url}\nCtrl-C ends it", err=True)
        webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo(err=True)


def _model_of(source: str, own: ModelInfo | None) -> ModelInfo | None:
    """The model that a file needs, if any. Raises InputError, FormatError, VersionError, ModelError."""
    from jndcodec.container.jlc import parse

    jlc = parse(read_jlc(source))
    if jlc.lossless:
        return None
    info = own if own and own.id == jlc.model_id.hex() else find_by_id(jlc.model_id)
    if info is None:
        raise ModelError(f"{source}: needs the model {jlc.model_id.hex()}, not installed: give its file with --weights")
    return info


def _open(folder: Path) -> None:
    """In the viewer that the system has for it: the picture in the folder, or the folder where there are several."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    shown = files[0] if len(files) == 1 else folder
    try:
        failed = click.launch(str(shown))
    except OSError:
        failed = 1
    if failed:
        raise OutputError(f"{shown}: decoded, but no viewer could be started; open it yourself")
