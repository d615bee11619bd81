"""One training step for each loss, metric and model: finite, and it moves the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from train_tools import features, parameters, settings, write_data

from jndcodec.errors import InputError, ModelError
from jndcodec.train.finish import export_run
from jndcodec.train.loop import Trainer
from jndcodec.train.recipes import RECIPES

METRICS = ("mse", "ms-ssim", "cvvdp", "cvvdp:0.8,ms-ssim:0.1,mse:0.1")
LOSSES = ("rd", "pwl", "iwl", "fwl")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, photo: Callable[..., np.ndarray]) -> Path:
    return write_data(tmp_path_factory.mktemp("train"), photo)


@pytest.fixture(autouse=True)
def some_features(monkeypatch: pytest.MonkeyPatch) -> None:
    network = features()
    monkeypatch.setattr("jndcodec.metrics.features.load_features", lambda *_, **__: network)


def one_step(trainer: Trainer) -> dict[str, float]:
    before = parameters(trainer)
    trainer._train_step(0.5)
    sums = trainer.step.take_sums()
    assert sums["kept"] == 1 and np.isfinite(sums["loss"]) and sums["bpp"] > 0
    moved = [name for name, value in parameters(trainer).items() if not torch.equal(value, before[name])]
    assert any("g_a" in name for name in moved) and any("g_s" in name for name in moved)
    return sums


@pytest.mark.parametrize("variant", ["paper", "balanced"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("loss", LOSSES)
def test_native(data: Path, tmp_path: Path, loss: str, metric: str, variant: str) -> None:
    one_step(Trainer(settings(data, loss=loss, metric=metric, variant=variant, batch_size=2), tmp_path))


def test_ssimulacra2_mixed_on_patches_that_it_can_measure(tmp_path: Path, photo: Callable[..., np.ndarray]) -> None:
    for seed in range(2):
        Image.fromarray(photo(256, 256, seed)).save(tmp_path / f"{seed}.png")
    mix = {"metric": "ssimulacra2:0.5,cvvdp:0.35,ms-ssim:0.1,mse:0.05", "batch_size": 1}
    one_step(Trainer(settings(tmp_path, patch_size=256, **mix), tmp_path / "run"))
    with pytest.raises(InputError, match="patches of 192 pixels: train on 256"):
        settings(tmp_path, stages="1x256,1x192@0.5", **mix)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_papers_model(data: Path, tmp_path: Path, loss: str, metric: str) -> None:
    changes = {"model": "cheng2020-anchor", "config": "", "batch_size": 1, "variant": "paper"}
    one_step(Trainer(settings(data, loss=loss, metric=metric, **changes), tmp_path))


@pytest.mark.parametrize("model", ["bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "mbt2018-mean-vbr"])
def test_other_zoo_models(data: Path, tmp_path: Path, model: str) -> None:
    one_step(Trainer(settings(data, model=model, config="", batch_size=1, quality=1), tmp_path))


def test_the_papers_recipe(data: Path, tmp_path: Path) -> None:
    """Adam 1e-4 on the network, 1e-3 on the quantiles, clip 1.0, plateau, 256² crops: then exported for CompressAI."""
    recipe = RECIPES["paper"] | {"patch_size": 64, "batch_size": 1}
    assert RECIPES["paper"]["patch_size"] == 256
    changes = {"model": "cheng2020-anchor", "config": "", "quality": 3, "loss": "fwl", "validate_pictures": 1}
    trainer = Trainer(settings(data, **(changes | recipe)), tmp_path)
    rates = [group["lr"] for optimizer in trainer.step.optimizers for group in optimizer.param_groups]
    assert rates == [1e-4, 1e-3] and trainer.settings.schedule == "plateau" and trainer.settings.clip == 1.0
    assert trainer.objective.weight == 0.9
    before = parameters(trainer)["net.entropy_bottleneck.quantiles"]
    one_step(trainer)
    assert not torch.equal(before, parameters(trainer)["net.entropy_bottleneck.quantiles"])
    assert trainer._validate()
    saved = torch.load(export_run(trainer, "paper", "train"), weights_only=True)
    assert saved["architecture"] == "cheng2020-anchor" and saved["quality"] == 3
    from compressai.zoo import image_models

    net = image_models["cheng2020-anchor"](quality=3, pretrained=False)
    net.load_state_dict(saved["state_dict"])
    assert net.entropy_bottleneck._quantized_cdf.numel() > 0


def test_zoo_errors(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = {"model": "cheng2020-anchor", "config": ""}
    with pytest.raises(InputError, match="quality 8"):
        Trainer(settings(data, quality=8, **zoo), tmp_path)
    with pytest.raises(InputError, match="float32"):
        Trainer(settings(data, precision="bf16", **zoo), tmp_path)

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("compressai.zoo.image.load_state_dict_from_url", no_network)
    with pytest.raises(ModelError, match="without --pretrained|leave out --pretrained"):
        Trainer(settings(data, pretrained=True, **zoo | {"precision": "float32"}), tmp_path)


def test_precision_of_the_native_model(data: Path, tmp_path: Path) -> None:
    """bf16 trains too, and its first loss is near float32's."""
    losses = [
        one_step(Trainer(settings(data, precision=precision), tmp_path))["loss"] for precision in ("float32", "bf16")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.05) and losses[1] != losses[0]
