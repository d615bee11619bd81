"""The tables of weights/MODEL_CARD.md, from a folder that `jndcodec eval` wrote.

    python benchmarks/model_card.py RESULTS

For each model: its means at every quality; BD-rates of every model against every other codec, measured or published,
in every metric; mean file size at one JND. Metrics that the model was not trained on come first; the others are marked
with a star.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from jndcodec.errors import ModelError
from jndcodec.evaluate.bdrate import bd_rate
from jndcodec.evaluate.metrics import BY_NAME
from jndcodec.evaluate.results import Curve, Row, curves
from jndcodec.installed import find_by_name

TRAINED_AS = {"psnr": "mse", "ms_ssim": "ms-ssim", "ssimulacra2": "ssimulacra2", "cvvdp": "cvvdp"}


def load_curves(results: dict) -> list[Curve]:
    """The means of results.json as curves, then the published ones."""
    means = [Row(**{key: value for key, value in row.items() if key != "jnd"}) for row in results["means"]]
    labels = {codec["name"]: codec["label"] for codec in results["codecs"]}
    return curves(means, labels) + [Curve(**curve) for curve in results["published"]]


def by_honesty(model: Curve) -> list[tuple[str, str]]:
    """(name, heading) of each metric, those first that the model's training did not see."""
    try:
        loss = find_by_name(model.name).loss
    except ModelError:  # a weights file: nothing is known of it
        loss = ""
    seen = {metric for metric, trained in TRAINED_AS.items() if trained in re.split("[ :,]+", loss)}
    return [(name, BY_NAME[name].label + "*" * (name in seen)) for name in sorted(model.metrics, key=seen.__contains__)]


def rate_table(results: dict, model: Curve) -> list[str]:
    """A column for each quality, rising."""
    settings = sorted(row["setting"] for row in results["means"] if row["codec"] == model.name)
    lines = [[f"{model.name}, quality", *(f"{setting:g}" for setting in settings)]]
    lines.append(["bpp", *(f"{bpp:.3f}" for bpp in model.bpp)])
    for name, label in by_honesty(model):
        values = model.metrics[name]
        if None not in values:
            lines.append([label, *(f"{value:.{BY_NAME[name].digits}f}" for value in values)])
    return _markdown(lines)


def bd_table(model: Curve, others: list[Curve]) -> list[str]:
    """BD-rate against each other codec, a column for each metric; empty where there is none."""
    metrics = by_honesty(model)
    lines = [[f"BD-rate of {model.name} against", *(label for _, label in metrics)]]
    for other in others:
        found = [bd_rate(other, model, name).percent for name, _ in metrics]
        lines.append([other.label, *("" if percent is None else f"{percent:+.1f} %" for percent in found)])
    return _markdown(lines)


def size_table(results: dict) -> list[str]:
    """Mean bpp at one JND."""
    lines = [["at one JND", "metric", "at", "bpp"]]
    for size in results["size_at_one_jnd"]:
        bpp = size["bpp"]
        lines.append([size["codec"], size["metric"], f"{size['level']:g}", "" if bpp is None else f"{bpp:.3f}"])
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> list[str]:
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return [rows[0], "|" + "---|" * len(lines[0]), *rows[1:], ""]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Print the tables."""
    results = json.loads((folder / "results.json").read_text())
    found = load_curves(results)
    models = [curve for curve in found if curve.learned and not curve.published]
    for model in models:
        click.echo("\n".join(rate_table(results, model)))
    for model in models:
        click.echo("\n".join(bd_table(model, [curve for curve in found if curve is not model])))
    click.echo("\n".join(size_table(results)))


if __name__ == "__main__":
    main()
