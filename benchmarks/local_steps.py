"""What quantisation steps that differ from place to place would save, were they free: an upper bound, no codec.

    python benchmarks/local_steps.py FOLDER --weights WEIGHTS [--images 6] [--crop 384] [--threads 2]

The codec has one step for a whole picture at one t. Here the step of each square block is divided by
g ∝ sensitivity^(power / 2), the sensitivity to an error being measured through the decoder with the metric that the
weights were trained for. Rates are the entropy model's with scales · g, rounding is to the nearest; what it costs to
tell the decoder g is not counted.
Prints the BD-rate in SSIMULACRA2 against equal steps.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from jndcodec.effort.counting import middle
from jndcodec.effort.objective import rate_trade
from jndcodec.entropy.lookup import table_index
from jndcodec.evaluate.bdrate import bd_rate
from jndcodec.evaluate.results import Curve
from jndcodec.evaluate.runner import find_sources
from jndcodec.metrics.distortion import distortion
from jndcodec.metrics.ssimulacra2 import score
from jndcodec.model.build import load_model
from jndcodec.model.layers import gaussian_bits
from jndcodec.model.vbr import STRIDE_Y, STRIDE_Z, JlcVbr
from jndcodec.sampling import spread
from jndcodec.weights import read_info

KNOBS = (0.2, 0.35, 0.5, 0.65, 0.8)
EQUAL = (STRIDE_Y, 0.0)
TRIALS = (EQUAL, (16, 0.35), (16, 0.7), (16, 1.0), (32, 0.5), (64, 0.5))  # side of the blocks in pixels, power
COARSEST = 0.3  # elements of y with smaller scales are hardly ever coded: they say nothing of the sensitivity
WIDEST = 1.2  # of |log g|


class Coding:
    """One picture x (1, 3, H, W) in [0, 1] at rate t (1,), before rounding."""

    def __init__(self, model: JlcVbr, x: Tensor, t: Tensor) -> None:
        self.model, self.x, self.t = model, x, t
        with torch.no_grad():
            self.y = model.analyse(x, t)
            self.z_hat = model.hyper_analyse(self.y, t).round()
            self.log_scale = model.scale_y.log(t) + model.scale_net(self.z_hat).float()

    @torch.no_grad()
    def round(self, log_gain: Tensor) -> tuple[Tensor, float]:
        """y_hat with steps 1 / gain, (1, 1, h, w), and bits per pixel."""
        gain, index = log_gain.exp(), table_index(self.log_scale + log_gain)

        def symbols(y: Tensor, mean: Tensor) -> Tensor:
            return torch.round((y - mean) * gain) * (index > 0)

        def quantise(y: Tensor, mean: Tensor) -> Tensor:
            return mean + self.model.reconstruction(symbols(y, mean), index) / gain

        mean, y_hat = self.model.refine(self.z_hat, self.y, self.t, quantise)
        bits = (gaussian_bits(symbols(self.y, mean), self.log_scale + log_gain) * (index > 0)).sum()
        bits += gaussian_bits(self.z_hat, self.model.scale_z.log(self.t)).sum()
        return y_hat, bits.item() / (self.x.shape[2] * self.x.shape[3])

    def sensitivity(self, metric: str) -> tuple[Tensor, Tensor]:
        """(log of the sensitivity, elements that count) of each 16x16 block, (1, 1, h, w): of a distortion Σ c e²
        the slope is 2 c e, so slopes over errors tell c."""
        y_hat, _ = self.round(torch.zeros_like(self.y[:, :1]))
        y_hat.requires_grad_()
        loss = distortion(metric)(self.model.synthesise(y_hat, self.t), self.x).sum()
        (slope,) = torch.autograd.grad(loss, y_hat)
        counts = (self.log_scale > np.log(COARSEST)).float()
        squares = [(part.square() * counts).sum(1, keepdim=True) for part in (slope, y_hat.detach() - self.y)]
        over, under = (F.avg_pool2d(F.pad(part, (1,) * 4, mode="replicate"), 3, 1) for part in squares)
        return 0.5 * torch.log((over + 1e-20) / (under + 1e-9)), counts.sum(1, keepdim=True)


def log_gains(sensitivity: Tensor, counts: Tensor, side: int, power: float) -> Tensor:
    """log g of each 16x16 block, equal inside blocks of `side` pixels, 0 on average over what is coded."""
    n = side // STRIDE_Y
    value = sensitivity - (sensitivity * counts).sum() / counts.sum().clamp_min(1)
    value = F.avg_pool2d(value * counts, n) / F.avg_pool2d(counts, n).clamp_min(1e-3)
    return F.interpolate(0.5 * power * value, scale_factor=n).clamp(-WIDEST, WIDEST)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--images", default=6, show_default=True)
@click.option("--crop", default=384, show_default=True, help="Side of the middle crops, a multiple of 64.")
@click.option("--threads", default=2, show_default=True)
def main(folder: Path, weights: Path, images: int, crop: int, threads: int) -> None:
    """Print a line for each size of block and power."""
    if crop % STRIDE_Z:
        raise click.BadParameter(f"must be a multiple of {STRIDE_Z}", param_hint="--crop")
    torch.set_num_threads(threads)
    model, metric = load_model(weights), rate_trade(read_info(weights)).main
    model.requires_grad_(False)
    points = {trial: np.zeros((len(KNOBS), 2)) for trial in TRIALS}
    chosen = spread(find_sources([folder]), images)
    for source in chosen:
        rgb = middle(np.asarray(Image.open(source.path).convert("RGB")), crop)
        x = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255
        for i, knob in enumerate(KNOBS):
            coding = Coding(model, x, torch.tensor([knob]))
            sensitivity, counts = coding.sensitivity(metric)
            for trial in TRIALS:
                y_hat, bpp = coding.round(log_gains(sensitivity, counts, *trial))
                with torch.no_grad():
                    x_hat = (model.synthesise(y_hat, coding.t).clamp(0, 1) * 255).round() / 255
                    points[trial][i] += np.array([bpp, score(x, x_hat).item()]) / len(chosen)
    curves = {
        trial: Curve(f"{trial}", f"{trial}", part[:, 0].tolist(), {"ssimulacra2": part[:, 1].tolist()})
        for trial, part in points.items()
    }
    click.echo("| blocks | power | BD-rate in SSIMULACRA2 |\n|---|---|---|")
    for trial in TRIALS[1:]:
        click.echo(
            f"| {trial[0]} | {trial[1]:g} | {bd_rate(curves[EQUAL], curves[trial], 'ssimulacra2').percent:+.1f} % |"
        )


if __name__ == "__main__":
    main()
