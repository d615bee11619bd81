"""docs/EXTENDING.md, done as it says: a metric and a codec of another package, the model in a training of one's own."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jndcodec.weights import read_info

DOCS = Path(__file__).parent.parent / "docs"
TOML, PACKAGE, TRAINING = re.findall(r"```(?:toml|python)\n(.*?)```", (DOCS / "EXTENDING.md").read_text("utf-8"), re.S)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a Python in which `my_package` of the page is installed, and a package that is broken."""
    packages = tmp_path / "packages"
    announced = re.sub(r'\[project.entry-points."(.*)"\]', r"[\1]", TOML).replace('"', "")
    for name, code, entries in (
        ("my_package", PACKAGE, announced),
        ("broken", "import nothing_of_that_name", "[jndcodec.metrics]\nbad = broken:BAD"),
    ):
        about = packages / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (packages / f"{name}.py").write_text(code)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(entries)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))}


def test_a_metric_and_a_codec_from_outside(tmp_path: Path, photo, environment: dict[str, str]) -> None:
    pytest.importorskip("bjontegaard")
    pytest.importorskip("matplotlib")
    Image.fromarray(photo(64, 80)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "jndcodec", "eval", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    options = ["--codecs", "deflate:3/5", "--metrics", "mae", "--view", "1", "--jobs", "2"]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out/results.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["picture"] == "a"]
    original = photo(64, 80)
    for row, bits in zip(rows, (5, 3), strict=True):
        decoded = (original >> bits << bits) + (1 << bits >> 1)
        assert row["codec"] == "deflate"
        assert float(row["mae"]) == pytest.approx(np.abs(original.astype(int) - decoded).mean(), rel=1e-6)
        assert (tmp_path / "out" / row["file"]).stat().st_size == int(row["bytes"])
    refused = subprocess.run([*command, "--metrics", "bad"], env=environment, capture_output=True, text=True)
    assert refused.returncode == 3 and "broken:BAD cannot be loaded" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_the_model_in_a_training_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(DOCS / "photo.png", "photo.png")
    names: dict[str, object] = {}
    exec(compile(TRAINING, "EXTENDING.md", "exec"), names)
    info = read_info("mine.safetensors")
    assert info.name == "mine" and info.calibration["jnd"]["pictures"] == 1 and names["step"] == 1
