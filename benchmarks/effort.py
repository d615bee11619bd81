"""What each effort level costs and gains: encode seconds, BD-rate against level 1, and mean bpp at one JND by
SSIMULACRA2, over a folder of pictures.

    python benchmarks/effort.py FOLDER --out effort.json [--model NAME | --weights FILE] [--levels 1,3,5,7,9]
        [--rates 8] [--images N] [--crop 384] [--threads 2]

Each picture is coded at evenly spread rate knobs and decoded from its bytes; PSNR, SSIMULACRA2 and, where they are
installed, CVVDP and Butteraugli are measured on what comes out. BD-rates are over the means of all pictures. Every
result is kept in --out at once: a run that was stopped goes on where it was. Seconds are those of the encoder alone,
wall and processor time; on a machine busy with other things only the latter mean something, with --threads 1.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from jndcodec import Codec
from jndcodec.effort import LEVELS
from jndcodec.effort.compress import compress
from jndcodec.effort.counting import middle
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.evaluate.bdrate import bd_rate
from jndcodec.evaluate.level import sizes_at_one_jnd
from jndcodec.evaluate.metrics import choose, measure
from jndcodec.evaluate.results import Curve, Row, curves, mean_rows
from jndcodec.evaluate.runner import find_sources
from jndcodec.sampling import spread

METRICS = ("psnr", "ssimulacra2", "cvvdp", "butteraugli")


def code(codec: Codec, rgb: np.ndarray, knob: int, level: int, metrics: list) -> dict:
    """One measurement; the streams are decoded as a decoder would."""
    wall, processor = time.perf_counter(), time.process_time()
    coded = compress(codec.model, rgb, knob, level)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    start = time.perf_counter()
    decoded = codec.model.decompress(coded.z, coded.y, coded.symbols_crc, knob, rgb.shape[:2])
    return {
        "bytes": len(coded.z) + len(coded.y) + 40,  # with the container around them
        "wall": wall,
        "processor": processor,
        "decode": time.perf_counter() - start,
        "metrics": measure(rgb, decoded, metrics),
    }


def table(results: dict[str, dict], sizes: dict[str, tuple[int, int]], levels: list[int]) -> list[str]:
    """Lines of Markdown: seconds and BD-rate per level, over the pictures that all levels have."""
    rows, seconds = [], {level: [] for level in levels}
    for key, value in results.items():
        picture, level, knob = key.rsplit("|", 2)
        if picture in sizes and int(level) in levels:
            width, height = sizes[picture]
            bpp = 8 * value["bytes"] / (width * height)
            metrics = value["metrics"]
            rows.append(
                Row(picture, width, height, f"level {level}", True, float(knob), value["bytes"], bpp,
                    value["wall"], value["decode"], metrics)
            )  # fmt: skip
            seconds[int(level)].append((value["wall"], value["processor"]))
    made: list[Curve] = curves(mean_rows(rows), {f"level {level}": f"level {level}" for level in levels})
    names = [name for name in METRICS if all(name in curve.metrics for curve in made)]
    at_one_jnd = {size.codec: size.bpp for size in sizes_at_one_jnd(rows, "ssimulacra2")}
    heads = [*(f"BD-rate {name}" for name in names), "bpp at 1 JND"]
    lines = [f"| level | wall s | processor s | {' | '.join(heads)} |"]
    lines.append("|" + "---|" * (3 + len(heads)))
    for level, curve in zip(levels, made, strict=True):
        found = [bd_rate(made[0], curve, name) for name in names]
        cells = [f"{r.percent:+.2f} %" if r.percent is not None else "-" for r in found]
        bpp = at_one_jnd[f"level {level}"]
        cells.append("-" if bpp is None else f"{bpp:.3f}")
        wall, processor = np.mean(seconds[level], 0)
        lines.append(f"| {level} | {wall:.2f} | {processor:.2f} | {' | '.join(cells)} |")
    return lines


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Measurements are kept and found here.")
@click.option("--model", help="An installed model.")
@click.option("--weights", type=click.Path(exists=True, path_type=Path), help="A weights file instead.")
@click.option("--levels", default="1,3,5,7,9", show_default=True)
@click.option("--rates", default=8, show_default=True, help="Rate knobs from 0 to 1.")
@click.option("--top", default=1.0, show_default=True, help="The highest rate knob.")
@click.option("--images", type=int, help="Only so many pictures, spread over the folder.")
@click.option("--crop", type=int, help="Only the middle CROP x CROP pixels.")
@click.option("--threads", default=2, show_default=True)
def main(
    folder: Path,
    out: Path,
    model: str | None,
    weights: Path | None,
    levels: str,
    rates: int,
    top: float,
    images: int | None,
    crop: int | None,
    threads: int,
) -> None:
    """Print the table of levels."""
    torch.set_num_threads(threads)
    chosen = sorted({1} | {int(level) for level in levels.split(",")} & set(LEVELS))
    codec = Codec(model, weights=weights, engine="torch")  # which has the slow levels
    metrics = [m for m in choose(None)[0] if m.name in METRICS]
    sources = find_sources([folder])
    if images:
        sources = spread(sources, images)
    head = {"model": codec.id.hex(), "crop": crop, "threads": threads}
    kept = json.loads(out.read_text()) if out.exists() else head | {"results": {}}
    if {key: kept[key] for key in head} != head:
        raise click.UsageError(f"{out} holds results of another model, crop or number of threads: give another --out")
    results, sizes = kept["results"], {}
    knobs = [round(t * T_MAX) for t in np.linspace(0, top, rates)]
    wanted = {f"{source.name}|{level}|{knob}" for source in sources for level in chosen for knob in knobs}
    for source in sources:
        rgb = np.array(Image.open(source.path).convert("RGB"))
        rgb = middle(rgb, crop or max(rgb.shape))
        sizes[source.name] = (rgb.shape[1], rgb.shape[0])
        for level in chosen:
            for knob in knobs:
                key = f"{source.name}|{level}|{knob}"
                if key not in results:
                    results[key] = code(codec, rgb, knob, level, metrics)
                    partial = out.with_name(out.name + ".partial")
                    partial.write_text(json.dumps(kept))
                    os.replace(partial, out)
        click.echo(f"{source.name} done", err=True)
    click.echo(f"{codec.name} ({codec.info.loss}), {len(sources)} pictures, {rates} rates, {threads} threads\n")
    click.echo("\n".join(table({key: results[key] for key in results if key in wanted}, sizes, chosen)))


if __name__ == "__main__":
    main()
