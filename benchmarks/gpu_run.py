"""A short training on a borrowed GPU, by the clock, in as many calls as it takes; nothing comes from a network.

    python benchmarks/gpu_run.py pack TILES... --out shards            here: folders of at most 42 MiB
    python benchmarks/gpu_run.py run shards/* --minutes 9 --total 27 --out run --results OUT --set batch_size=0 \
        --set metric=ssimulacra2:0.5,cvvdp:0.35,ms-ssim:0.1,mse:0.05 --set init=base.safetensors

The learning rate follows --total; a call ends after --minutes, its own start and end included, and the next call with
the same --out goes on. OUT gets the averaged weights as a float16 file in parts of at most 16 MB (`cat
weights.safetensors.* > weights.safetensors`; `init` takes it), the log, the profile of the kernels, and with --state
the parts of last.pt: laid into --out on another machine, the run goes on there.

Carry the source without what training does not need: weights/*.safetensors but the `init` file, tests/golden, docs/.
`pack` says how large the shards are; carry one at a time where there is little room. Without a GPU it trains on the
processor, for a trial.
"""

from __future__ import annotations

import copy
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import torch

from jndcodec.model.export import export_weights
from jndcodec.train.checkpoint import load_checkpoint
from jndcodec.train.finish import describe_loss
from jndcodec.train.loop import LAST, Trainer
from jndcodec.train.recipes import fill_in
from jndcodec.train.settings import Settings, check

PART = 16 * 10**6  # bytes
SHARD = 42 * 2**20
ENDING = 20.0  # seconds that saving takes at most


def split(path: Path, folder: Path, size: int = PART) -> list[Path]:
    """Copy a file into `folder` as NAME.00, NAME.01, … of at most `size` bytes."""
    for old in folder.glob(f"{path.name}.[0-9][0-9]"):
        old.unlink()
    parts = []
    with open(path, "rb") as file:
        while data := file.read(size):
            parts.append(folder / f"{path.name}.{len(parts):02d}")
            parts[-1].write_bytes(data)
    return parts


def join(path: Path) -> None:
    """Make `path` of its parts beside it, if it is not there and they are."""
    parts = sorted(path.parent.glob(f"{path.name}.[0-9][0-9]"))
    if parts and not path.exists():
        path.write_bytes(b"".join(part.read_bytes() for part in parts))


@click.group()
def main() -> None:
    """Train for some minutes on a borrowed GPU."""


@main.command()
@click.argument("roots", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path))
def pack(roots: tuple[Path, ...], out: Path) -> None:
    """Copy the pictures of ROOTS into folders of at most 42 MiB."""
    number, filled = 0, 0
    for root in roots:
        for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")):
            size = path.stat().st_size
            if filled and filled + size > SHARD:
                click.echo(f"{out / f'{number:02d}'}: {filled / 2**20:.1f} MiB")
                number, filled = number + 1, 0
            target = out / f"{number:02d}" / root.name / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            filled += size
    click.echo(f"{out / f'{number:02d}'}: {filled / 2**20:.1f} MiB")


@main.command()
@click.argument("roots", nargs=-1, required=True)
@click.option("--minutes", required=True, type=float, help="Of this call.")
@click.option("--total", type=float, help="Of the whole run; without, this call is all.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run, kept between calls.")
@click.option("--results", required=True, type=click.Path(path_type=Path), help="What to bring home.")
@click.option("--state", is_flag=True, help="Bring last.pt home too.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Of jndcodec.train.settings.Settings.")
def run(
    roots: tuple[str, ...], minutes: float, total: float | None, out: Path, results: Path, state: bool,
    given: tuple[str, ...],
) -> None:  # fmt: skip
    """Train on the pictures in ROOTS."""
    until = time.monotonic() + 60 * minutes - min(ENDING, 6 * minutes)
    results.mkdir(parents=True, exist_ok=True)
    join(out / "last.pt")
    resume = (out / "last.pt").exists()
    settings = make_settings(out if resume else None, given, roots=roots, minutes=total or minutes)
    trainer = Trainer(settings, out, resume=resume, save_minutes=2.0)
    until = max(until, time.monotonic() + 0.5)  # a slow start must not make a call of no step at all
    click.echo(f"{device_name(trainer.device)}, torch {torch.__version__}, bf16 {trainer.step.bf16}")
    try:
        finished = trainer.run(until)
    finally:
        bring_home(trainer, results, state)
    end = "the run is over" if finished else "the same command goes on"
    click.echo(f"{trainer.done} steps in {trainer.minutes:.1f} of {settings.minutes:g} minutes; {end}")


def make_settings(run: Path | None, given: tuple[str, ...], **changes: Any) -> Settings:
    """Those of the run so far, or new ones from NAME=VALUE pairs; `changes` stand above both."""
    changes["validate_minutes"] = float("inf")  # the GPU is for training
    if run:
        return replace(Settings.from_dict(load_checkpoint(run / "last.pt")["settings"]), **changes)
    types = get_type_hints(Settings)
    values = {}
    for pair in given:
        name, _, value = pair.partition("=")
        if name not in types:
            raise click.BadParameter(f"no setting {name!r}; there are {', '.join(types)}", param_hint="--set")
        kinds = [kind for kind in (bool, int, float, str) if kind in (types[name], *get_args(types[name]))]
        values[name] = value == "True" if kinds[0] is bool else kinds[0](value)
    settings = Settings(**(values | changes))
    check(settings)
    return fill_in(settings)


def device_name(device: torch.device) -> str:
    if device.type != "cuda":
        return "no GPU here: on the processor"
    about = torch.cuda.get_device_properties(device)
    return f"{about.name}, {about.total_memory / 2**30:.0f} GiB"


def bring_home(trainer: Trainer, results: Path, state: bool) -> None:
    """The averaged weights in float16, the log and the profile, all in parts that travel."""
    model = copy.deepcopy(trainer.step.average).cpu().to(memory_format=torch.contiguous_format)
    path = trainer.out / "weights.safetensors"
    record = {"steps": trainer.done, "minutes": round(trainer.minutes, 1)}
    calibration = {"t_1jnd": 0.5, "points": []}  # `jndcodec train --export` measures them
    export_weights(
        model, path, name=trainer.out.name, loss=describe_loss(trainer.settings), calibration=calibration, record=record
    )
    parts = split(path, results) + (split(trainer.out / LAST, results) if state else [])
    for name in ("metrics.jsonl", "profile.txt"):
        if (trainer.out / name).exists():
            shutil.copyfile(trainer.out / name, results / name)
    click.echo(f"{results}: {', '.join(f'{part.name} {part.stat().st_size / 1e6:.1f} MB' for part in parts)}")


if __name__ == "__main__":
    main()
