"""What README says works where CompressAI has no wheel, and what the rest says there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import write_png

HIDDEN = """
import json, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "compressai":
            raise ModuleNotFoundError("no compressai here", name=name)
sys.meta_path.insert(0, Hidden())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "compressai" else find(name, package)
from click.testing import CliRunner
from jndcodec.cli import cli
from jndcodec.errors import JndcodecError
results = {}
for line in json.loads(sys.argv[1]):
    result = CliRunner().invoke(cli, line.split())
    error = result.exception
    code = error.exit_code if isinstance(error, JndcodecError) else result.exit_code
    results[line] = [code, str(error) if isinstance(error, JndcodecError) else result.stderr]
print(json.dumps(results))
"""
WORKS = (
    "encode a.png --lossless -o a.jlc",
    "decode a.jlc -o b.png",
    "info a.jlc",
    "models",
    "compare a.png b.png",
)
NEEDS = ("encode a.png --lossy --weights tiny.safetensors -o c.jlc",)


@pytest.fixture(scope="module")
def results(photo, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    folder = tmp_path_factory.mktemp("bare")
    write_png(folder / "a.png", photo(48, 64))
    (folder / "tiny.safetensors").write_bytes(tiny_weights.read_bytes())
    command = [sys.executable, "-c", HIDDEN, json.dumps([*WORKS, *NEEDS])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("line", WORKS)
def test_what_needs_no_coder_works(results: dict[str, list], line: str) -> None:
    assert results[line][0] == 0, results[line]


@pytest.mark.parametrize("line", NEEDS)
def test_the_rest_names_what_is_missing(results: dict[str, list], line: str) -> None:
    code, said = results[line]
    assert code == 11 and "pip install --no-deps compressai" in said
