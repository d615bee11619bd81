"""`jndcodec info` and `jndcodec models`: what they tell, and that they stay light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run
from PIL import Image

import jndcodec
from jndcodec import installed
from jndcodec.container.jlc import Flags, parse
from jndcodec.weights import read_info

HEAVY = ("torch", "compressai", "matplotlib", "rich", "PIL", "numpy")


@pytest.fixture(scope="module")
def file(photo, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("info") / "a.jlc"
    image = Image.fromarray(np.dstack([photo(40, 50), photo(40, 50)[..., :1]]))
    image.info["xmp"] = b"<x/>" * 30
    path.write_bytes(jndcodec.encode(image, weights=tiny_weights, quality=30))
    return path


def test_info_tells_everything_in_the_header(file: Path, tiny_weights: Path) -> None:
    facts = json.loads(run("info", file, "--json").stdout)
    data = file.read_bytes()
    jlc = parse(data)
    assert (facts["width"], facts["height"], facts["grey"], facts["alpha"]) == (50, 40, False, True)
    assert facts["bytes"] == len(data) and facts["bpp"] == pytest.approx(len(data) * 8 / 2000)
    assert facts["quality"] == pytest.approx(30, abs=0.01) and facts["entropy"] == "exact"
    assert facts["model_id"] == jlc.model_id.hex() == read_info(tiny_weights).id
    assert facts["symbols_crc"] == f"{jlc.symbols_crc:08x}" and facts["version"] == 1
    assert set(facts["sections"]) == {"z", "y", "alpha", "xmp"}
    assert sum(facts["sections"].values()) + facts["overhead"] == len(data)
    text = run("info", file).stdout
    for words in (
        "50 x 40, RGB with alpha",
        f"{len(data)} bytes",
        "30.0 of 100",
        "not installed",
        jlc.model_id.hex(),
        "exact",
    ):
        assert words in text


def test_info_names_an_installed_model(file: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "weights_folder", lambda: tiny_weights.parent)
    facts = json.loads(run("info", file, "--json").stdout)
    assert (facts["model"], facts["installed"]) == ("tiny", True)
    assert "tiny, installed" in run("info", file).stdout
    (row,) = [json.loads(line) for line in run("models", "--json").stdout.splitlines()]
    info = read_info(tiny_weights)
    assert (row["name"], row["id"], row["loss"], row["bpp_range"]) == ("tiny", info.id, "none", list(info.bpp_range))
    assert row["parameters"] == info.parameters > 0 and row["kmac_per_px"] == info.kmac_per_px
    low, high = info.bpp_range
    assert f"{low:.2f} ... {high:.2f}" in run("models").stdout and info.id in run("models").stdout


def test_float_entropy_is_said(file: Path, tmp_path: Path) -> None:
    jlc = parse(file.read_bytes())
    jlc.flags |= Flags.FLOAT_ENTROPY | Flags.GREY
    (tmp_path / "f.jlc").write_bytes(jlc.pack())
    facts = json.loads(run("info", tmp_path / "f.jlc", "--json").stdout)
    assert (facts["entropy"], facts["grey"]) == ("float", True)


def test_unknown_optional_sections_are_listed(file: Path, tmp_path: Path) -> None:
    jlc = parse(file.read_bytes())
    jlc.sections[0xF0] = b"later"
    (tmp_path / "f.jlc").write_bytes(jlc.pack())
    assert json.loads(run("info", tmp_path / "f.jlc", "--json").stdout)["sections"]["unknown 0xf0"] == 5


def test_several_files_pipes_and_bad_ones(file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jlc").write_bytes(b"no")
    result = run("info", file, tmp_path / "bad.jlc", tmp_path / "none.jlc", tmp_path, file, "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row.get("exit_code") for row in rows] == [None, 4, 3, 3, None] and result.exit_code == 4
    assert len(result.stderr.splitlines()) == 3
    assert json.loads(run("info", "-", "--json", stdin=file.read_bytes()).stdout)["width"] == 50


def loaded(*arguments: object) -> tuple[set[str], float]:
    """Heavy modules that a run of the command line imports, and its processor time (which other programs don't change
    much, so that the test holds on a busy machine)."""
    program = f"""
import sys
from jndcodec.cli import main
sys.argv[1:] = {[str(a) for a in arguments]!r}
try:
    main()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    before = os.times()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    after = os.times()
    assert done.returncode == 0, done.stderr
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return set(json.loads(done.stderr.splitlines()[-1].replace("'", '"'))), seconds


@pytest.mark.parametrize(
    "arguments", [("info", None), ("models",), ("--help",), ("encode", "--help"), ("decode", "-h")]
)
def test_light_commands_import_nothing_heavy(file: Path, arguments: tuple[str | None, ...]) -> None:
    modules, seconds = loaded(*(file if argument is None else argument for argument in arguments))
    assert modules == set()
    assert seconds < 0.3
