"""The command in processes of its own: the whole way to a picture, signals, bad input, torchrun, a bare machine."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from train_tools import SOURCE, TINY, command, environment, parameters, run_command, settings, write_data

from jndcodec.cli.train import train as train_command
from jndcodec.errors import InputError, JndcodecError
from jndcodec.model.build import load_model
from jndcodec.train.checkpoint import load_checkpoint
from jndcodec.train.loop import LAST, Trainer

SMALL = (
    "--config", TINY, "--batch-size", "4", "--patch-size", "64", "--precision", "float32", "--validate-pictures", "1",
    "--device", "cpu", "--threads", "1",
)  # fmt: skip
TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "-m",
    "jndcodec",
    "train",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, photo: Callable[..., np.ndarray]) -> Path:
    return write_data(tmp_path_factory.mktemp("train"), photo)


def state(out: Path) -> dict:
    return load_checkpoint(out / "last.pt")


def test_from_photos_to_a_coded_picture(data: Path, tmp_path: Path) -> None:
    done = run_command(str(data), "--steps", "3", "--out", str(tmp_path / "run"), "--name", "mine", *SMALL)
    assert done.returncode == 0, done.stderr
    weights = tmp_path / "run" / "mine.safetensors"
    assert done.stdout.strip() == str(weights)
    picture = data / "test" / "Ref" / "4.png"
    for call in (
        ["encode", str(picture), "-o", str(tmp_path / "a.jlc"), "--weights", str(weights)],
        ["decode", str(tmp_path / "a.jlc"), "-o", str(tmp_path / "a.png"), "--weights", str(weights)],
    ):
        coded = subprocess.run(
            [sys.executable, "-m", "jndcodec", *call], env=environment(), capture_output=True, text=True, timeout=120
        )
        assert coded.returncode == 0, coded.stderr
    assert Image.open(tmp_path / "a.png").size == Image.open(picture).size


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_resuming_goes_on(data: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(str(data), "--steps", "100000", "--out", str(out), *SMALL, "--log-seconds", "0.1"),
        env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "--resume" in errors and "Traceback" not in errors
    steps = state(out)["step"]
    assert steps > 0
    again = run_command("--out", str(out), "--resume", "--steps", str(steps + 2))
    assert again.returncode == 0, again.stderr
    assert state(out)["step"] == steps + 2
    kinds = [json.loads(line)["kind"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert kinds[-1] == "validation"


def call(*arguments: str) -> None:
    """The command in this process."""
    train_command.main(list(arguments), standalone_mode=False)


def test_bad_calls(data: Path, tmp_path: Path) -> None:
    out, photos = str(tmp_path / "run"), str(data / "train" / "Ref")
    cases = [
        ([str(data), "--out", out], 2, "--steps N or --minutes M"),
        ([str(tmp_path / "none"), "--out", out, "--steps", "1"], 12, "no such folder"),
        ([photos, "--out", out, "--steps", "1", "--loss", "iwl"], 12, "JND1"),
        (["--out", out, "--resume"], 6, "no such checkpoint"),
        ([str(data), "--out", out, "--steps", "1", "--init", "none.safetensors"], 6, "no such weights file"),
    ]
    for arguments, code, says in cases:
        with pytest.raises(JndcodecError, match=says) as caught:
            call(*arguments)
        assert caught.value.exit_code == code
    assert not (tmp_path / "run").exists()


def test_a_run_is_neither_overwritten_nor_changed(data: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    call(str(data), "--steps", "1", "--out", out, *SMALL)
    with pytest.raises(InputError, match="--resume"):
        call(str(data), "--steps", "1", "--out", out, *SMALL)
    with pytest.raises(InputError, match="--lr"):
        call("--out", out, "--resume", "--lr", "0.5")
    call("--out", out, "--export", "--name", "again")
    assert (tmp_path / "run" / "again.safetensors").exists()


@pytest.mark.parametrize("choice", [("cvvdp:1,mse:0.1", "rd", "muon"), ("mse", "iwl", "adam")])
def test_two_processes_equal_one_with_the_doubled_batch(
    data: Path, tmp_path: Path, choice: tuple[str, str, str]
) -> None:
    """Same batches, same noise: what the weights moved agrees to float32's order of summation."""
    two = tmp_path / "two"
    metric, loss, optimizer = choice
    alone = Trainer(settings(data, steps=4, metric=metric, loss=loss, optimizer=optimizer), tmp_path / "one")
    start = parameters(alone)
    alone.run()
    options = ("--metric", metric, "--loss", loss, "--optimizer", optimizer)
    together = run_command(str(data), "--steps", "4", "--out", str(two), *SMALL, *options, program=TORCHRUN)
    assert together.returncode == 0, together.stderr
    b = state(two)
    assert b["step"] == alone.done == 4 and not torch.equal(parameters(alone)["g_a_in.weight"], start["g_a_in.weight"])
    for name, value in parameters(alone).items():
        assert (b["model"][name] - value).norm() <= 0.01 * (value - start[name]).norm(), name
    logs = [json.loads((out / "metrics.jsonl").read_text().splitlines()[0]) for out in (tmp_path / "one", two)]
    assert logs[0]["loss"] == pytest.approx(logs[1]["loss"], rel=1e-4)


def test_a_batch_that_cannot_be_shared(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="cannot be shared by 2 processes"):
        call(str(data), "--steps", "1", "--out", str(tmp_path), *SMALL, "--batch-size", "3")


BARE = """
import sys
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"compressai", "tensorboard", "torchvision", "ssimulacra2", "pytorch_msssim"}:
            raise ImportError(name + " is not on this machine")
sys.meta_path.insert(0, Bare())
from jndcodec.cli import main
sys.argv = ["jndcodec", *sys.argv[1:]]
main()
"""


def test_a_bare_machine_trains_and_exports(data: Path, tmp_path: Path) -> None:
    """torch, numpy, Pillow, safetensors, click and rich only; what else is installed here is hidden."""
    script = tmp_path / "bare.py"
    script.write_text(BARE)
    arguments = (str(data), "--steps", "2", "--out", str(tmp_path / "run"), "--metric", "cvvdp", *SMALL)
    done = run_command("train", *arguments, program=[sys.executable, str(script)])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").exists()
    zoo = ("train", str(data), "--steps", "2", "--out", str(tmp_path / "zoo"), "--model", "mbt2018")
    refused = run_command(*zoo, program=[sys.executable, str(script)])
    assert refused.returncode == 11 and "pip install compressai" in refused.stderr


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_step_asks_the_device_for_nothing(device: str) -> None:
    """Without data in the tensors, so that no GPU is needed: a host synchronisation or a mix of devices would raise."""
    done = run_command(device, program=[sys.executable, str(Path(__file__).parent / "fake_step.py")])
    assert done.returncode == 0, done.stderr
    assert "asked for nothing until the log did" in done.stdout


def test_a_short_run_ends_by_the_clock_and_goes_on_elsewhere(data: Path, tmp_path: Path) -> None:
    """benchmarks/gpu_run.py: two calls, the second from what the first brought home."""
    script = [sys.executable, str(SOURCE / "benchmarks" / "gpu_run.py"), "run", str(data)]
    options = ["batch_size=2", "patch_size=64", "precision=float32", "device=cpu", "threads=1", f"config={TINY}"]
    home, steps = tmp_path / "home", []
    for folder in (tmp_path / "one", tmp_path / "two"):
        call = ["--minutes", "0.02", "--total", "60", "--out", str(folder), "--results", str(home), "--state"]
        done = run_command(*call, *(f"--set={option}" for option in options), program=script)
        assert done.returncode == 0, done.stderr
        assert "the same command goes on" in done.stdout
        steps.append(load_checkpoint(folder / LAST)["step"])
        (tmp_path / "two").mkdir(exist_ok=True)
        for part in home.glob("last.pt.*"):
            shutil.copyfile(part, tmp_path / "two" / part.name)
    assert steps[1] > steps[0] > 0
    whole = tmp_path / "weights.safetensors"
    whole.write_bytes(b"".join(part.read_bytes() for part in sorted(home.glob("weights.safetensors.*"))))
    assert load_model(whole).config.m == 32
    assert (home / "metrics.jsonl").exists()
