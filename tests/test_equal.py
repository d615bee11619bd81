"""Pictures that are looked at side by side have equal bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from jndcodec.evaluate.codecs import Coder, classic_coder
from jndcodec.evaluate.equal import Wanted, at_sizes
from jndcodec.evaluate.runner import Source, find_sources


@pytest.fixture(scope="module")
def source(photo, tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("equal") / "a.png"
    Image.fromarray(photo(192, 256)).save(path)
    return find_sources([path])[0]


def wanted(source: Source, coder: Coder, sizes: tuple[float, ...], folder: Path) -> Wanted:
    rgb = photo_of(source)
    known = tuple((setting, len(coder.encode(rgb, setting))) for setting in coder.settings)
    return Wanted(source, coder, sizes, known, ("psnr",), str(folder))


def photo_of(source: Source):
    import numpy as np

    return np.asarray(Image.open(source.path))


def test_other_codecs_are_matched_in_bytes(source: Source, tmp_path: Path) -> None:
    sizes = tuple(len(classic_coder("avif").encode(photo_of(source), setting)) for setting in (55, 75, 88))
    for name in ("jpeg", "webp"):
        coder = replace(classic_coder(name), settings=(20, 60, 96))
        rows = at_sizes(wanted(source, coder, sizes, tmp_path))
        for row, size in zip(rows, sizes, strict=True):
            assert row.bytes == pytest.approx(size, rel=0.05)  # a step of quality is 2 to 4 %
            assert (tmp_path.parent / str(row.file)).stat().st_size == row.bytes and list(row.metrics) == ["psnr"]


def test_the_nearest_there_is_where_nothing_lies_between_or_beyond(source: Source, tmp_path: Path) -> None:
    coder = replace(classic_coder("jpeg"), settings=(30, 90), discrete=True)
    known = wanted(source, coder, (), tmp_path).known
    rows = at_sizes(wanted(source, coder, (known[0][1] * 1.1, known[1][1] * 0.9), tmp_path))
    assert [row.setting for row in rows] == [30, 90]
    free = replace(coder, discrete=False)
    assert [row.setting for row in at_sizes(wanted(source, free, (1.0, 1e9), tmp_path))] == [30, 90]
