"""The scripts under benchmarks/ know the code that they measure."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from jndcodec.entropy import lookup
from jndcodec.evaluate.results import Curve
from jndcodec.weights import read_info

SCRIPTS = sorted((Path(__file__).parent.parent / "benchmarks").glob("*.py"))


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_imports_and_has_a_command(path: Path) -> None:
    assert callable(load(path).main)


@pytest.mark.parametrize("name", ["scale_network_cost", "unquantised"])
def test_runs_on_any_weights(name: str, tmp_path: Path, photo, tiny_weights: Path) -> None:
    Image.fromarray(photo(64, 128)).save(tmp_path / "photo.png")
    command = load(next(path for path in SCRIPTS if path.stem == name)).main
    result = CliRunner().invoke(command, [str(tmp_path), "--weights", str(tiny_weights)], catch_exceptions=False)
    assert result.exit_code == 0 and len(result.output.splitlines()) >= 6


def test_coding_is_tuned_into_another_file(
    tmp_path: Path, photo, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jndcodec.train.finish.SIDE", 128)
    for seed in range(2):
        Image.fromarray(photo(128, 128, seed)).save(tmp_path / f"{seed}.png")
    command = load(next(path for path in SCRIPTS if path.stem == "tune_coding")).main
    out, before = tmp_path / "tuned.safetensors", tiny_weights.read_bytes()
    arguments = [str(tiny_weights), str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and tiny_weights.read_bytes() == before
    tuned = read_info(out)
    assert tuned.calibration == read_info(tiny_weights).calibration
    assert tuned.id != read_info(tiny_weights).id and tuned.id in result.output


def test_every_stage_of_the_breakdown_is_where_it_says() -> None:
    for owner, name in load(next(path for path in SCRIPTS if path.stem == "breakdown")).STAGES:
        assert name in owner.__dict__


def test_the_model_card_shows_first_what_a_model_was_not_trained_on() -> None:
    card = load(next(path for path in SCRIPTS if path.stem == "model_card"))
    curve = Curve("jlc-jnd", "jlc-jnd", [1.0], {"psnr": [30.0], "ssimulacra2": [80.0], "butteraugli": [1.2]})
    assert [name for name, _ in card.by_honesty(curve)] == ["butteraugli", "psnr", "ssimulacra2"]
    assert [label[-1] for _, label in card.by_honesty(curve)] == [")", "*", "*"]
    assert not any(label.endswith("*") for _, label in card.by_honesty(replace(curve, name="mine")))


def test_a_training_step_keeps_to_its_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU waits for is launches: docs/BENCHMARKS.md, "On CUDA"."""
    monkeypatch.setattr(lookup, "PARALLEL", set(lookup.PARALLEL))
    script = load(next(path for path in SCRIPTS if path.stem == "step_cost"))
    costs = script.step_costs("", "mse", 2, 64)
    of = {part: costs.total(part)[0] for part in ("forward", "backward", "optimiser")}
    assert 0 < of["forward"] + of["backward"] <= 900 and 0 < of["optimiser"] <= 250
    assert not any(name in script.COLLIDING for _, name in costs.operations)
