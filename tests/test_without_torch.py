"""Where torch is not installed: what needs none works, and the rest says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
