"""docs/CLI.md and the man page hold the help of every command and every exit code, as they are; the shell completes.

JNDCODEC_WRITE_DOCS=1 python -m pytest tests/test_cli_docs.py     writes them anew
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from jndcodec import errors
from jndcodec.cli import COMMANDS, cli
from jndcodec.errors import JndcodecError

DOCUMENT = Path(__file__).parent.parent / "docs" / "CLI.md"
MAN_PAGE = DOCUMENT.with_name("jndcodec.1")
HEAD = """# Command line

Written by `tests/test_cli_docs.py` from the program itself; change it there.

Summaries, notes and errors go to standard error. Standard output carries data (`-o -`) or JSON (`--json`: an object per
file, a line each; a file that failed has the keys `input`, `error` and `exit_code`).

"""


def help_of(name: str | None, child: str | None = None) -> str:
    """child: a command of the group `name`."""
    settings = {"terminal_width": 100, "max_content_width": 100, "help_option_names": ["-h", "--help"]}
    parent = click.Context(cli, info_name="jndcodec", **settings)
    if name is None:
        return cli.get_help(parent)
    command = cli.get_command(parent, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=parent, **settings)
    if child is None:
        return command.get_help(context)
    assert isinstance(command, click.Group)
    return command.commands[child].get_help(
        click.Context(command.commands[child], info_name=child, parent=context, **settings)
    )


def names() -> list[tuple[str | None, str | None]]:
    """(None, None) for the program, then every command, and after a group its own."""
    found: list[tuple[str | None, str | None]] = [(None, None)]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        found += [(name, None), *((name, child) for child in getattr(command, "commands", ()))]
    return found


def exit_codes() -> dict[int, str]:
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
    return dict(sorted(rows.items()))


def document() -> str:
    codes = "\n".join(f"| {code} | {text} |" for code, text in exit_codes().items())
    table = f"| code | meaning |\n|---|---|\n{codes}"
    parts = [HEAD, f"## Exit codes\n\n{table}\n\nOf several files: the code of the first that failed.\n"]
    for name, child in names():
        title = " ".join(["jndcodec", *filter(None, (name, child))])
        parts.append(f"\n## {title}\n\n```text\n{help_of(name, child)}\n```\n")
    return "".join(parts)


def man_page() -> str:
    """In the macros of man(7): the helps as they stand, between .nf and .fi."""

    def verbatim(text: str) -> str:
        escaped = text.replace("\\", "\\e").replace("-", "\\-")
        lines = ("\\&" + line if line.startswith((".", "'")) else line for line in escaped.splitlines())
        return ".nf\n" + "\n".join(lines) + "\n.fi\n"

    parts = ['.\\" Written by tests/test_cli_docs.py\n.TH JNDCODEC 1\n.SH NAME\njndcodec \\- a learned image codec\n']
    parts.append(".SH SYNOPSIS\n.B jndcodec\nCOMMAND [OPTIONS] ...\n.SH DESCRIPTION\n" + verbatim(help_of(None)))
    parts.append(".SH COMMANDS\n")
    parts += [f'.SS "jndcodec {name}"\n{verbatim(help_of(name))}' for name in COMMANDS]
    codes = "\n".join(f"{code:4}  {text.replace('`', '')}" for code, text in exit_codes().items())
    parts.append('.SH "EXIT STATUS"\n' + verbatim(codes))
    return "".join(parts)


@pytest.mark.parametrize(("path", "make"), [(DOCUMENT, document), (MAN_PAGE, man_page)])
def test_the_document_shows_the_help_of_every_command(path: Path, make: Callable[[], str]) -> None:
    text = make()
    if os.environ.get("JNDCODEC_WRITE_DOCS"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, (
        "run: JNDCODEC_WRITE_DOCS=1 python -m pytest tests/test_cli_docs.py"
    )


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff")
def test_the_man_page_has_no_mistakes() -> None:
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-K", "utf8", MAN_PAGE], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr and "--lossless" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes(shell: str) -> None:
    words = {"COMP_WORDS": "jndcodec encode --loss", "COMP_CWORD": "--loss" if shell == "fish" else "2"}
    environment = {**os.environ, "_JNDCODEC_COMPLETE": f"{shell}_complete", **words}
    program = "import sys; sys.argv = ['jndcodec']; from jndcodec.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "--lossless" in done.stdout and "--size" not in done.stdout
