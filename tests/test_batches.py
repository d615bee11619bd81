"""Real batches: the symbols of single calls, order, errors in place, and what is read ahead."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jndcodec import batches
from jndcodec.codec import Codec
from jndcodec.errors import InputError, JndcodecError
from jndcodec.images.loading import Picture
from jndcodec.model import batch
from jndcodec.model.batch import BatchCoder, fits

SIZES = [(64, 80), (70, 101), (64, 80), (64, 80), (70, 101), (33, 17), (64, 80)]


@pytest.fixture(scope="module")
def codec(tiny_weights: Path) -> Codec:
    return Codec(weights=tiny_weights, device="cpu", engine="torch")


@pytest.fixture(scope="module")
def images(photo) -> list[Image.Image]:
    return [Image.fromarray(photo(*size, seed)) for seed, size in enumerate(SIZES)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each batch had."""
    seen: list[int] = []
    for name in ("compress", "decompress"):
        whole = getattr(BatchCoder, name)

        def counted(self, pictures, *rest, whole=whole):
            seen.append(len(pictures))
            return whole(self, pictures, *rest)

        monkeypatch.setattr(BatchCoder, name, counted)
    return seen


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("options", [{"quality": 95, "lossless": False}, {"quality": 5}, {"effort": 1}])
def test_batches_give_the_bytes_of_single_calls(codec, images, calls, options, together, monkeypatch) -> None:
    """On a CPU; as on a device, with kernels so small that they add in the same order."""
    monkeypatch.setattr(batch, "together", lambda device: together)
    files = list(codec.encode_batch(images, batch_size=3, **options))
    assert files == [codec.encode(image, **options) for image in images]
    assert sorted(calls) == [1, 1, 2, 3]
    decoded = list(codec.decode_batch(files, batch_size=3))
    for image, data in zip(decoded, files, strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(codec.decode(data)))


def test_the_shipped_model_too(images) -> None:
    codec = Codec(device="cpu", engine="torch")
    same = [image for image in images if image.size == (80, 64)]
    files = list(codec.encode_batch(same, batch_size=4, quality=90, lossless=False))
    assert files == [codec.encode(image, quality=90, lossless=False) for image in same]
    for image, data in zip(codec.decode_batch(files, batch_size=4), files, strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(codec.decode(data)))


def test_files_of_several_rates_share_a_batch(codec, images, calls) -> None:
    same = [image for image in images if image.size == (80, 64)]
    files = [codec.encode(image, quality=q, lossless=False) for image, q in zip(same, (0, 40, 80, 100), strict=True)]
    for image, data in zip(codec.decode_batch(files, batch_size=4), files, strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(codec.decode(data)))
    assert calls == [4]


def test_errors_stand_in_the_place_of_results(codec, images, tmp_path: Path) -> None:
    sources = [images[0], tmp_path / "missing.png", images[2], b"damaged"]
    found = list(codec.encode_batch(sources, batch_size=2, errors="return", quality=50))
    assert [isinstance(one, InputError) for one in found] == [False, True, False, True]
    assert found[0] == codec.encode(images[0], quality=50)
    broken = bytearray(found[0])
    broken[-9] ^= 1
    decoded = list(codec.decode_batch([found[0], bytes(broken), b"", found[2]], batch_size=4, errors="return"))
    assert [isinstance(one, JndcodecError) for one in decoded] == [False, True, True, False]
    with pytest.raises(InputError):
        list(codec.encode_batch(sources, quality=50))
    with pytest.raises(InputError, match="'raise' or 'return'"):
        list(codec.encode_batch(images, errors="ignore"))


def test_alpha_and_searches_take_the_single_way(codec, images, photo, calls) -> None:
    clear = Picture(photo(64, 80), alpha=np.tile(np.arange(80, dtype=np.uint8), (64, 1)))
    for options in ({"quality": 50}, {"size": 3000}, {"effort": 4}):
        found = list(codec.encode_batch([clear, images[0]], batch_size=2, **options))
        assert found == [codec.encode(clear, **options), codec.encode(images[0], **options)]
    assert calls == [1]  # the one without alpha, at a known quality


def test_iterators_are_read_ahead_but_not_to_their_end(codec, images, calls) -> None:
    taken: list[int] = []

    def endless():
        for i in iter(int, 1):
            taken.append(i)
            yield images[0]

    results = codec.encode_batch(endless(), batch_size=2, quality=10)
    assert next(results) == next(results)
    results.close()
    assert len(taken) <= 8 * 2 + 2 * batches.WINDOW * 2
    assert calls and set(calls) == {2}


def test_reading_goes_on_beside_the_coding(codec, images) -> None:
    """The third picture's file is opened before the first result is taken."""
    opened = threading.Event()

    class Late(io.BytesIO):
        def read(self, *size):
            opened.set()
            return super().read(*size)

    stream = io.BytesIO()
    images[0].save(stream, "PNG")
    results = codec.encode_batch([images[0], images[1], Late(stream.getvalue())], quality=10)
    next(results)
    assert opened.wait(10)
    results.close()


def test_large_pictures_fill_a_device_alone() -> None:
    assert fits((2048, 2048)) and not fits((2049, 10))
