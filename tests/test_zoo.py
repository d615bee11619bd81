"""CompressAI checkpoints behind the codec: recognised, coded, checked, and safe with bytes from strangers."""

from __future__ import annotations

import importlib
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from jndcodec import Codec
from jndcodec.cli.info import read_facts
from jndcodec.container.jlc import Section, parse
from jndcodec.entropy import rans
from jndcodec.entropy.tables import gaussian_tables
from jndcodec.errors import FormatError, JndcodecError, LimitError, ModelError, SymbolError, TargetError
from jndcodec.model import zoo
from jndcodec.model.zoo_coder import guarded

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
ARCHITECTURES = {"bmshj2018-hyperprior": (8, 12), "mbt2018-mean": (8, 12), "cheng2020-anchor": (8,)}


def make_net(name: str) -> torch.nn.Module:
    """A tiny network with random weights whose latents are not all zero."""
    torch.manual_seed(1)
    models = importlib.import_module("compressai.models")
    net = getattr(models, zoo.CLASSES[name])(*ARCHITECTURES[name]).eval()
    last = net.g_a[6]
    last.weight.data *= 30
    return net


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, paths = tmp_path_factory.mktemp("zoo"), {}
    for name in ARCHITECTURES:
        paths[name] = folder / f"{name}.pth.tar"
        torch.save(make_net(name).state_dict(), paths[name])
    return paths


@pytest.fixture(scope="session")
def codecs(checkpoints: dict[str, Path]) -> dict[str, Codec]:
    return {name: Codec(weights=path) for name, path in checkpoints.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_round_trip(name: str, codecs: dict[str, Codec], photo: Callable[..., np.ndarray]) -> None:
    """The guard changes nothing: the streams are CompressAI's, and so is the picture."""
    codec, rgb = codecs[name], photo(100, 150)
    data = codec.encode(Image.fromarray(rgb), verify=True)
    decoded = np.asarray(codec.decode(data))
    facts, jlc = read_facts(data), parse(data)
    assert decoded.shape == rgb.shape
    assert (facts["entropy"], facts["quality"], facts["installed"]) == ("float", None, False)
    assert jlc.model_id == codec.id
    assert np.any(codec.model.coder_y.symbols)
    net = make_net(name)
    net.update(force=True)
    padded = np.pad(rgb, [(0, 28), (0, 42), (0, 0)], mode="edge")
    with torch.inference_mode():
        out = net.compress(torch.from_numpy(padded).permute(2, 0, 1)[None].float().div(255))
        x_hat = net.decompress(out["strings"], out["shape"])["x_hat"]
    assert out["strings"] == [[jlc.sections[Section.Y]], [jlc.sections[Section.Z]]]
    assert np.abs(x_hat.mul(255)[0, :, :100, :150].permute(1, 2, 0).numpy() - decoded).max() < 0.51


def test_wrapped_renamed_and_converted_checkpoints_are_the_same_model(
    checkpoints: dict[str, Path], codecs: dict[str, Codec], tmp_path: Path
) -> None:
    """With and without tables, wrapped, from parallel training, with names old and new, as safetensors: one id."""
    name = "mbt2018-mean"
    state = torch.load(checkpoints[name], weights_only=True)
    updated = make_net(name)
    updated.update(force=True)
    old = {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"}

    def older(key: str) -> str:
        for new, former in old.items():
            key = key.replace(f"entropy_bottleneck.{new}", f"entropy_bottleneck.{former}")
        return key

    variants = {
        "wrapped": {"state_dict": state, "epoch": 3, "record": {"loss": "iwl paper"}},
        "tables": updated.state_dict(),
        "parallel": {f"module.{key}": value for key, value in state.items()},
        "older": {older(key): value for key, value in state.items()},
    }
    for label, content in variants.items():
        torch.save(content, tmp_path / f"{label}.pth")
        assert Codec(weights=tmp_path / f"{label}.pth").id == codecs[name].id, label
    torch.save(state, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file({k: v.contiguous() for k, v in state.items() if v.numel()}, tmp_path / "x.safetensors")
    for file in ("legacy.pth", "x.safetensors"):
        assert Codec(weights=tmp_path / file).id == codecs[name].id
    assert Codec(weights=tmp_path / "wrapped.pth").info.loss == "iwl paper"
    assert len({codec.id for codec in codecs.values()}) == 3


@pytest.mark.parametrize("name", ["bmshj2018-factorized", "mbt2018", "cheng2020-attn", "a list", "random bytes", "cut"])
def test_other_files_are_refused(name: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    models = importlib.import_module("compressai.models")
    if name == "a list":
        torch.save([1, 2], path)
    elif name == "random bytes":
        path.write_bytes(b"PK" + os.urandom(1000))
    elif name == "cut":
        path.write_bytes(checkpoints["mbt2018-mean"].read_bytes()[:-500])
    else:
        classes = {"bmshj2018-factorized": "FactorizedPrior", "cheng2020-attn": "Cheng2020Attention"}
        shape = (8,) if name.startswith("cheng") else (8, 12)
        net = getattr(models, classes.get(name, "JointAutoregressiveHierarchicalPriors"))(*shape)
        torch.save(net.state_dict(), path)
    with pytest.raises(ModelError) as caught:
        Codec(weights=path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_pickled_code_runs(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "was here"),)

    torch.save({"state_dict": {"g_a.0.weight": Harmful()}}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful(), protocol=2))
    for file in ("zip.pth", "plain.pth"):
        with pytest.raises(ModelError):
            Codec(weights=tmp_path / file)
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize("damage", ["nan", "quantiles"])
def test_broken_weights_are_an_error(damage: str, tmp_path: Path, photo: Callable[..., np.ndarray]) -> None:
    """Latents that are not finite would keep CompressAI's coder busy forever; huge tables would fill the memory."""
    state = make_net("mbt2018-mean").state_dict()
    if damage == "nan":
        state["g_a.0.bias"][0] = float("nan")
    else:
        state["entropy_bottleneck.quantiles"][0, 0, 2] = 1e9
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(ModelError):
        Codec(weights=tmp_path / "broken.pth").encode(Image.fromarray(photo(64, 64)))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_tables_on_the_other_side_are_named_as_the_cause(
    name: str, checkpoints: dict[str, Path], codecs: dict[str, Codec], photo: Callable[..., np.ndarray]
) -> None:
    """The decoder computes its tables for other scales than the encoder did."""
    data = codecs[name].encode(Image.fromarray(photo(64, 128)))
    elsewhere = Codec(weights=checkpoints[name])
    table = elsewhere.model.net.gaussian_conditional.scale_table
    with torch.inference_mode():
        elsewhere.model.net.gaussian_conditional.update_scale_table((table * 2).tolist(), force=True)
    with pytest.raises(SymbolError, match="in floats.*decode it where it was encoded"):
        elsewhere.decode(data)


def test_one_rate_only(codecs: dict[str, Codec], photo: Callable[..., np.ndarray]) -> None:
    with pytest.raises(TargetError, match="one rate"):
        codecs["mbt2018-mean"].encode(Image.fromarray(photo(64, 64)), quality=50)


def test_huge_headers_are_refused(codecs: dict[str, Codec]) -> None:
    with pytest.raises(LimitError):
        codecs["mbt2018-mean"].model.decompress(bytes(8), bytes(8), 0, 0, (1 << 16, 1 << 16))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_hostile_streams(name: str, codecs: dict[str, Codec], photo: Callable[..., np.ndarray]) -> None:
    """Cut, changed and invented streams end in an error of ours."""
    codec, rng = codecs[name], np.random.default_rng(0)
    coded = codec.model.compress(photo(64, 64), 0)
    for trial in range(40):
        streams = [bytearray(coded.z), bytearray(coded.y)]
        victim = streams[trial % 2]
        if trial % 4 < 2:
            victim[rng.integers(len(victim))] ^= 1 << rng.integers(8)
        elif trial % 8 < 6:
            del victim[rng.integers(len(victim)) :]
        else:
            victim[8:] = b"\xff" * 400
        with pytest.raises(JndcodecError):
            codec.model.decompress(bytes(streams[0]), bytes(streams[1]), coded.symbols_crc ^ 1, 0, (64, 64))


@pytest.mark.parametrize("fill", [0x00, 0x55, 0x7F, 0xFF, None])
@pytest.mark.parametrize("escape", [1, 30000, 65535])
def test_no_read_passes_the_guard(fill: int | None, escape: int) -> None:
    """What stands behind the padding changes no symbol, for tables of which `escape` of 65536 parts are the escape."""
    ans, rng = importlib.import_module("compressai.ans"), np.random.default_rng(escape)
    tables = [[0, 65536 - escape, 65536]], [3], [0]
    for length in (8, 9, 40, 400):
        for count in (1, 50):
            body = rng.bytes(length) if fill is None else bytes([fill]) * length
            stream = struct.pack("<Q", 1 << 62 | int(rng.integers(1 << 62))) + body
            safe = guarded(stream, count)
            first, second = (
                ans.RansDecoder().decode_with_indexes(safe + 64 * end, [0] * count, *tables) for end in (b"\0", b"\xff")
            )
            assert first == second


def test_streams_that_no_encoder_wrote_are_refused() -> None:
    for stream in (b"", bytes(7), bytes(8), b"\xff" * 8):
        with pytest.raises(FormatError):
            guarded(stream, 1)


def test_native_coding_goes_on_beside_a_zoo_model(codecs: dict[str, Codec]) -> None:
    """Both use one extension module, loaded once."""
    symbols, indexes, tables = np.arange(-3, 3), np.full(6, 40, np.uint8), gaussian_tables()
    assert (rans.decode(rans.encode(symbols, indexes, tables), indexes, tables) == symbols).all()


def test_compressai_is_imported_for_zoo_models_alone(tiny_weights: Path) -> None:
    program = "import sys, jndcodec; jndcodec.Codec(weights=sys.argv[1]); sys.exit('compressai' in sys.modules)"
    subprocess.run([sys.executable, "-c", program, tiny_weights], check=True)
