"""The scripts under benchmarks/ know the code that they measure."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent.parent / "benchmarks").glob("*.py"))


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_imports_and_has_a_command(path: Path) -> None:
    assert callable(load(path).main)


def test_every_stage_of_the_breakdown_is_where_it_says() -> None:
    for owner, name in load(next(path for path in SCRIPTS if path.stem == "breakdown")).STAGES:
        assert name in owner.__dict__
