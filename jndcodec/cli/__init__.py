"""The command line. Each command lives in a module of its own, imported only when it runs."""

from __future__ import annotations

import importlib
import io
import os
import sys

import click

from jndcodec import __version__
from jndcodec.cli.report import say
from jndcodec.cli.screen import Group
from jndcodec.errors import DependencyError, InputError, JndcodecError
from jndcodec.threads import wait_calmly

EXAMPLES = ("jndcodec encode photo.png", "jndcodec decode photo.png.jlc -o copy.png")
# command -> (module with a click command of that name, one line for --help)
COMMANDS = {
    "encode": ("jndcodec.cli.encode", "Encode pictures to .jlc files."),
    "decode": ("jndcodec.cli.decode", "Decode .jlc files to pictures."),
    "bulk": ("jndcodec.cli.bulk", "Encode or decode millions of pictures, on one machine or a Ray cluster."),
    "info": ("jndcodec.cli.info", "Show what is in .jlc files."),
    "view": ("jndcodec.cli.view", "Show .jlc files."),
    "web": ("jndcodec.cli.web", "Write a page that decodes .jlc files in a browser."),
    "models": ("jndcodec.cli.models", "List the models that are installed."),
    "prepare": ("jndcodec.cli.prepare", "Make a training set from photos."),
    "train": ("jndcodec.cli.train", "Train or fine-tune a model."),
    "eval": ("jndcodec.cli.eval", "Measure models against other codecs and write a report."),
    "compare": ("jndcodec.cli.compare", "Compare a picture with its decoded version."),
}


class LazyGroup(Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(importlib.import_module(COMMANDS[name][0]), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, examples=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jndcodec")
def cli() -> None:
    """A learned image codec with its quality in units of just noticeable difference (JND)."""


def main() -> None:
    """Run the command line; an error of ours becomes one line on stderr and its exit code."""
    wait_calmly(os.environ)
    if sys.stderr is None:  # closed: what would be said is for nobody
        sys.stderr = open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a letter that the console lacks is shown as its code
            stream.reconfigure(errors="backslashreplace")
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except JndcodecError as error:
        say(f"jndcodec: {error}")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        click.echo("jndcodec: this needs torch: pip install torch", err=True)
        sys.exit(DependencyError.exit_code)
    except OSError as error:
        if error.errno is None:  # not the system's word
            raise
        say(f"jndcodec: {error.filename or 'a file'}: {error.strerror}")
        sys.exit(InputError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("jndcodec: interrupted", err=True)
        sys.exit(130)
