"""Help screens: two examples on each that the program would take, options in sections; senseless lines exit 2."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from cli_tools import run
from test_cli_docs import help_of

from jndcodec.cli import COMMANDS, cli
from jndcodec.cli.screen import Command, Group
from jndcodec.errors import JndcodecError


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_every_screen_has_two_examples_that_are_taken(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("photo.png", "photo.png.jlc", "photo.avif"):
        Path(path).touch()
    Path("photos").mkdir()
    block = re.search(r"\nExamples:\n((?:  jndcodec .*\n)+)", help_of(name))
    assert block
    lines = block[1].splitlines()
    assert len(lines) >= 2
    for line in lines:
        _, called, *arguments = shlex.split(line)
        command = cli.get_command(click.Context(cli), called)
        assert command is not None and called == (name or called)
        parent = click.Context(cli, help_option_names=["-h", "--help"])
        command.make_context(called, arguments, parent)  # parses all of it; runs nothing


@pytest.mark.parametrize("name", COMMANDS)
def test_no_section_is_longer_than_a_glance(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, (Command, Group))
    headings = re.findall(r"^(\S[^\n]*):\n((?:  .*\n|\n)+)", help_of(name) + "\n", re.M)
    for _, text in headings[1:]:
        assert len(re.findall(r"^  -", text, re.M)) <= 12
    known = {param.name for param in command.params}
    if isinstance(command, Command):
        assert {option for options in command.sections.values() for option in options} <= known


@pytest.mark.parametrize(
    "line",
    [
        "train set --out run",
        "train --out run --steps 5",
        "train set --out run --minutes 0",
        "train set --out run --steps 5 --patch-size 100",
        "train set --out run --steps 5 --stages 4by64",
        "train set --out run --steps 5 --metric beauty",
        "train set --out run --steps 5 --lr -1",
        "train set --out run --steps 5 --pretrained",
        "train set --out run --steps 5 --config depth=3",
        "train set --out run --steps 5 --config m=30",
        "train set --out run --steps 5 --lambda high",
        "train set --out run --steps 5 --lambda 0.01:",
        "train set --out run --steps 5 --model mbt2018 --lambda 0.01:1",
        "train --out run --resume --export",
        "prepare set --out made --tile 0",
        "eval set --out report --codecs ''",
        "eval set --out report --codecs gif",
        "eval set --out report --codecs jpeg:high",
        "eval set --out report --codecs jpeg,jpeg:50",
        "eval set --out report --metrics beauty",
        "eval set --out report --codecs jpeg:50 --anchor avif",
        "encode a.png b.png -o -",
        "models --add",
        "compare a.png",
        "fly",
    ],
)
def test_senseless_lines_exit_2(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "set/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(photo(16, 16)).save(name)
    try:
        code = run(*shlex.split(line)).exit_code
    except JndcodecError as error:
        code = error.exit_code
    assert code == 2 and not Path("run").exists() and not Path("made").exists()
