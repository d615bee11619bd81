"""SSIMULACRA2 against an independent implementation, its gradient, and its behaviour at the edges."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from jndcodec.metrics import ssimulacra2
from jndcodec.metrics.blur import blur


def coded(picture: np.ndarray, form: str, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, form, quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255


def reference(tmp_path, a: np.ndarray, b: np.ndarray) -> float:
    package = pytest.importorskip("ssimulacra2")
    Image.fromarray(a).save(tmp_path / "a.png")
    Image.fromarray(b).save(tmp_path / "b.png")
    return package.compute_ssimulacra2(str(tmp_path / "a.png"), str(tmp_path / "b.png"))


@pytest.mark.parametrize(
    ("form", "quality", "size"),
    [
        ("JPEG", 95, (256, 256)),
        ("JPEG", 60, (333, 251)),
        ("JPEG", 15, (256, 384)),
        ("WEBP", 80, (257, 400)),
        ("WEBP", 30, (256, 256)),
        ("JPEG", 80, (100, 70)),
        ("JPEG", 70, (31, 45)),
    ],
)
def test_agrees_with_the_package(tmp_path, photo, form, quality, size) -> None:
    ref = photo(*size, seed=quality)
    dist = coded(ref, form, quality)
    ours = ssimulacra2.score(tensor(ref), tensor(dist)).item()
    assert ours == pytest.approx(reference(tmp_path, ref, dist), abs=0.5)
    assert ours < 99


def test_weights_are_those_of_the_package() -> None:
    package = pytest.importorskip("ssimulacra2.ssimulacra2")
    assert np.array_equal(np.array(ssimulacra2.WEIGHTS).ravel(), package.weights)


def test_blur_is_a_gaussian_mirrored_above_and_below_and_zero_beside() -> None:
    x = torch.rand(2, 3, 45, 70, dtype=torch.float64)
    row = torch.exp(-0.5 * (torch.arange(-5, 6, dtype=torch.float64) / 1.5) ** 2)
    kernel = torch.outer(row, row) / row.sum() ** 2
    mirrored = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (5, 5), (0, 0)), mode="symmetric"))
    want = torch.nn.functional.conv2d(mirrored.reshape(6, 1, 55, 70), kernel[None, None], padding=(0, 5))
    assert torch.allclose(blur(x), want.reshape(x.shape), atol=1e-12)
    assert torch.autograd.gradcheck(blur, torch.rand(1, 2, 9, 37, dtype=torch.float64, requires_grad=True))


def test_batch_equals_single_pictures(photo) -> None:
    refs = torch.cat([tensor(photo(64, 96, seed=s)) for s in (1, 2)])
    dists = (refs + torch.linspace(-0.05, 0.05, 96)).clamp(0, 1)
    both = ssimulacra2.score(refs, dists)
    one = torch.cat([ssimulacra2.score(refs[i : i + 1], dists[i : i + 1]) for i in (0, 1)])
    assert torch.allclose(both, one, atol=1e-3)


def test_large_pictures_go_channel_by_channel_with_the_same_result(photo, monkeypatch) -> None:
    ref = tensor(photo(128, 128, seed=3))
    dist = (ref * 0.97 + 0.01).clamp(0, 1)
    whole = ssimulacra2.raw(ref, dist)
    monkeypatch.setattr(ssimulacra2, "SPLIT", 1)
    assert torch.allclose(ssimulacra2.raw(ref, dist), whole, rtol=1e-4)


def test_gradient_by_finite_differences(photo) -> None:
    torch.manual_seed(0)
    ref = tensor(photo(64, 64, seed=4))
    dist = tensor(coded(photo(64, 64, seed=4), "JPEG", 50)).requires_grad_()
    (gradient,) = torch.autograd.grad(ssimulacra2.raw(ref, dist).sum(), dist)
    ascent = gradient / gradient.norm()
    for direction in (ascent, ascent + torch.randn_like(dist) / dist.numel() ** 0.5):
        step = 2e-3
        with torch.no_grad():
            high, low = (ssimulacra2.raw(ref, dist + s * direction) for s in (step, -step))
        slope = ((high - low) / (2 * step)).item()
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=0.02)
        assert slope > 0


def test_identity_is_100_with_a_finite_gradient(photo) -> None:
    ref = tensor(photo(80, 64, seed=5))
    dist = ref.clone().requires_grad_()
    raw = ssimulacra2.raw(ref, dist)
    assert raw.item() == 0
    assert ssimulacra2.score(ref, ref.clone()).item() == 100
    for value in (raw, ssimulacra2.score(ref, dist)):
        (gradient,) = torch.autograd.grad(value.sum(), dist, retain_graph=True)
        assert torch.isfinite(gradient).all()
    for flat in (0.0, 1.0):
        x = torch.full((1, 3, 16, 16), flat, requires_grad=True)
        (gradient,) = torch.autograd.grad(ssimulacra2.raw(torch.full((1, 3, 16, 16), flat), x).sum(), x)
        assert torch.isfinite(gradient).all()


def test_a_hardly_different_picture_is_close_to_100(photo) -> None:
    ref = tensor(photo(128, 128, seed=6))
    dist = ref.clone()
    dist[0, :, 64, 64] += 1 / 255
    assert 97 < ssimulacra2.score(ref, dist).item() < 100


def test_autocast_changes_nothing(photo) -> None:
    ref = tensor(photo(64, 64, seed=7))
    dist = (ref + 0.02).clamp(0, 1)
    plain = ssimulacra2.raw(ref, dist)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ssimulacra2.raw(ref, dist), plain)


def test_serves_training_after_inference_mode(photo) -> None:
    ref = tensor(photo(32, 32, seed=8))
    with torch.inference_mode():
        ssimulacra2.score(ref, ref)
    dist = (ref + 0.01).requires_grad_()
    ssimulacra2.raw(ref, dist).sum().backward()
    assert dist.grad is not None and dist.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (8, 8)])
def test_small_pictures(size) -> None:
    ref = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    assert ssimulacra2.score(ref, ref).item() == 100
    assert ssimulacra2.score(ref, 1 - ref).item() < 98


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_and_can_be_captured(photo) -> None:
    ref = tensor(photo(128, 128, seed=9))
    dist = (ref + 0.02).clamp(0, 1)
    want = ssimulacra2.raw(ref, dist)
    a, b = ref.cuda(), dist.cuda().requires_grad_()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):  # a capture needs a warm-up beside the main stream
        ssimulacra2.raw(a, b).sum().backward()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    b.grad = None
    with torch.cuda.graph(graph):
        out = ssimulacra2.raw(a, b)
        out.sum().backward()
    graph.replay()
    assert torch.allclose(out.detach().cpu(), want, rtol=1e-3)
    assert torch.isfinite(b.grad).all() and b.grad.abs().sum() > 0
