"""`jndcodec models`: what is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from jndcodec.cli.screen import Command
from jndcodec.installed import add_model, available_models
from jndcodec.weights import ModelInfo


@click.command(
    cls=Command,
    short_help="List the models that are installed.",
    examples=("jndcodec models", "jndcodec models --add runs/fwl/model.safetensors"),
)
@click.option(
    "--add",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Copy a weights file to your own models: from then on it is found by its name, and by its id in files.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a model on standard output.")
def models(add: Path | None, as_json: bool) -> None:
    """List the models that are installed; the first is the default.

    Besides those of the package there are your own, put there by --add, and those that the variable JNDCODEC_WEIGHTS
    names: weights files, or folders of them, separated as in PATH.

    The rate range is in bits per pixel, from quality 0 to 100, on the pictures that the model was calibrated with.
    kMAC/px are thousands of multiplications per pixel.
    """
    if add:
        info = add_model(add)
        if as_json:
            click.echo(json.dumps(_facts(info)))
        else:
            click.echo(f"{info.name}, {info.id}: {info.path}", err=True)
        return
    rows = [_facts(info) for info in available_models(lambda error: click.echo(f"not used: {error}", err=True))]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    elif rows:
        click.echo(_table(rows))
    else:
        click.echo("no model is installed; encode and decode take --weights FILE")


def _facts(info: ModelInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "id": info.id,
        "loss": info.loss,
        "bpp_range": info.bpp_range,
        "parameters": info.parameters,
        "kmac_per_px": info.kmac_per_px,
        "path": str(info.path),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    head = ("name", "id", "loss", "bpp", "parameters", "kMAC/px encode", "decode")
    cells = [head]
    for row in rows:
        rate = "{:.2f} ... {:.2f}".format(*row["bpp_range"]) if row["bpp_range"] else "-"
        work = [f"{row['kmac_per_px'][part]:.1f}" for part in ("encode", "decode")]
        cells.append((row["name"], row["id"], row["loss"], rate, f"{row['parameters'] / 1e6:.2f} M", *work))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(lines)
