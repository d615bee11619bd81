"""What a batch costs a GPU in waits: one, for all that comes back. Shown without one, on torch's device without data.

Tensors on "meta" have no values: whatever would need one on the host, and so make it wait for the device, raises.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from jndcodec.codec import Codec
from jndcodec.model import batch
from jndcodec.model.batch import BatchCoder
from jndcodec.model.exact_torch import DeviceIndexes
from jndcodec.model.transfer import Download, upload

META = torch.device("meta")


@pytest.fixture(scope="module")
def codec(tiny_weights: Path) -> Codec:
    return Codec(weights=tiny_weights, device="cpu", engine="torch", precision="fp32")


@pytest.fixture
def far(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> BatchCoder:
    """A coder whose model lies on the device without data."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # has not heard of it
    model = copy.copy(codec.model)
    model.device, model.float_model = META, copy.deepcopy(model.float_model).to(META)
    model.dead_zone = model.dead_zone.to(META)
    model.device_indexes = DeviceIndexes(model.scale_network, model.m, META)
    return BatchCoder(model, None)


class Copies(TorchDispatchMode):
    """Counts copies from the host to the device; `upload` makes them, from pinned memory."""

    def __init__(self) -> None:
        super().__init__()
        self.to_device = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        devices = [one.device.type for one in (*args[:1], result) if isinstance(one, torch.Tensor)]
        self.to_device += devices == ["cpu", "meta"]
        return result


def test_nothing_between_pixels_and_symbols_needs_the_host(far: BatchCoder) -> None:
    with Copies() as copies:
        z, y, index = far.choose_symbols(torch.empty(3, 64, 80, 3, dtype=torch.uint8, device=META), 40000, 1.0)
    assert (z.dtype, y.dtype, index.dtype) == (torch.int16, torch.int16, torch.uint8)
    assert z.shape == (3, 1, 2, 8) and y.shape[:3] == (3, 4, 5) == index.shape[:3] and y.shape == index.shape
    assert copies.to_device == 2  # which channels of z are coded, and the usual indexes: some hundred numbers


def test_nothing_between_symbols_and_pixels_needs_the_host(far: BatchCoder) -> None:
    m = far._model.m
    parts = [((3, 1, 2, 8), torch.int16), ((3, 4, 5, m + 20), torch.int16), ((3, 4, 5, m + 20), torch.uint8)]
    with Copies() as copies:
        pixels = far.make_pixels(*(torch.empty(s, dtype=d, device=META) for s, d in parts), torch.empty(3, device=META))
    assert pixels.shape == (3, 64, 80, 3) and pixels.dtype == torch.uint8
    assert copies.to_device == 0


def test_the_device_without_data_tells_on_whoever_waits(far: BatchCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    net = far._model.float_model
    whole = net.hyper_analyse
    monkeypatch.setattr(net, "hyper_analyse", lambda *arguments: whole(*arguments).cpu())
    with pytest.raises(NotImplementedError, match="meta"):
        far.choose_symbols(torch.empty(1, 64, 80, 3, dtype=torch.uint8, device=META), 40000, 1.0)


def test_a_batch_comes_back_at_once(codec: Codec, photo, monkeypatch: pytest.MonkeyPatch) -> None:
    """One download for each batch, in both directions, and one way in for each kind of array."""
    seen: list[tuple[str, int]] = []

    class Counted(Download):
        def __init__(self, tensors) -> None:
            seen.append(("back", len(tensors[0])))
            super().__init__(tensors)

    def counted(arrays, device):
        if arrays[0].ndim == 3:
            seen.append(("there", len(arrays)))
        return upload(arrays, device)

    monkeypatch.setattr(batch, "Download", Counted)
    monkeypatch.setattr(batch, "upload", counted)
    monkeypatch.setattr(batch, "together", lambda device: True)
    images = [Image.fromarray(photo(48, 64, seed)) for seed in range(6)]
    files = list(codec.encode_batch(images, batch_size=3, lossless=False))
    assert seen == [("there", 3), ("back", 3)] * 2
    seen.clear()
    assert len(list(codec.decode_batch(files, batch_size=3))) == 6
    assert seen == [("there", 3), ("there", 3), ("there", 3), ("back", 3)] * 2


def test_a_device_finds_the_indexes_of_the_host() -> None:
    """Of the model that ships, with z as large as it can be."""
    model = Codec(device="cpu", engine="torch").model
    rng = np.random.default_rng(0)
    shape = (2, 3, 4, model.scale_network.layers[0].weight.shape[1])
    for spread in (2, 40, 32767):
        z = rng.integers(-spread, spread + 1, shape).astype(np.int16)
        for t, count in ((0, 5), (40000, 300), (65535, 768)):
            found = model.device_indexes(torch.from_numpy(z).permute(0, 3, 1, 2).float(), t, (10, 15), count)
            expected = np.stack([model.indexes(one, t, (10, 15), count) for one in z])
            np.testing.assert_array_equal(found.permute(0, 2, 3, 1).numpy(), expected)
            assert len(np.unique(expected)) > 2


def test_what_goes_up_comes_down() -> None:
    arrays = [np.arange(6, dtype=np.int16).reshape(2, 3) + i for i in range(4)]
    there = upload(arrays, torch.device("cpu"))
    coming = Download([there, there[:1].float()])
    with ThreadPoolExecutor(4) as threads:
        for first, second in threads.map(lambda _: coming.wait(), range(8)):
            np.testing.assert_array_equal(first, np.stack(arrays))
            np.testing.assert_array_equal(second, arrays[0][None])
