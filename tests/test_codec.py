"""The library: `Codec`, `encode`, `decode`, targets."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jndcodec
from jndcodec.codec import Codec
from jndcodec.container.jlc import Flags, parse
from jndcodec.container.sections import pack_alpha, unpack_alpha
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.errors import ModelError, TargetError
from jndcodec.images.loading import Picture
from jndcodec.installed import DEFAULT_MODEL, available_models, find_by_id
from jndcodec.metrics.pixel import psnr
from jndcodec.model import grid
from jndcodec.model.interface import Model
from jndcodec.rate import target
from jndcodec.rate.jnd import ssimulacra2_from_jnd
from jndcodec.rate.search import TRIALS


@pytest.fixture(scope="module")
def codec(tiny_weights: Path) -> Codec:
    return Codec(weights=tiny_weights, device="cpu")


def tensor(image: Image.Image | np.ndarray):
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def test_the_picture_comes_back(codec: Codec, photo) -> None:
    rgb = photo(200, 300)
    decoded = codec.decode(codec.encode(Image.fromarray(rgb), quality=100))
    assert decoded.size == (300, 200) and decoded.mode == "RGB"
    assert psnr(tensor(rgb), tensor(decoded)).item() > 20


def test_rate_and_quality_rise_with_the_knob(codec: Codec, photo) -> None:
    image = Image.fromarray(photo(128, 192))
    files = [codec.encode(image, quality=q) for q in (0, 30, 60, 100)]
    sizes = [len(data) for data in files]
    errors = [np.square(np.asarray(codec.decode(data), float) - np.asarray(image)).mean() for data in files]
    assert sizes == sorted(sizes) and sizes[-1] > 2 * sizes[0]
    assert errors == sorted(errors, reverse=True)


def test_default_is_the_calibrated_knob(codec: Codec, photo) -> None:
    assert parse(codec.encode(photo_image(photo))).t == round(codec.info.t_1jnd * T_MAX)


def photo_image(photo) -> Image.Image:
    return Image.fromarray(photo(96, 120))


@pytest.mark.parametrize("source", ["path", "bytes", "stream", "image", "picture"])
def test_every_kind_of_source_gives_the_same_file(codec: Codec, photo, tmp_path: Path, source: str) -> None:
    image = photo_image(photo)
    path = tmp_path / "a.png"
    image.save(path)
    sources = {
        "path": path,
        "bytes": path.read_bytes(),
        "stream": io.BytesIO(path.read_bytes()),
        "image": image,
        "picture": Picture(np.asarray(image)),
    }
    assert codec.encode(sources[source], quality=20) == codec.encode(str(path), quality=20)


def test_symbols_beyond_their_tables_are_not_cut_off(codec: Codec, photo) -> None:
    """A bright sky over a dark ground: its DC is far from what the untrained scales of the tiny model expect."""
    rgb = photo(128, 128) // 8
    rgb[:64] = 255
    decoded = np.asarray(codec.decode(codec.encode(Image.fromarray(rgb), quality=100)))
    assert np.abs(decoded[:48].astype(int) - 255).mean() < 3


def test_padding_costs_little(codec: Codec) -> None:
    flat = codec.encode(Image.new("RGB", (1, 1), (200, 30, 60)), quality=50)
    assert len(flat) < 120
    assert codec.decode(flat).size == (1, 1)


def test_grey_and_alpha_flags(codec: Codec, photo) -> None:
    rgb = photo(40, 50)
    alpha = np.arange(2000, dtype=np.uint8).reshape(40, 50)
    data = codec.encode(Picture(rgb[..., :1].repeat(3, -1), grey=True, alpha=alpha), quality=60)
    assert parse(data).flags == Flags.GREY
    decoded = codec.decode(data)
    assert decoded.mode == "LA"
    np.testing.assert_array_equal(np.asarray(decoded)[..., 1], alpha)


@pytest.mark.parametrize("kind", ["noise", "flat", "ramp"])
def test_alpha_is_lossless(kind: str) -> None:
    alpha = {
        "noise": np.random.default_rng(0).integers(0, 256, (33, 65)),
        "flat": np.full((33, 65), 7),
        "ramp": np.mgrid[0:33, 0:65][1] * 3,
    }[kind].astype(np.uint8)
    np.testing.assert_array_equal(unpack_alpha(pack_alpha(alpha), (33, 65)), alpha)


def test_batch_equals_single(codec: Codec, photo) -> None:
    images = [Image.fromarray(photo(64, 80, seed)) for seed in range(3)]
    assert list(codec.encode_batch(images, quality=40)) == [codec.encode(image, quality=40) for image in images]


def test_progress_rises_to_one(codec: Codec, photo) -> None:
    seen: list[float] = []
    codec.encode(photo_image(photo), quality=40, verify=True, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_progress_of_both_directions_goes_window_by_window(codec: Codec, photo, monkeypatch) -> None:
    monkeypatch.setattr(grid, "WINDOW", 4)
    image, encoding, decoding = Image.fromarray(photo(128, 256)), [], []
    data = codec.encode(image, quality=40, progress=encoding.append)
    codec.decode(data, progress=decoding.append)
    for seen in (encoding, decoding):
        assert seen == sorted(seen) and seen[-1] == 1.0 and len(set(seen)) >= 8


def test_size_is_never_exceeded_and_nearly_used(codec: Codec, photo) -> None:
    image = Image.fromarray(photo(256, 256))
    smallest, largest = (len(codec.encode(image, quality=q)) for q in (0, 100))
    for share in (0.1, 0.4, 0.8):
        budget = round(smallest + share * (largest - smallest))
        size = len(codec.encode(image, size=budget))
        assert 0.93 * budget <= size <= budget
    assert len(codec.encode(image, size=10 * largest)) == largest
    with pytest.raises(TargetError):
        codec.encode(image, size=smallest - 20)
    with pytest.raises(TargetError, match="too few"):
        codec.encode(image, size=20)


def test_bpp_counts_the_whole_file(codec: Codec, photo) -> None:
    data = codec.encode(Image.fromarray(photo(256, 256)), bpp=1.0)
    assert 0.9 <= 8 * len(data) / 256**2 <= 1.0


def test_jnd_is_met(codec: Codec, photo) -> None:
    from jndcodec.metrics.ssimulacra2 import score

    image = Image.fromarray(photo(256, 256, 5))
    reached = []
    for jnd in (8.0, 6.0):
        data = codec.encode(image, jnd=jnd, effort=1)
        reached.append(score(tensor(image), tensor(codec.decode(data))).item())
        assert ssimulacra2_from_jnd(jnd) - 0.01 <= reached[-1] <= ssimulacra2_from_jnd(jnd) + 4
    assert reached[1] > reached[0]
    with pytest.raises(TargetError, match="reaches only about"):
        codec.encode(
            Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)),
            jnd=0.01,
            lossless=False,
        )


@pytest.mark.parametrize("options", [{"quality": 10, "jnd": 1}, {"quality": 101}, {"quality": -1}, {"jnd": 0}])
def test_senseless_targets(codec: Codec, photo, options: dict[str, float]) -> None:
    with pytest.raises(TargetError):
        codec.encode(photo_image(photo), **options)


@pytest.mark.parametrize("effort", [3, 4])
@pytest.mark.parametrize("options", [{"jnd": 7.0}, {"size": 5000}])
def test_no_coding_of_a_search_is_made_twice(
    options: dict[str, float], effort: int, codec: Codec, photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    codings: list[tuple[int, int]] = []
    compress = target.compress

    def counted(model: Model, rgb: np.ndarray, t: int, level: int, *others: object) -> object:
        codings.append((t, level))
        return compress(model, rgb, t, level, *others)

    monkeypatch.setattr(target, "compress", counted)
    data = codec.encode(Image.fromarray(photo(256, 256, 5)), effort=effort, **options)
    assert 1 < len(codings) == len(set(codings))
    if effort == 3:
        assert len(codings) <= TRIALS
    assert parse(data).t in dict(codings)


def test_large_pictures_are_tried_on_a_sample(photo) -> None:
    rgb = np.broadcast_to(np.arange(3000, dtype=np.int64)[None, :, None] % 256, (2000, 3000, 3)).astype(np.uint8)
    part = target.sample(rgb)
    assert part.shape == (6 * 512, 512, 3)
    assert math.prod(target.sample(np.zeros((100, 50_000, 3), np.uint8)).__array__().shape[:2]) <= target.SAMPLE_ABOVE
    small = photo(60, 70)
    assert target.sample(small) is small


@pytest.mark.parametrize("size", [(512, 768), (768, 512), (384, 800), (6 * 512, 512)])
def test_a_glance_shows_parts_of_the_picture(size: tuple[int, int]) -> None:
    rgb = np.indices(size).sum(0)[..., None].repeat(3, 2)
    few = target.glance(rgb)
    assert few is not None and sorted(few.shape[:2]) == [256, 384]
    tile = few[:128, :128, 0]
    assert (tile[1:] - tile[:-1] == 1).all() and len(np.unique(few[::128, ::128, 0])) >= 4
    assert target.glance(rgb[:383]) is target.glance(rgb[:, :383]) is target.glance(rgb[:384, :700]) is None


def test_a_search_begins_with_a_glance(codec: Codec, photo, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    compress = target.compress

    def counted(model, rgb, *arguments):
        sizes.append(rgb.size)
        return compress(model, rgb, *arguments)

    monkeypatch.setattr(target, "compress", counted)
    codec.encode(Image.fromarray(photo(400, 800, 5)), jnd=7.0, effort=1, lossless=False)
    assert sizes[0] == 256 * 384 * 3 and set(sizes[1:]) == {400 * 800 * 3}


def test_module_functions_use_the_shipped_default(photo) -> None:
    data = jndcodec.encode(photo_image(photo))
    info = find_by_id(parse(data).model_id)
    assert info is not None and info.name == available_models()[0].name == DEFAULT_MODEL
    assert jndcodec.decode(data).size == (120, 96)


def test_a_file_of_an_unknown_model_names_it(codec: Codec, photo, tiny_weights: Path) -> None:
    data = codec.encode(photo_image(photo), quality=50)
    with pytest.raises(ModelError, match=codec.id.hex()):
        jndcodec.decode(data)
    assert jndcodec.decode(data, weights=tiny_weights).size == (120, 96)
    with pytest.raises(ModelError, match=DEFAULT_MODEL):
        codec.decode(jndcodec.encode(photo_image(photo), quality=50))


def test_errors_are_one_family() -> None:
    assert issubclass(jndcodec.JndcodecError, ValueError)
    assert issubclass(ModelError, jndcodec.JndcodecError)


def test_damaged_weights_are_noticed(tiny_weights: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_weights.read_bytes())
    data[-1000] ^= 1
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        Codec(weights=path)
    path.write_bytes(data[:5000])
    with pytest.raises(ModelError):
        Codec(weights=path)


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, jndcodec, jndcodec.container.jlc, jndcodec.weights; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
