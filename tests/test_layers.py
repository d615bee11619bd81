"""The map in docs/DESIGN.md, the contract in pyproject.toml and the modules say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from importlinter.cli import lint_imports_command

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jndcodec"


def rows() -> list[tuple[list[str], list[str]]]:
    """(folders or modules, modules named beside them) of the map, from the top down."""
    text = (ROOT / "docs" / "DESIGN.md").read_text(encoding="utf-8")
    table = re.search(r"\| folder \| modules \|\n\|[-|]+\n((?:\|.*\n)+)", text)
    assert table
    found = []
    for line in table[1].splitlines():
        place, modules = line.strip("| ").split(" | ")
        names = re.findall(r"`(\w+)`", modules)
        found.append((re.findall(r"`(\w+)/?`", place) or names, names if "/" in place else []))
    return found


def contract() -> list[list[str]]:
    """The layers of the contract, from the top down."""
    layers = re.search(r'type = "layers".*?layers = \[(.*?)\]', (ROOT / "pyproject.toml").read_text("utf-8"), re.S)
    assert layers
    return [line.split(" | ") for line in re.findall(r'"(.+)"', layers[1])]


def modules(folder: Path) -> set[str]:
    found = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return found - {"__init__", "__main__"}


def lint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and output of `lint-imports` there."""
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(lint_imports_command, ["--config", "pyproject.toml", "--no-cache"])
    return result.exit_code, result.output


def test_no_import_goes_up_or_round(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = lint(ROOT, monkeypatch)
    assert code == 0 and "2 kept, 0 broken" in output


def test_an_import_that_goes_up_and_a_circle_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract on a package of our layers, in which the container and the command line import each other."""
    text = (ROOT / "pyproject.toml").read_text("utf-8").replace('"jndcodec', '"leaning')
    (tmp_path / "pyproject.toml").write_text(text, "utf-8")
    for name in ("", "__main__", *(name for layer in contract() for name in layer if name != "__main__")):
        path = tmp_path / "leaning" / (f"{name}.py" if name else "__init__.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text({"container": "import leaning.cli\n", "cli": "import leaning.container\n"}.get(name, ""))
    code, output = lint(tmp_path, monkeypatch)
    assert code == 1 and "leaning.container -> leaning.cli" in output and "0 kept, 2 broken" in output


def test_the_map_has_the_layers_of_the_contract_in_their_order() -> None:
    row_of = {name: i for i, (places, _) in enumerate(rows()) for name in places}
    layers = [layer for layer in contract() if layer != ["__main__"]]
    assert set(row_of) == {name for layer in layers for name in layer} == modules(PACKAGE)
    order = [row_of[name] for layer in layers for name in layer]
    assert order == sorted(order)


@pytest.mark.parametrize("places, names", [row for row in rows() if row[1]], ids=lambda value: "-".join(value[:1]))
def test_a_row_that_names_modules_names_all(places: list[str], names: list[str]) -> None:
    assert sorted(names) == sorted(set().union(*(modules(PACKAGE / place) for place in places)))
