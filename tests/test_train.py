"""The trainer itself: steps, checkpoints, resuming, bad steps, averaging, validation and export."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from train_tools import TINY, parameters, settings, train, write_data

from jndcodec.effort.tuning import store
from jndcodec.entropy.dead_zone import dead_zones
from jndcodec.entropy.tables import COUNT, gaussian_tables
from jndcodec.errors import ArgumentError, DataError, InputError, ModelError, OutputError
from jndcodec.model.build import load_model
from jndcodec.train import variants
from jndcodec.train.checkpoint import load_checkpoint, save_checkpoint
from jndcodec.train.finish import export_run
from jndcodec.train.loop import LAST, Trainer
from jndcodec.train.native import hold_detail
from jndcodec.train.settings import ANY_BATCH, Settings, Stage, check, parse_stages
from jndcodec.train.state import snapshot
from jndcodec.train.variants import Variant
from jndcodec.weights import read_info


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, photo: Callable[..., np.ndarray]) -> Path:
    return write_data(tmp_path_factory.mktemp("train"), photo)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A short run that went to its end."""
    return train(data, tmp_path_factory.mktemp("run"), steps=6)


def lines(trainer: Trainer, kind: str) -> list[dict]:
    found = [json.loads(line) for line in (trainer.out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def test_a_run_learns(data: Path, tmp_path: Path) -> None:
    trainer = Trainer(settings(data), tmp_path)
    losses = []
    for _ in range(4):
        for _ in range(10):
            trainer._train_step(0.2)
        losses.append(trainer.step.take_sums()["loss"])
    assert losses[-1] < 0.5 * losses[0]


def test_the_klt_start_is_a_good_codec(data: Path, tmp_path: Path) -> None:
    trainer = Trainer(
        settings(data, config="c16=64,m=64,linear=16,detail=32,ce=4,cz=8,d=16,ds=8,h8=8,h16=8,s8=1,s16=1"), tmp_path
    )
    trainer.subject.draw_t = lambda n, rng: np.ones(n, np.float32)
    trainer._train_step(0.0)
    assert trainer.step.take_sums()["psnr"] > 20  # random weights: 9


def test_what_a_run_leaves(finished: Trainer) -> None:
    assert {path.name for path in finished.out.iterdir()} >= {"last.pt", "best.pt", "metrics.jsonl", "samples"}
    (line,) = lines(finished, "train")
    assert line["step"] == 6 and line["skipped"] == 0 and math.isfinite(line["loss"])
    assert line["bpp"] > 0 and line["psnr"] > 5 and line["steps_per_second"] > 0
    (validation,) = lines(finished, "validation")
    assert [p["t"] for p in validation["points"]] == [0.0, 0.25, 0.5, 0.75, 1.0]
    rates = [p["bpp"] for p in validation["points"]]
    assert rates == sorted(rates)
    assert len(list((finished.out / "samples").glob("*.png"))) == 2 * 5


def test_tensorboard_has_the_scalars(finished: Trainer) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(finished.out / "tensorboard"))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert scalars >= {"train/loss", "train/bpp", "train/psnr", "validation/score", "validation/t0.5/bpp"}
    assert events.Scalars("train/loss")[0].step == 6


def test_checkpoints_hold_plain_values_only(finished: Trainer) -> None:
    state = torch.load(finished.out / "last.pt", weights_only=True)
    assert state["step"] == 6 and state["settings"]["loss"] == "rd"
    assert Settings.from_dict(state["settings"]) == finished.settings


@pytest.mark.parametrize(
    "changes", [{"optimizer": "muon"}, {"optimizer": "adam"}, {"loss": "iwl", "metric": "cvvdp:1,mse:0.1"}]
)
def test_resuming_equals_never_stopping(data: Path, tmp_path: Path, changes: dict) -> None:
    whole = train(data, tmp_path / "whole", steps=6, **changes)
    first = Trainer(settings(data, steps=6, **changes), tmp_path / "parts")
    take = first._train_step

    def three_steps_then_a_signal(progress: float) -> None:
        take(progress)
        if first.done == 3:
            first._ask_to_stop(15, None)

    first._train_step = three_steps_then_a_signal
    assert not first.run() and first.done == 3
    second = train(data, tmp_path / "parts", resume=True, steps=6, **changes)
    assert second.done == 6
    for name, value in parameters(whole).items():
        assert torch.equal(value, parameters(second)[name]), name
    for name, value in whole.step.average.state_dict().items():
        assert torch.equal(value, second.step.average.state_dict()[name]), name
    assert torch.equal(torch.load(whole.out / LAST)["random"]["cpu"], torch.load(second.out / LAST)["random"]["cpu"])


def test_same_seed_same_weights(data: Path, tmp_path: Path, finished: Trainer) -> None:
    again = train(data, tmp_path / "same", steps=6)
    other = train(data, tmp_path / "other", steps=6, seed=2)
    for name, value in parameters(finished).items():
        assert torch.equal(value, parameters(again)[name])
    assert any(not torch.equal(v, parameters(other)[n]) for n, v in parameters(finished).items())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9])
def test_a_bad_step_is_left_out_and_counted(data: Path, tmp_path: Path, bad: float) -> None:
    trainer = Trainer(settings(data, steps=100), tmp_path)
    for _ in range(22):
        trainer._train_step(0.5)
    trainer.step.take_sums()
    before, average = parameters(trainer), trainer.step.average.state_dict()
    average = {name: value.clone() for name, value in average.items()}
    batch = trainer._batch(0.5)
    batch["x"] = batch["x"] * bad
    trainer.step(batch, 1.0, 0.5)
    sums = trainer.step.take_sums()
    assert (sums["kept"], sums["left_out"]) == (0, 1)
    for name, value in parameters(trainer).items():
        assert torch.equal(value, before[name])
        assert torch.equal(trainer.step.average.state_dict()[name], average[name])
    trainer._train_step(0.5)
    sums = trainer.step.take_sums()
    assert (sums["kept"], sums["left_out"]) == (1, 0) and math.isfinite(sums["loss"])


def test_the_average_follows_the_weights(data: Path, tmp_path: Path) -> None:
    trainer = Trainer(settings(data, ema=0.9), tmp_path)
    old = {name: p.clone() for name, p in trainer.step.average.named_parameters()}
    trainer.step(trainer._batch(0.1), 1.0, 0.25)
    for name, p in trainer.subject.module.named_parameters():
        torch.testing.assert_close(trainer.step.average.state_dict()[name], old[name].lerp(p.detach(), 0.25))


def test_export_is_ready_for_the_codec(finished: Trainer, tmp_path: Path) -> None:
    path = export_run(finished, "small", "jndcodec train …")
    info = read_info(path)
    assert info.name == "small" and info.loss == "rd, mse" and 0 <= info.t_1jnd <= 1
    assert info.record["steps"] == 6 and info.record["command"] == "jndcodec train …"
    assert info.record["data"] == finished.data.manifest_hash
    assert len(info.calibration["points"]) == 9 and info.calibration["jnd"]["pictures"] > 0
    zones = torch.tensor(info.calibration["dead_zone"])
    torch.testing.assert_close(zones, finished.step.average.dead_zone, atol=1e-4, rtol=0)
    weight = load_model(path).g_a_in.weight
    torch.testing.assert_close(weight, finished.step.average.g_a_in.weight, atol=1e-3, rtol=1e-3)


def test_export_sets_the_steps_of_detail(finished: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    untuned = load_model(export_run(finished, "untuned", "train"))  # no picture is large enough
    monkeypatch.setattr("jndcodec.train.finish.SIDE", 128)
    tuned = load_model(export_run(finished, "tuned", "train"))
    trained = load_checkpoint(finished.out / "best.pt")["ema"]["gain_y.log_gain"]
    m = untuned.config.m
    for model in (untuned, tuned):
        torch.testing.assert_close(model.gain_y.log_gain[:, :m], trained[:, :m])
    detail = [
        sorted(gains[:, m:].sum(0).tolist()) for gains in (untuned.gain_y.log_gain, trained, tuned.gain_y.log_gain)
    ]
    assert detail[0] == pytest.approx(detail[1]) and detail[0] != pytest.approx(detail[2], abs=0.1)
    assert len(read_info(finished.out / "tuned.safetensors").calibration["points"]) == 9


def test_init_from_weights_and_from_a_checkpoint(
    data: Path, finished: Trainer, tiny_weights: Path, tmp_path: Path
) -> None:
    from_file = Trainer(settings(data, init=str(tiny_weights), config=""), tmp_path)
    torch.testing.assert_close(from_file.subject.module.g_s_out.weight, load_model(tiny_weights).g_s_out.weight)
    from_checkpoint = Trainer(settings(data, init=str(finished.out / LAST)), tmp_path)
    ema = load_checkpoint(finished.out / LAST)["ema"]["g_s_out.weight"]
    assert torch.equal(from_checkpoint.subject.module.g_s_out.weight, ema)
    with pytest.raises(ModelError, match="config"):
        Trainer(settings(data, init=str(finished.out / LAST), config=TINY.replace("d=16", "d=32")), tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("metric", ["mse", "cvvdp:1,mse:0.1"])
def test_cuda_steps_in_a_graph(data: Path, tmp_path: Path, metric: str) -> None:
    """The captured step trains as the eager one does, and a bad batch is left out in it too."""
    runs = []
    for captured in (True, False):
        trainer = Trainer(settings(data, device="cuda", metric=metric), tmp_path / str(captured))
        trainer.step.graphs = captured
        for _ in range(30):
            trainer._train_step(0.2)
        assert (trainer.step.graph is not None) == captured
        runs.append(trainer.step.take_sums())
    assert runs[0]["kept"] == runs[1]["kept"] == 30
    assert runs[0]["loss"] == pytest.approx(runs[1]["loss"], rel=0.05)
    bad = trainer._batch(0.5)
    bad["x"] = bad["x"] * float("nan")
    trainer.step(bad, 1.0, 0.5)
    assert trainer.step.take_sums()["left_out"] == 1


def test_stages_change_batch_and_patch(data: Path, tmp_path: Path) -> None:
    made = settings(data, stages="4x64,2x128@0.5")
    assert parse_stages(made) == [Stage(0.0, 4, 64), Stage(0.5, 2, 128)]
    trainer = Trainer(made, tmp_path)
    assert trainer._batch(0.4)["x"].shape == (4, 3, 64, 64)
    assert trainer._batch(0.5)["x"].shape == (2, 3, 128, 128)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OutputError, match="space"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"nothing")
    torch.save({"other": 1}, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt", "missing.pt"):
        with pytest.raises(ModelError, match=name):
            load_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metric": "psnr"}, "unknown metric"),
        ({"metric": "mse:lots"}, "number"),
        ({"patch_size": 100}, "multiple of 64"),
        ({"steps": None}, "--steps"),
        ({"steps": 0}, "positive"),
        ({"roots": ()}, "no training data"),
        ({"pretrained": True}, "--init"),
        ({"decoder_only": True}, "--init"),
        ({"hold_detail": True}, "--init"),
        ({"stages": "8x256@0.5"}, "begin at 0"),
    ],
)
def test_settings_that_cannot_work(data: Path, changes: dict, says: str) -> None:
    with pytest.raises((InputError, DataError), match=says):
        check(settings(data, **changes))


def test_weights_keep_their_config(data: Path, tmp_path: Path, finished: Trainer) -> None:
    weights = export_run(finished, "small", "train")
    with pytest.raises(ModelError, match="another --config"):
        Trainer(settings(data, init=str(weights), config="d=32"), tmp_path)


def test_a_decoder_alone_keeps_its_encoder(data: Path, tmp_path: Path, tiny_weights: Path) -> None:
    before = load_model(tiny_weights).state_dict()
    trainer = train(data, tmp_path, init=str(tiny_weights), config="", decoder_only=True, lr=0.01)
    model = trainer.subject.module
    assert model.dead_zone.max() > 0.1
    changed = {name.split(".")[0] for name, p in model.state_dict().items() if not torch.equal(p, before[name])}
    decoder = {
        "g_s_16",
        "g_s_8",
        "g_s_out",
        "g_s_linear",
        "gain_s",
        "gain_y_inverse",
        "recon_shift",
        "h_s",
        "mean_0",
        "context",
    }
    assert {"g_s_8", "g_s_out", "recon_shift", "context"} <= changed <= decoder


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_detail_is_held(data: Path, tmp_path: Path, tiny_weights: Path, optimizer: str) -> None:
    before = load_model(tiny_weights)
    m, old = before.config.m, before.state_dict()
    trainer = train(
        data, tmp_path, init=str(tiny_weights), config="", hold_detail=True, lr=0.01, optimizer=optimizer
    )  # fmt: skip
    new = trainer.subject.module.state_dict()
    for gain in ("gain_y", "gain_y_inverse", "scale_y"):
        name = f"{gain}.log_gain"
        assert torch.equal(new[name][:, m:], old[name][:, m:]) and not torch.equal(new[name][:, :m], old[name][:, :m])
    name = f"scale_net.{len(before.scale_net) - 1}.bias"
    assert torch.equal(new[name][m:], old[name][m:]) and not torch.equal(new[name][:m], old[name][:m])
    assert torch.equal(new["h_a_detail.weight"], old["h_a_detail.weight"])


def test_scales_of_detail_are_held(tiny_weights: Path) -> None:
    model = load_model(tiny_weights)
    hold_detail(model)
    model.scale_net(torch.ones(1, model.config.cz, 2, 2)).square().sum().backward()
    for p in model.scale_net[-1].parameters():
        assert p.grad[: model.config.m].any() and not p.grad[model.config.m :].any()
    assert model.scale_net[0].weight.grad.any()


def test_whole_models_round_as_the_encoder_will(data: Path, tmp_path: Path, tiny_weights: Path) -> None:
    """Steps and validation have the default effort's dead zones: those tuned for the weights, or for untuned ones."""
    tuned = tmp_path / "tuned.safetensors"
    tuned.write_bytes(tiny_weights.read_bytes())
    store(tuned, np.linspace(0, 0.4, COUNT, dtype=np.float32))
    zones = {}
    for weights in (tuned, tiny_weights):
        trainer = Trainer(settings(data, init=str(weights), config=""), tmp_path / weights.stem)
        zones[weights] = trainer.subject.module.dead_zone
        assert torch.equal(trainer.step.average.dead_zone, zones[weights])
        assert all(p.requires_grad for p in trainer.subject.module.parameters())
    assert zones[tuned].tolist() == pytest.approx(np.linspace(0, 0.4, COUNT), abs=1e-4)
    assert zones[tiny_weights].tolist() == dead_zones(gaussian_tables()).tolist()
    started = Trainer(settings(data), tmp_path / "klt").subject.module.dead_zone
    assert torch.equal(started, zones[tiny_weights])


def test_models_that_cannot_work(data: Path, tmp_path: Path) -> None:
    for config, says in (
        ("depth=3", "knows"),
        ("c16=x", "NAME=NUMBER"),
        ("c16=64,m=30", "multiple of 4"),
        ("m=64,detail=64", "below m"),
    ):
        with pytest.raises(ArgumentError, match=says):
            Trainer(settings(data, config=config), tmp_path)
    with pytest.raises(InputError, match="unknown model"):
        Trainer(settings(data, model="bpg", config=""), tmp_path)


def test_what_is_tried_at_the_start_changes_nothing_but_the_speed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(settings(data), tmp_path)
    for _ in range(2):
        trainer._train_step(0.5)
    before, drawn = copy.deepcopy(snapshot(trainer)), torch.rand(3)
    torch.set_rng_state(before["random"]["cpu"])
    monkeypatch.setattr(variants, "MEASURED", 0.0)

    def draw(count: int) -> dict[str, Tensor]:
        if count == 3:
            raise torch.OutOfMemoryError
        return {key: value[:count] for key, value in trainer._batch(0.5).items()}

    monkeypatch.setattr(torch, "compile", lambda *_, **__: time.sleep(99))  # a compiler that takes too long
    rates = variants.choose(trainer.step, draw, (1, 2, 3), seconds=12.0)
    assert {variant.batch for variant in rates} == {1, 2} and list(rates.values()) == sorted(rates.values())[::-1]
    assert not any(variant.compiled for variant in rates) and trainer.step.parts == trainer.step._parts
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    assert Variant(2, compiled=True) in variants.choose(trainer.step, draw, (2,))
    variants.profile(trainer.step, draw(1), tmp_path / "profile.txt")
    assert "aten::" in (tmp_path / "profile.txt").read_text()
    assert torch.equal(torch.rand(3), drawn)
    after = snapshot(trainer)
    for part in ("model", "ema"):
        assert all(torch.equal(value, before[part][name]) for name, value in after[part].items())
    states = [s["optimizers"][0]["state"] for s in (before, after)]
    assert all(torch.equal(v, states[1][i][name]) for i, state in states[0].items() for name, v in state.items())


def test_a_run_ends_by_the_clock_and_goes_on(data: Path, tmp_path: Path) -> None:
    trainer = Trainer(settings(data, steps=None, minutes=60.0, batch_size=ANY_BATCH), tmp_path)
    assert trainer.stages[0].batch == 8
    assert not trainer.run(until=time.monotonic() + 0.3) and trainer.done > 0
    assert load_checkpoint(tmp_path / LAST)["step"] == trainer.done
