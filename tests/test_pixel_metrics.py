"""PSNR and MS-SSIM against their formulas and an independent implementation."""

from __future__ import annotations

import math

import pytest
import torch

from jndcodec.metrics.pixel import ms_ssim, psnr


def tensor(picture) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255


def test_psnr_is_on_8_bit_values() -> None:
    ref = torch.full((2, 3, 4, 4), 100 / 255)
    dist = ref.clone()
    dist[0] += 1 / 255
    dist[1] += 0.4 / 255  # rounds to the same value
    assert psnr(ref, dist)[0].item() == pytest.approx(20 * math.log10(255), abs=1e-4)
    assert psnr(ref, dist)[1].item() == math.inf


def test_psnr_clips_what_a_file_cannot_hold() -> None:
    white = torch.ones(1, 3, 8, 8)
    assert psnr(white, white * 1.5).item() == math.inf


@pytest.mark.parametrize("size", [(176, 176), (200, 333), (256, 181)])
def test_ms_ssim_agrees_with_the_package(photo, size) -> None:
    package = pytest.importorskip("pytorch_msssim")
    ref = torch.cat([tensor(photo(*size, seed=s)) for s in (1, 2)])
    dist = (ref + 0.05 * torch.randn(ref.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    want = package.ms_ssim(ref, dist, data_range=1.0, size_average=False)
    assert torch.allclose(ms_ssim(ref, dist), want, atol=1e-5)
    assert (want < 0.99).all()


def test_ms_ssim_of_small_patches_uses_fewer_scales(photo) -> None:
    ref = tensor(photo(64, 48, seed=3))
    noise = torch.randn(ref.shape, generator=torch.Generator().manual_seed(1))
    values = [ms_ssim(ref, ref + s * noise).item() for s in (0, 0.02, 0.1)]
    assert values[0] == 1 and 1 > values[1] > values[2] > 0
    with pytest.raises(ValueError, match="11"):
        ms_ssim(ref[..., :10], ref[..., :10])


def test_ms_ssim_gradient(photo) -> None:
    ref = tensor(photo(176, 176, seed=4))
    dist = (ref + 0.03 * torch.randn(ref.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
    (gradient,) = torch.autograd.grad((1 - ms_ssim(ref, dist)).sum(), dist)
    direction, step = gradient / gradient.norm(), 0.05
    with torch.no_grad():
        slope = (ms_ssim(ref, dist - step * direction) - ms_ssim(ref, dist + step * direction)) / (2 * step)
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=0.05)


def test_ms_ssim_gradient_is_finite_at_the_extremes(photo) -> None:
    ref = tensor(photo(64, 64, seed=5))
    for other in (ref, 1 - ref, torch.zeros_like(ref)):
        dist = other.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(ms_ssim(ref, dist).sum(), dist)
        assert torch.isfinite(gradient).all()
