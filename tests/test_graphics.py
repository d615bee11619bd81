"""Pictures that are no photos: never larger than the best PNG or lossless WebP, never far off in silence."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run, write_png
from PIL import Image, ImageDraw

from jndcodec import Codec
from jndcodec.container.jlc import parse
from jndcodec.errors import TargetError
from jndcodec.rate.exact import ExactFile
from jndcodec.rate.target import distance

SIZE = (84, 112)
ROWS, COLUMNS = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
RNG = np.random.default_rng(0)


def draw(background: object, *shapes: tuple[str, tuple[object, ...], dict[str, object]]) -> Image.Image:
    image = Image.new("RGB", SIZE[::-1], background)
    pen = ImageDraw.Draw(image)
    for name, arguments, options in shapes:
        getattr(pen, name)(*arguments, **options)
    return image


def text(background: object, ink: object) -> Image.Image:
    lines = [("text", ((4, 3 + 12 * i), f"{i} The quick brown fox {i * i}"), {"fill": ink}) for i in range(10)]
    return draw(background, *lines)


def buttons() -> Image.Image:
    boxes = [((10 + 50 * (i % 3), 10 + 28 * (i // 3)), i) for i in range(12)]
    return draw(
        (236, 236, 240),
        *(("rounded_rectangle", ((x, y, x + 42, y + 20), 5), {"fill": (40 + 15 * i, 120, 200)}) for (x, y), i in boxes),
        *(("text", ((x + 4, y + 4), f"Nr. {i}"), {"fill": "white"}) for (x, y), i in boxes),
    )


def chart() -> Image.Image:
    bars = [(10 + 12 * i, 110 - i * 31 % 90, 18 + 12 * i, 110) for i in range(12)]
    wave = [(x, 60 - int(40 * math.sin(x / 14))) for x in range(160)]
    return draw(
        "white", *(("rectangle", (box,), {"fill": (31, 119, 180)}) for box in bars), ("line", (wave,), {"fill": 0})
    )


def lines() -> Image.Image:
    big = Image.new("L", (640, 480), 255)
    pen = ImageDraw.Draw(big)
    for x, y, r in RNG.integers(10, 300, (20, 3)).tolist():
        pen.arc((x, y, x + r, y + r), 0, 300, fill=0, width=4)
    return big.resize(SIZE[::-1], Image.Resampling.LANCZOS)


def blocks(colours: np.ndarray, count: int, side: int) -> Image.Image:
    picks = RNG.integers(0, len(colours), (count, count)) * (RNG.random((count, count)) < 0.6)
    return Image.fromarray(colours[picks].astype(np.uint8)).resize((count * side,) * 2, Image.Resampling.NEAREST)


def table() -> Image.Image:
    rules = [("line", ((0, 12 * i, 160, 12 * i),), {"fill": (200, 200, 205)}) for i in range(10)]
    cells = [
        ("text", ((4 + 40 * (i % 4), 1 + 12 * (i // 4)), str(i * i * 7)), {"fill": (0, 60, 90)}) for i in range(40)
    ]
    return draw("white", *rules, *cells)


def icon() -> Image.Image:
    image = Image.new("RGBA", (256, 256))
    pen = ImageDraw.Draw(image)
    pen.ellipse((10, 10, 245, 245), fill=(200, 60, 40, 255))
    pen.ellipse((60, 60, 195, 195), fill=(250, 220, 40, 128))
    return image.resize((64, 64), Image.Resampling.LANCZOS)


GRAPHICS = {
    "text on white": text("white", "black"),
    "text on dark": text((20, 20, 28), (200, 220, 200)),
    "buttons": buttons(),
    "chart": chart(),
    "lines": lines(),
    "pixel art": blocks(RNG.integers(0, 256, (16, 3)), 16, 4),
    "table": table(),
    "code": blocks(np.array([[0] * 3, [255] * 3]), 29, 2),
    "dithered": Image.fromarray((ROWS + COLUMNS).astype(np.uint8)).convert("1").convert("L"),
    "gradient": Image.fromarray(np.stack([2 * ROWS, COLUMNS, ROWS + COLUMNS // 2], -1).astype(np.uint8)),
    "icon": icon(),
    "one colour": Image.new("RGB", (200, 100), (10, 200, 90)),
}


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(threads=1)


def best_of_others(image: Image.Image) -> int:
    """Bytes of the best PNG, with a palette too, and lossless WebP."""
    ways: list[tuple[Image.Image, str, dict[str, object]]] = [(image, "PNG", {"optimize": True})]
    ways += [(image, "WEBP", {"lossless": True, "method": 6, "quality": q}) for q in (75, 80, 100)]
    if image.mode != "RGBA" and image.convert("RGB").getcolors(256):
        ways.append((image.convert("RGB").quantize(256, dither=Image.Dither.NONE), "PNG", {"optimize": True}))
    sizes = []
    for picture, name, options in ways:
        stream = io.BytesIO()
        picture.save(stream, name, **options)
        sizes.append(stream.tell())
    return min(sizes)


@pytest.mark.parametrize("name", GRAPHICS)
def test_the_default_is_never_larger_than_others_nor_far_off_in_silence(name: str, codec: Codec) -> None:
    image = GRAPHICS[name]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        data = codec.encode(image)
    decoded = codec.decode(data)
    assert len(data) <= best_of_others(image)
    if parse(data).lossless:
        seen = np.asarray(image.convert("RGBA"))[..., 3] > 0
        np.testing.assert_array_equal(np.asarray(decoded)[seen], np.asarray(image)[seen])
        assert not said and decoded.mode == image.mode
    else:
        reached = distance(*(np.asarray(each.convert("RGB")) for each in (image, decoded)))
        assert reached <= 1.05 or any(f"estimated {reached:.1f} JND" in str(note.message) for note in said)


def test_photos_stay_with_the_model_and_pay_next_to_nothing(
    codec: Codec, photo: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExactFile, "_file", lambda *_: pytest.fail("coded in full"))
    monkeypatch.setattr("jndcodec.rate.target.distance", lambda *_: pytest.fail("measured"))
    assert not parse(codec.encode(Image.fromarray(photo(200, 220)))).lossless


def test_forced_either_way(codec: Codec, photo: Callable[..., np.ndarray]) -> None:
    drawing, picture = GRAPHICS["chart"], Image.fromarray(photo(64, 64))
    assert not parse(codec.encode(drawing, lossless=False)).lossless
    data = codec.encode(picture, lossless=True, verify=True)
    np.testing.assert_array_equal(np.asarray(codec.decode(data)), np.asarray(picture))
    with pytest.raises(TargetError, match="lossless"):
        codec.encode(picture, lossless=True, quality=50)


def test_where_the_model_does_not_reach_the_goal(codec: Codec) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    with pytest.warns(UserWarning, match="coded lossless"):
        assert parse(codec.encode(noise, jnd=0.001)).lossless
    size = len(codec.encode(GRAPHICS["chart"]))
    assert len(codec.encode(GRAPHICS["chart"], size=size)) == size
    with pytest.raises(TargetError):
        codec.encode(GRAPHICS["chart"], size=30)


def test_any_size_that_a_file_has_can_be_asked_for(codec: Codec, photo: Callable[..., np.ndarray]) -> None:
    for image in (
        Image.fromarray(photo(40, 60)),
        Image.new("RGB", (1, 1), (9, 90, 9)),
        GRAPHICS["icon"].convert("RGB"),
    ):
        smallest = min(len(codec.encode(image, quality=q)) for q in (0, 1, 5, 20, 60))
        assert len(codec.encode(image, size=smallest)) <= smallest


def test_the_command_line(tmp_path: Path, photo: Callable[..., np.ndarray], tiny_weights: Path) -> None:
    source = write_png(tmp_path / "a.png", photo(48, 48))
    drawing = write_png(tmp_path / "b.png", np.asarray(GRAPHICS["chart"]), compress_level=0)
    target = tmp_path / "o.jlc"
    encode = ["encode", source, "-f", "-o", target, "--weights", tiny_weights]
    result = run(*encode, "--lossless", "--verify")
    assert result.exit_code == 0 and "lossless," in result.stderr and parse(target.read_bytes()).lossless
    assert run(*encode).exit_code == 0 and not parse(target.read_bytes()).lossless
    encode[1] = drawing
    assert run(*encode).exit_code == 0 and parse(target.read_bytes()).lossless
    assert run(*encode, "--lossy").exit_code == 0 and not parse(target.read_bytes()).lossless
    assert run(*encode, "--lossless", "-q", 3).exit_code == 2


def test_larger_than_the_input_is_said(tmp_path: Path, tiny_weights: Path, photo: Callable[..., np.ndarray]) -> None:
    Image.fromarray(photo(48, 48)).save(tmp_path / "a.jpg", quality=5)
    GRAPHICS["one colour"].save(tmp_path / "b.webp", lossless=True)
    options = ["-f", "--weights", tiny_weights]
    assert "larger than the input, which has" in run("encode", tmp_path / "b.webp", "--lossy", *options).stderr
    assert "use --lossy" in run("encode", tmp_path / "a.jpg", "--lossless", *options).stderr
    assert "larger than the input" not in run("encode", write_png(tmp_path / "a.png", photo(48, 48)), *options).stderr


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
def test_flat_pictures_are_exact_at_every_quality(colour: tuple[int, int, int], codec: Codec) -> None:
    for size in ((8, 8), (1, 1), (70, 48), (300, 20)):
        flat = Image.new("RGB", size, colour)
        for quality in (0, 30, 100):
            decoded = codec.decode(codec.encode(flat, quality=quality, effort=1))
            assert decoded.getcolors() == [(size[0] * size[1], colour)]
