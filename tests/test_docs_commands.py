"""Every command of every page is one that its program takes: parsed as the program would, and not run."""

from __future__ import annotations

import ast
import configparser
import re
import shlex
from pathlib import Path

import click
import pytest
from test_benchmarks import load

from jndcodec.cli import COMMANDS, cli

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "weights/MODEL_CARD.md",
]
OTHERS = {"cat", "cd", "eval", "export", "man", "mypy", "lint-imports", "npm", "ruff", "ssh"}
RECIPES = set(re.findall(r"^(\w+)[^:\n]*:$", (ROOT / "justfile").read_text(encoding="utf-8"), re.M))
EXTRAS = configparser.ConfigParser()
EXTRAS.read(ROOT / "setup.cfg")


def shell_lines(page: Path) -> list[str]:
    """The commands in a page's indented blocks and ```sh fences, one program each, without comments."""
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.S)
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    blocks = re.findall(r"(?:(?<=\n\n)|\A)((?:    .*\n)+)", text)
    found = []
    for line in "".join([*fences, *blocks]).replace("\\\n", " ").splitlines():
        line = re.sub(r"\s\[--[^]]*\]", "", line.strip())  # an option that may be left out
        simple = re.split(r" (?:&&|\|) ", re.sub(r"\s+#.*", "", line))
        found += [part.strip() for part in simple if part.strip()]
    return [line for line in found if not re.search(r"[→─│]|^[\w-]+: ", line)]  # drawings, HTTP headers


LINES = [pytest.param(line, id=f"{page.name}: {line[:60]}") for page in PAGES for line in shell_lines(page)]


@pytest.fixture(autouse=True)
def all_files_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))


def parse(command: click.Command, name: str, arguments: list[str]) -> None:
    """As the program would, down to the last command of a group; runs nothing."""
    parent = click.Context(cli, help_option_names=["-h", "--help"])
    if isinstance(command, click.Group) and arguments and arguments[0] in command.list_commands(parent):
        child = command.get_command(parent, arguments[0])
        assert child is not None
        return parse(child, arguments[0], arguments[1:])
    command.make_context(name, arguments, parent)


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_a_page_is_taken(line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "jndcodec":
        assert not arguments or arguments[0] in COMMANDS
        parse(cli, program, arguments)
    elif program == "python" and arguments[0].startswith("benchmarks/"):
        parse(load(ROOT / arguments[0]).main, arguments[0], arguments[1:])
    elif program == "just":
        assert not arguments or arguments[0] in RECIPES
    elif program == "pip":
        assert arguments[0] == "install"
        for extras in re.findall(r"\[([\w,]+)\]", line):
            assert set(extras.split(",")) <= set(EXTRAS["options.extras_require"])
    elif program in ("pytest", "python"):
        assert all((ROOT / word).exists() for word in arguments if word.endswith(".py"))
    else:
        assert program in OTHERS


def test_ci_runs_every_recipe_but_those_that_pytest_is() -> None:
    (recipes,) = re.findall(r"&& just ([\w ]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.M)
    assert set(recipes.split()) == RECIPES - {"_list", "test", "docs"}


def test_pages_have_commands() -> None:
    """What finds them finds them: the README's first, one in a fence, one on two lines."""
    found = [line.values[0] for line in LINES]
    assert "jndcodec encode docs/photo.png -o photo.jlc" in found
    assert "jndcodec compare photo.png photo.jlc" in found
    assert any(line.startswith("jndcodec eval kodak/") and "--metrics psnr" in line for line in found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_a_page_is_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        ast.parse(block)


def test_the_index_has_every_page() -> None:
    linked = set(re.findall(r"\]\((\w+\.md)\)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8")))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


LINE = 130  # characters that a line of these pages has at most, about


@pytest.mark.parametrize("page", PAGES[:-1], ids=lambda page: page.name)
def test_sentences_are_shorter_than_two_lines(page: Path) -> None:
    """Prose alone: no code, tables, headings or pictures. The model card's method of reporting needs longer ones."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    prose = "\n".join(line for line in text.split("\n") if not line.startswith(("|", "    ", "#", "!", " |")))
    parts = re.split(r"\n\s*\n|\n\s*- |\n\d+\. ", prose)
    sentences = [s for part in parts for s in re.split(r"(?<=[.!?:;])\s+", " ".join(part.split()))]
    assert not [s for s in sentences if len(s) > 2 * LINE]
