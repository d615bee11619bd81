"""Where torch is not installed: what needs none works, and the rest says what to install."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

# None in sys.modules makes an import fail as if the package were not there.
BLOCKED = "import sys; sys.modules['torch'] = None; from jndcodec.cli import main; sys.argv[0] = 'jndcodec'; main()"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_models_are_listed() -> None:
    done = run("models")
    assert done.returncode == 0 and "jlc-jnd" in done.stdout


def test_training_says_what_to_install(tmp_path: Path) -> None:
    done = run("train", tmp_path, "--out", tmp_path / "run", "--steps", 1)
    assert done.returncode == 11
    assert done.stderr == "jndcodec: this needs torch: pip install torch\n"


def test_pictures_are_coded_and_compared(tmp_path: Path, photo: Callable[..., np.ndarray], tiny_weights: Path) -> None:
    picture, coded, decoded = (tmp_path / name for name in ("a.png", "a.jlc", "b.png"))
    Image.fromarray(photo(80, 100)).save(picture)
    for arguments in (
        ("encode", picture, "-o", coded, "--weights", tiny_weights, "--lossy", "--jnd", 14, "--verify"),
        ("info", coded),
        ("decode", coded, "-o", decoded, "--weights", tiny_weights),
        ("compare", picture, coded, "--weights", tiny_weights),
    ):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
    assert "(onnx)" in run("decode", coded, "-o", decoded, "--weights", tiny_weights, "-f").stderr
    assert Image.open(decoded).size == (100, 80)


def test_an_effort_with_gradients_says_what_to_install(
    tmp_path: Path, photo: Callable[..., np.ndarray], tiny_weights: Path
) -> None:
    Image.fromarray(photo(40, 40)).save(tmp_path / "a.png")
    done = run("encode", tmp_path / "a.png", "--weights", tiny_weights, "--lossy", "-e", 5)
    assert done.returncode == 11 and "this needs torch: pip install torch" in done.stderr
    assert not (tmp_path / "a.png.jlc").exists()


def test_no_torch_in_any_of_the_three(tmp_path: Path, photo: Callable[..., np.ndarray], tiny_weights: Path) -> None:
    """Where it is installed, it is not imported either."""
    picture, coded = tmp_path / "a.png", tmp_path / "a.jlc"
    Image.fromarray(photo(40, 60)).save(picture)
    for arguments in (
        ("encode", picture, "-o", coded, "--lossy"),
        ("encode", picture, "-o", coded, "--lossy", "--jnd", "14", "-f"),
        ("decode", coded, "-o", picture, "-f"),
    ):
        command = [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "jndcodec",
            *map(str, arguments),
            "--weights",
            tiny_weights,
        ]
        done = subprocess.run([*command, "--weights", tiny_weights], capture_output=True, text=True, check=True)
        assert "onnxruntime" in done.stderr and not re.search(r"\| +torch\b", done.stderr)
