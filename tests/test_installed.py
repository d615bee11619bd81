"""Weights of one's own: added once, then found by name and by the id in a file, everywhere."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from cli_tools import run, tree, write_png
from PIL import Image

import jndcodec
import jndcodec.pillow_plugin
from jndcodec import installed
from jndcodec.errors import ModelError
from jndcodec.installed import add_model, available_models, find_by_name
from jndcodec.weights import read_info


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, empty so far."""
    monkeypatch.setattr(installed, "user_folder", lambda: tmp_path / "own")
    return tmp_path / "own"


def test_an_added_model_is_found_everywhere(own: Path, tmp_path: Path, photo, tiny_weights: Path) -> None:
    source = Path(shutil.copy(tiny_weights, tmp_path / "model.safetensors"))
    picture = write_png(tmp_path / "a.png", photo(40, 48))
    result = run("models", "--add", source)
    info = read_info(source)
    assert (result.exit_code, tree(own)) == (0, [f"{info.id}.safetensors"]) and "tiny" in result.stderr
    assert json.loads(run("models", "--add", source, "--json").stdout)["id"] == info.id
    source.unlink()
    names = [json.loads(line)["name"] for line in run("models", "--json").stdout.splitlines()]
    assert names[0] == installed.DEFAULT_MODEL and "tiny" in names
    assert run("encode", picture, "--model", "tiny", "--effort", 1).exit_code == 0
    assert run("decode", tmp_path / "a.png.jlc", "-o", tmp_path / "b.png").exit_code == 0
    assert "tiny, installed" in run("info", tmp_path / "a.png.jlc").stdout
    with Image.open(tmp_path / "a.png.jlc") as image:
        assert image.convert("RGB").tobytes() == Image.open(tmp_path / "b.png").tobytes()
    data = (tmp_path / "a.png.jlc").read_bytes()
    shutil.rmtree(own)
    with pytest.raises(ModelError, match=f"{info.id}.*models --add"):
        jndcodec.decode(data)


def test_adding_twice_and_adding_a_namesake(own: Path, tmp_path: Path, tiny_weights: Path) -> None:
    first = add_model(tiny_weights)
    before = first.path.stat().st_mtime_ns
    assert add_model(tiny_weights) == first and first.path.stat().st_mtime_ns == before
    assert add_model(find_by_name(None).path).path.parent == installed.weights_folder()
    namesake = retouched(tiny_weights, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="another model is named tiny"):
        add_model(namesake)
    (tmp_path / "cut.safetensors").write_bytes(tiny_weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged"):
        add_model(tmp_path / "cut.safetensors")
    assert len(tree(own)) == 1 and stat.S_IMODE(first.path.stat().st_mode) & 0o400


def retouched(weights: Path, path: Path) -> Path:
    """The same model with one bias changed: another id under the same name."""
    from safetensors.numpy import load_file, save_file

    from jndcodec.weights import METADATA_KEY, model_id

    info, tensors = read_info(weights), load_file(weights)
    name = next(key for key, value in tensors.items() if key.startswith("float.") and value.ndim == 1)
    tensors[name] = tensors[name] + 1
    size = int.from_bytes(weights.read_bytes()[:8], "little")
    about = json.loads(json.loads(weights.read_bytes()[8 : 8 + size])["__metadata__"][METADATA_KEY])
    about["id"] = model_id(info.config, tensors)
    save_file(tensors, path, {METADATA_KEY: json.dumps(about)})
    return path


def test_the_variable_names_folders_and_files(
    own: Path, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    for value in (str(tiny_weights), str(tiny_weights.parent), f"{tmp_path / 'empty'}{os.pathsep}{tiny_weights}"):
        monkeypatch.setenv("JNDCODEC_WEIGHTS", value)
        assert find_by_name("tiny").path == tiny_weights
    monkeypatch.setenv("JNDCODEC_WEIGHTS", str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="JNDCODEC_WEIGHTS names .*gone"):
        available_models()


def test_a_bad_file_in_a_folder_keeps_nobody_from_the_others(own: Path, tiny_weights: Path) -> None:
    own.mkdir()
    (own / "bad.safetensors").write_bytes(b"no weights")
    shutil.copy(tiny_weights, own / "tiny.safetensors")
    result = run("models", "--json")
    assert result.exit_code == 0 and "bad.safetensors: not a weights file" in result.stderr
    assert "tiny" in [json.loads(line)["name"] for line in result.stdout.splitlines()]
