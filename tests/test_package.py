"""What gets installed: every package, and the weights."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

import jndcodec
from jndcodec.installed import DEFAULT_MODEL, available_models, find_by_name
from jndcodec.weights import load_tensors

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "jndcodec").rglob("__init__.py")}
    assert listed == there | {"jndcodec.pretrained"}


def test_the_default_model_is_installed_and_whole() -> None:
    assert available_models()[0].name == DEFAULT_MODEL
    for info in available_models():
        assert info.path.stat().st_size < 20e6
        assert load_tensors(find_by_name(info.name))


def test_the_package_is_typed() -> None:
    assert (Path(jndcodec.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("name", ["jndcodec/cli", "README.md", "LICENSE", "NOTICE", "docs/FORMAT.md"])
def test_what_the_readme_points_to_is_there(name: str) -> None:
    assert (ROOT / name).exists()
