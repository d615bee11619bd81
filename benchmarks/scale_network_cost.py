"""What the exact entropy path costs: rate with the integer scale network against rate with its float original.

    python benchmarks/scale_network_cost.py FOLDER [--weights FILE] [--checkpoint FILE]

FOLDER holds pictures. A weights file keeps the integers only, so without a checkpoint of the trainer (last.pt, best.pt)
the original is the float network with the rounded weights: then rounding between layers is all that is measured.
Rates are the coder's costs of the symbols under the tables, hyperprior included, effort 1, over all pictures.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from jndcodec import Codec
from jndcodec.entropy.rounding import quantiser
from jndcodec.entropy.scale_network import T_MAX, ScaleNetwork
from jndcodec.entropy.tables import COUNT, LOG_STEP, SCALE_MIN
from jndcodec.errors import InputError
from jndcodec.images.loading import load_picture
from jndcodec.model.gains import RateGain
from jndcodec.model.klt import reorder_detail
from jndcodec.model.native import NativeModel
from jndcodec.model.vbr import JlcVbr

KNOBS = (0.0, 0.25, 0.5, 0.75, 1.0)


class FloatScaleNetwork:
    """`ScaleNetwork` in float32, as the model was trained; what the encoder tries is as `exact` has it."""

    def __init__(self, model: JlcVbr, exact: ScaleNetwork) -> None:
        self.network, self.gain_y, self.gain_z, self.usual = model.scale_net, model.scale_y, model.scale_z, exact.usual

    def indexes_z(self, t: int) -> np.ndarray:
        return self._index(self._log(self.gain_z, t)[0, :, 0, 0]).numpy()

    @torch.inference_mode()
    def indexes_y(self, z: np.ndarray, t: int, count: int | None = None) -> np.ndarray:
        answers = self.network(torch.from_numpy(z.astype(np.float32)).permute(2, 0, 1)[None])
        log_scale = self._log(self.gain_y, t) + answers
        return self._index(log_scale)[0].permute(1, 2, 0)[..., :count].contiguous().numpy()

    @staticmethod
    def _log(gain: RateGain, t: int) -> Tensor:
        return gain.log(torch.tensor([t / T_MAX])).detach()

    @staticmethod
    def _index(log_scale: Tensor) -> Tensor:
        steps = (log_scale - float(np.log(SCALE_MIN))) / LOG_STEP
        return steps.round().clamp(0, COUNT - 1).to(torch.uint8)


def bits(model: NativeModel, rgb: np.ndarray, t: int) -> tuple[float, np.ndarray]:
    """(bits of a picture, its table indexes)."""
    y, energies = model.analyse(rgb, t)
    z = model.hyper_analyse(y, energies, t)
    symbols = model.quantise(rgb, y, z, t, quantiser(model.dead_zone, 0.0)).symbols
    return symbols.bits(model.tables), symbols.index_y


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", type=click.Path(exists=True, path_type=Path), help="[default: the default model]")
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), help="Of the training that made them.")
def main(folder: Path, weights: Path | None, checkpoint: Path | None) -> None:
    """Print the cost at five rates."""
    model = Codec(weights=weights, device="cpu", precision="fp32", engine="torch").model
    original = model.float_model
    if checkpoint:
        from jndcodec.train.checkpoint import load_checkpoint

        original = JlcVbr(model.float_model.config)
        original.load_state_dict(load_checkpoint(checkpoint)["ema"])
        with torch.no_grad():  # an export puts the channels of detail into an order of its own
            reorder_detail(original, (model.float_model.basis @ original.basis.T).argmax(1))
    exact = model.scale_network
    real = FloatScaleNetwork(original, exact)
    pictures = []
    for path in sorted(folder.iterdir()):
        try:
            pictures.append(load_picture(path, None).rgb)
        except InputError:
            continue
    click.echo(
        f"{len(pictures)} pictures, {model.name}, original from {'the checkpoint' if checkpoint else 'integers'}"
    )
    pixels = sum(rgb[..., 0].size for rgb in pictures)
    for knob in KNOBS:
        totals, moved, elements = [0.0, 0.0], 0, 0
        for rgb in pictures:
            indexes = []
            for i, network in enumerate((exact, real)):
                model.scale_network = network
                count, index = bits(model, rgb, round(knob * T_MAX))
                totals[i] += count
                indexes.append(index)
            shared = min(index.shape[2] for index in indexes)  # each codes detail up to its own last channel
            moved += int((indexes[0][..., :shared] != indexes[1][..., :shared]).sum())
            elements += indexes[0][..., :shared].size
        integer, original_bits = totals
        click.echo(
            f"t = {knob:.2f}: {integer / pixels:.4f} bpp, float {original_bits / pixels:.4f} bpp, "
            f"cost {100 * (integer / original_bits - 1):+.4f} %, {100 * moved / elements:.3f} % of the indexes differ"
        )


if __name__ == "__main__":
    main()
