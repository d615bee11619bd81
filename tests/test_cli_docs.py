"""docs/CLI.md holds the help of every command and every exit code, as they are.

JNDCODEC_WRITE_DOCS=1 python -m pytest tests/test_cli_docs.py     writes it anew
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from jndcodec import errors
from jndcodec.cli import COMMANDS, cli
from jndcodec.errors import JndcodecError

DOCUMENT = Path(__file__).parent.parent / "docs" / "CLI.md"
HEAD = """# Command line

Written by `tests/test_cli_docs.py` from the program itself; change it there.

Summaries, notes and errors go to standard error. Standard output carries data (`-o -`) or JSON (`--json`: an object per
file, a line each; a file that failed has the keys `input`, `error` and `exit_code`).

"""


def help_of(name: str | None) -> str:
    settings = {"terminal_width": 100, "max_content_width": 100, "help_option_names": ["-h", "--help"]}
    parent = click.Context(cli, info_name="jndcodec", **settings)
    if name is None:
        return cli.get_help(parent)
    command = cli.get_command(parent, name)
    assert command is not None
    return command.get_help(click.Context(command, info_name=name, parent=parent, **settings))


def exit_codes() -> str:
    family = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, JndcodecError)]
    rows = {
        0: "All went well.",
        2: "The command line makes no sense.",
        130: "Interrupted by Ctrl-C.",
        143: "Terminated.",
    }
    rows |= {JndcodecError.exit_code: "Another error of jndcodec, or the program failed."}
    for error in family:
        if error is not JndcodecError:
            rows[error.exit_code] = f"`{error.__name__}`: {' '.join((error.__doc__ or '').split())}"
    lines = [f"| {code} | {text} |" for code, text in sorted(rows.items())]
    return "\n".join(["| code | meaning |", "|---|---|", *lines])


def document() -> str:
    parts = [HEAD, f"## Exit codes\n\n{exit_codes()}\n\nOf several files: the code of the first that failed.\n"]
    for name in (None, *COMMANDS):
        title = f"jndcodec {name}" if name else "jndcodec"
        parts.append(f"\n## {title}\n\n```text\n{help_of(name)}\n```\n")
    return "".join(parts)


def test_the_document_shows_the_help_of_every_command() -> None:
    text = document()
    if os.environ.get("JNDCODEC_WRITE_DOCS"):
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(text, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == text, (
        "run: JNDCODEC_WRITE_DOCS=1 python -m pytest tests/test_cli_docs.py"
    )
