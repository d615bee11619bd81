"""The metrics in numpy against those in torch, which are tested against other packages."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from jndcodec.metrics import arrays, pixel, ssimulacra2
from jndcodec.metrics.blur import blur


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("size", [(5, 3), (31, 45), (100, 70), (257, 190), (12, 400)])
@pytest.mark.parametrize("quality", [10, 60, 95])
def test_scores_are_those_of_torch(photo: Callable[..., np.ndarray], size: tuple[int, int], quality: int) -> None:
    reference = photo(*size, quality)
    distorted = jpeg(reference, quality)
    a, b = tensor(reference), tensor(distorted)
    want = ssimulacra2.score(a, b).item()
    assert arrays.ssimulacra2(reference, distorted) == pytest.approx(want, abs=0.002)
    original = arrays.Reference(reference)
    assert [original.ssimulacra2(distorted)] * 2 == [
        original.ssimulacra2(distorted),
        arrays.ssimulacra2(reference, distorted),
    ]
    assert arrays.psnr(reference, distorted) == pytest.approx(pixel.psnr(a, b).item(), abs=1e-4)
    if min(size) >= 11:
        assert arrays.ms_ssim(reference, distorted) == pytest.approx(pixel.ms_ssim(a, b).item(), abs=1e-5)


def test_blur_is_that_of_torch() -> None:
    x = np.random.default_rng(0).random((45, 70), np.float32)
    np.testing.assert_allclose(arrays.blur(x), blur(torch.from_numpy(x)[None, None])[0, 0].numpy(), atol=1e-6)


def test_identical_pictures(photo: Callable[..., np.ndarray]) -> None:
    rgb = photo(64, 48)
    assert arrays.ssimulacra2(rgb, rgb) == 100 and arrays.ms_ssim(rgb, rgb) == 1 and arrays.psnr(rgb, rgb) == np.inf


def test_pictures_too_small_for_ms_ssim(photo: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ValueError, match="at least 11 x 11"):
        arrays.ms_ssim(photo(10, 40), photo(10, 40))
