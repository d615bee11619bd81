"""Published figures as reference curves: CompressAI's models on the Kodak pictures, never mixed with measured ones."""

from __future__ import annotations

import json
from importlib.resources import files

from jndcodec.evaluate.results import Curve


def published_curves() -> list[Curve]:
    """CompressAI's hyperprior models for MSE on Kodak, PSNR-RGB and MS-SSIM; the file names its source."""
    found = json.loads(files("jndcodec.evaluate").joinpath("compressai_kodak.json").read_text(encoding="utf-8"))
    return [
        Curve(
            curve["name"],
            f"{curve['name']} (published)",
            curve["bpp"],
            {"psnr": curve["psnr"], "ms_ssim": curve["ms_ssim"]},
            learned=True,
            published=True,
        )
        for curve in found["curves"]
    ]


def source() -> str:
    content = json.loads(files("jndcodec.evaluate").joinpath("compressai_kodak.json").read_text(encoding="utf-8"))
    return f"{content['source']}: {content['pictures']}"


def is_kodak(pictures: list[str], sizes: list[tuple[int, int]]) -> bool:
    """Whether these are the pictures that the published figures are about: the 24 of Kodak, by name and size."""
    expected = {f"kodim{i:02d}" for i in range(1, 25)}
    return set(pictures) == expected and all(set(size) == {512, 768} for size in sizes)
