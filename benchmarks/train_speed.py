"""Training speed: steps/s, the share of time outside the network, the share of loading data.

    python benchmarks/train_speed.py FOLDER_OF_PHOTOS --batch-size 8 --patch-size 256 --threads 1

"Network" is the forward and backward pass of the model. Outside it are the metric, the optimiser, the average of the
weights, and the data. On CUDA the whole step is one graph, so only steps/s and the data are told apart. What is
compared is measured in turns, and of all turns the median counts, because machines are noisy.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch

from jndcodec.train.loop import Trainer
from jndcodec.train.recipes import fill_in
from jndcodec.train.settings import Settings


def seconds(action: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Mean time of an action after two that warm up."""
    for _ in range(2):
        action()
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        action()
    _wait(device)
    return (time.perf_counter() - start) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--batch-size", default=8, show_default=True)
@click.option("--patch-size", default=256, show_default=True)
@click.option("--metric", default="mse", show_default=True)
@click.option("--config", default="")
@click.option("--threads", type=int)
@click.option("--device", default="auto", show_default=True)
@click.option("--repeats", default=4, show_default=True, help="Of each in a turn.")
@click.option("--turns", default=7, show_default=True)
def main(
    folder: str,
    batch_size: int,
    patch_size: int,
    metric: str,
    config: str,
    threads: int | None,
    device: str,
    repeats: int,
    turns: int,
) -> None:
    """Measure one training setting on the pictures in FOLDER."""
    settings = fill_in(
        Settings(
            roots=(folder,), steps=10**6, batch_size=batch_size, patch_size=patch_size, metric=metric, config=config,
            threads=threads, device=device, validate_pictures=0,
        )
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as out:
        trainer = Trainer(settings, Path(out))
        step = trainer.step
        batch = trainer._batch(0.5)

        def network() -> None:
            with step.autocast():
                output = step.forward(batch["x"], batch["t"])
            (output.x_hat.float().mean() + output.bits_y.mean() + output.bits_z.mean()).backward()

        parts: list[Callable[[], object]] = [lambda: trainer._train_step(0.5), lambda: trainer._batch(0.5)]
        if trainer.device.type == "cpu":
            parts.append(network)
        times = [[seconds(part, repeats, trainer.device) for part in parts] for _ in range(turns)]
        whole, data, *inside = map(statistics.median, zip(*times, strict=True))
        machine = f"{trainer.device}, threads {torch.get_num_threads()}, bf16 {step.bf16}"
        print(f"{machine}: {batch_size} x {patch_size}², {metric}")
        print(f"{1 / whole:.2f} steps/s ({whole * 1000:.0f} ms)")
        print(f"data loading {100 * data / whole:.1f} % ({data * 1000:.1f} ms)")
        for network_time in inside:
            outside = whole - network_time
            print(f"outside the network {100 * outside / whole:.0f} % ({outside * 1000:.0f} ms)")
        trainer.log.close()


if __name__ == "__main__":
    main()
