"""How the golden files came to be; never to be run again for a version that has been released.

    python tests/golden/make.py

writes golden.safetensors (a small random model), the .jlc files, and their symbols as .npz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))
from conftest import make_photo

from jndcodec.codec import Codec
from jndcodec.container.jlc import Section, parse
from jndcodec.model.export import export_weights
from jndcodec.model.vbr import JlcVbr, VbrConfig

HERE = Path(__file__).parent
PICTURES = {"rgb": (100, 150, 0, 55.0), "low": (64, 64, 1, 0.0), "high": (70, 33, 2, 100.0), "one": (1, 1, 3, 100.0)}


def main() -> None:
    torch.manual_seed(1)
    model = JlcVbr(
        VbrConfig(c8=16, c16=16, m=16, linear=4, detail=24, ce=4, cz=8, d=8, ds=8, h8=8, h16=8, s8=1, s16=1)
    ).eval()
    weights = HERE / "golden.safetensors"
    export_weights(model, weights, name="golden", loss="none", calibration={"t_1jnd": 0.5}, record={})
    codec = Codec(weights=weights, device="cpu", precision="fp32")
    for name, (height, width, seed, quality) in PICTURES.items():
        data = codec.encode(Image.fromarray(make_photo(height, width, seed)), quality=quality, effort=1, lossless=False)
        (HERE / f"{name}.jlc").write_bytes(data)
        jlc = parse(data)
        symbols = codec.model.unpack(jlc.sections[Section.Z], jlc.sections[Section.Y], jlc.t, (height, width))
        np.savez_compressed(
            HERE / f"{name}.npz", z=symbols.z, y=symbols.y, index_z=symbols.index_z, index_y=symbols.index_y
        )


if __name__ == "__main__":
    main()
