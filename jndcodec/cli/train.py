"""`jndcodec train`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from jndcodec.cli.options import POSITIVE
from jndcodec.cli.screen import Command
from jndcodec.errors import InputError
from jndcodec.heartbeat import heartbeat
from jndcodec.train.settings import FEATURES, LOSSES, NATIVE, VARIANTS, Settings

# What a resumed run may change; the rest is in the checkpoint.
CHANGEABLE = ("roots", "steps", "minutes", "device", "threads", "validate_minutes")


@click.command(
    cls=Command,
    short_help="Train or fine-tune a model.",
    examples=(
        "jndcodec train set/ --out runs/base --minutes 60",
        "jndcodec train set/ --out runs/fwl --loss fwl --init runs/base/model.safetensors --minutes 60",
        "jndcodec train --out runs/base --resume",
    ),
    sections={
        "The run": ("out", "steps", "minutes", "resume", "export_only", "name", "seed"),
        "The loss": ("loss", "variant", "metric", "lmbda", "weight", "features", "feature_weights"),
        "The model": ("model", "config", "quality", "pretrained", "init", "decoder_only", "hold_detail"),
        "Batches and steps": (
            "recipe",
            "batch_size",
            "patch_size",
            "stages",
            "optimizer",
            "schedule",
            "lr",
            "aux_lr",
            "clip",
            "warmup",
            "ema",
        ),
        "The machine": ("device", "precision", "threads"),
        "Looking on": ("validate_minutes", "validate_pictures", "save_minutes", "log_seconds"),
    },
)
@click.argument("roots", nargs=-1, metavar="[ROOT]...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--steps", type=click.IntRange(1), help="Train this many steps.")
@click.option("--minutes", type=POSITIVE, help="Train this long; the learning rate follows the clock.")
@click.option("--loss", type=click.Choice(LOSSES), default="rd", show_default=True, help="rd needs no JND1 pictures.")
@click.option("--variant", type=click.Choice(VARIANTS), default="balanced", show_default=True, help="Of the loss.")
@click.option(
    "--metric",
    default="mse",
    show_default=True,
    help="mse, ms-ssim, ssimulacra2, cvvdp, or a mix: mse:1,ms-ssim:1.",
)
@click.option("--weight", type=click.FloatRange(0, 1), help="Share of the first term of pwl, iwl and fwl.")
@click.option(
    "--features", type=click.Choice(FEATURES), help="Network of fwl: vgg16 for --variant paper, else alexnet."
)
@click.option("--feature-weights", default="", metavar="FILE", help="Its weights; without, they are searched for.")
@click.option("--model", default=NATIVE, show_default=True, help="Or a model of the CompressAI zoo.")
@click.option("--config", default="", metavar="NAME=N,...", help=f"Widths and depths of {NATIVE}: s8=3,s16=2.")
@click.option("--quality", type=click.IntRange(1, 8), default=3, show_default=True, help="Of a zoo model.")
@click.option("--pretrained", is_flag=True, help="Start a zoo model from the zoo's weights (downloads them).")
@click.option(
    "--lambda", "lmbda", default="", metavar="L", help=f"λ of the metric: LOW:HIGH for {NATIVE}, else one number."
)
@click.option("--init", default="", metavar="FILE", help="Start from a weights file or a checkpoint.")
@click.option(
    "--decoder-only", is_flag=True, help="Keep the encoder of --init, which rounds at its default effort meanwhile."
)
@click.option("--hold-detail", is_flag=True, help="Keep the steps and scales of --init's detail, tuned at export.")
@click.option("--recipe", type=click.Choice(("paper", "scratch", "finetune")), help="A named set of hyperparameters.")
@click.option(
    "--batch-size",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    help="Patches per step, over all processes; 0: on CUDA what is fastest of 32, 64 and 128, else 8.",
)
@click.option("--patch-size", type=click.IntRange(64), default=256, show_default=True, help="Pixels; a multiple of 64.")
@click.option("--stages", default="", metavar="BxP[@SHARE],...", help="Batch and patch over the run: 16x128,8x256@0.6.")
@click.option("--optimizer", type=click.Choice(("muon", "adam")), help=f"muon for {NATIVE}, adam for the zoo.")
@click.option("--schedule", type=click.Choice(("cosine", "plateau")), help="cosine, with a warm-up.")
@click.option("--lr", type=POSITIVE, help="Peak learning rate.")
@click.option("--aux-lr", type=POSITIVE, default=1e-3, show_default=True, help="Of the zoo models' auxiliary loss.")
@click.option("--clip", type=POSITIVE, default=1.0, show_default=True, help="Largest norm of the gradient.")
@click.option("--warmup", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="Share of the run.")
@click.option(
    "--ema",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.998,
    show_default=True,
    help="Decay of the averaged weights; 0: none.",
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1.")
@click.option("--precision", type=click.Choice(("auto", "bf16", "float32")), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of one process.")
@click.option("--validate-minutes", type=POSITIVE, default=10.0, show_default=True, help="Between validations.")
@click.option("--validate-pictures", type=click.IntRange(1), default=12, show_default=True)
@click.option("--save-minutes", type=POSITIVE, default=10.0, show_default=True, help="Between checkpoints.")
@click.option("--log-seconds", type=POSITIVE, default=30.0, show_default=True, help="Between lines of the log.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out exactly where it stopped.")
@click.option("--export", "export_only", is_flag=True, help="Only write the weights file of the run in --out.")
@click.option("--name", default="model", show_default=True, help="Of the exported weights.")
@click.pass_context
def train(ctx: click.Context, roots: tuple[str, ...], out: Path, recipe: str | None, **options: Any) -> None:
    """Train or fine-tune a model on the pictures in each ROOT.

    ROOT is a folder that `jndcodec prepare` made ({train,test}/{Ref,JND1}), or any folder of photos for --loss rd.
    At the end OUT/NAME.safetensors, its tables fitted to the first ROOT, is ready for `jndcodec encode --weights`.
    Ctrl-C saves; --resume goes on.
    """
    resume, export_only = options.pop("resume"), options.pop("export_only")
    pace = {key: options.pop(key) for key in ("save_minutes", "log_seconds")}
    name = options.pop("name")
    options |= {key: options[key] or "" for key in ("optimizer", "schedule", "features")}
    options["roots"] = tuple(str(Path(root).resolve()) for root in roots)
    if resume and export_only:
        raise click.UsageError("--resume goes on and --export only writes: give one.")
    given = {key for key in options if ctx.get_parameter_source(key) is ParameterSource.COMMANDLINE}
    if resume or export_only:
        settings = stored_settings(out, {key: options[key] for key in given})
    else:
        settings = new_settings(out, options, given, recipe)

    from jndcodec.train.finish import export_run
    from jndcodec.train.loop import Trainer

    with heartbeat(lambda: "reading the pictures"):
        trainer = Trainer(settings, out, resume=resume or export_only, **pace)
    try:
        if not export_only and not trainer.run():
            click.echo("stopped; the run goes on with --resume", err=True)
            sys.exit(128 + (trainer.signal or 0))
        if trainer.team.first:
            with heartbeat(lambda: "writing the weights: steps of detail, tables, default rate"):
                path = export_run(trainer, name, shlex.join(["jndcodec", *sys.argv[1:]]))
            click.echo(path)
    finally:
        trainer.team.leave()


def new_settings(out: Path, options: dict[str, Any], given: set[str], recipe: str | None) -> Settings:
    """Settings of a new run: the recipe's under what was given."""
    from jndcodec.train.recipes import RECIPES, fill_in
    from jndcodec.train.settings import check

    if (out / "last.pt").exists():
        raise InputError(f"{out} holds a run already: add --resume to go on, or choose another --out")
    settings = Settings(**(options | {k: v for k, v in RECIPES.get(recipe or "", {}).items() if k not in given}))
    check(settings)
    return fill_in(settings)


def stored_settings(out: Path, given: dict[str, Any]) -> Settings:
    """Settings of the run in `out`; InputError where another value is given for one that may not change."""
    from dataclasses import replace

    from jndcodec.train.checkpoint import load_checkpoint

    settings = Settings.from_dict(load_checkpoint(out / "last.pt")["settings"])
    for key, value in given.items():
        if key not in CHANGEABLE and value != getattr(settings, key):
            option = "lambda" if key == "lmbda" else key.replace("_", "-")
            raise InputError(f"--{option} is {getattr(settings, key)} in this run and cannot change")
    return replace(settings, **{key: value for key, value in given.items() if key in CHANGEABLE})
