"""ColorVideoVDP against its package, its gradient, and its behaviour at the edges."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from jndcodec.metrics import cvvdp
from jndcodec.metrics.banded import Axis, separable
from jndcodec.metrics.light import linear_light


def tensor(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def coded(picture: np.ndarray, form: str, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, form, quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


@pytest.mark.parametrize(
    ("form", "quality", "size"),
    [("JPEG", 90, (256, 256)), ("JPEG", 20, (192, 128)), ("AVIF", 70, (320, 448)), ("AVIF", 30, (64, 64))],
)
def test_agrees_with_the_package(photo, form: str, quality: int, size: tuple[int, int]) -> None:
    pytest.importorskip("pycvvdp")
    from jndcodec.metrics import external

    ref = photo(*size, seed=quality)
    dist = coded(ref, form, quality)
    ours = cvvdp.jod(cvvdp.raw(tensor(ref), tensor(dist))).item()
    assert ours == pytest.approx(external.cvvdp(ref, dist), abs=0.01)
    assert ours < 9.99


@pytest.fixture(scope="module")
def pair(photo) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures of 70 x 135 and their noisy versions."""
    ref = tensor(photo(70, 135, seed=1), photo(70, 135, seed=2))
    noise = torch.randn(ref.shape, generator=torch.Generator().manual_seed(0))
    return ref, (ref + torch.tensor([0.01, 0.1])[:, None, None, None] * noise).clamp(0, 1)


def test_gradient_is_the_slope(pair) -> None:
    ref, dist = pair
    dist = dist.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cvvdp.raw(ref, dist).sum(), dist)
    direction = (gradient.sign() * 1e-4).detach()
    with torch.no_grad():
        numeric = (cvvdp.raw(ref, dist + direction) - cvvdp.raw(ref, dist - direction)).sum() / 2
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=0.01, atol=0)


def test_a_batch_is_its_pictures_one_by_one(pair) -> None:
    ref, dist = pair
    together = cvvdp.raw(ref, dist)
    assert together[1] > 3 * together[0] > 0
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], cvvdp.raw(ref[i : i + 1], dist[i : i + 1]))


@pytest.mark.parametrize("size", [(8, 8), (3, 40), (1, 1), (17, 300)])
def test_identity_is_zero_with_a_finite_gradient(size: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *size)
    y = x.clone().requires_grad_()
    q = cvvdp.raw(x, y)
    (gradient,) = torch.autograd.grad(q.sum(), y)
    assert abs(q.item()) < 1e-3 and gradient.isfinite().all()
    assert cvvdp.jod(q).item() == pytest.approx(10, abs=1e-4)


def test_blocks_are_the_whole_matrix() -> None:
    wide = cvvdp._mask_blur(330, torch.device("cpu"))
    assert len(wide.blocks.parts) > 1
    x = torch.rand(2, 3, 330, 20, requires_grad=True)
    narrow = Axis(np.random.default_rng(0).random((7, 20), np.float32), torch.device("cpu"))
    y = separable(x, wide, narrow)
    expected = wide.matrix @ x @ narrow.matrix.T
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(separable(x.transpose(2, 3), narrow, wide), expected.transpose(2, 3))
    towards = torch.rand(y.shape)
    for a, b in zip(torch.autograd.grad(y, x, towards), torch.autograd.grad(expected, x, towards), strict=True):
        torch.testing.assert_close(a, b)


def test_linear_light() -> None:
    x = torch.linspace(0, 1, 999, dtype=torch.float64).requires_grad_()
    y = linear_light(x)
    expected = torch.where(x <= 0.04045, x / 12.92, ((x.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v.sum(), x)[0] for v in (y, expected)))
