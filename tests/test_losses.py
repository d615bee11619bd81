"""Every loss against its formula on small tensors, gradients included."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from train_tools import StubFeatures

from jndcodec.errors import InputError
from jndcodec.metrics.distortion import distortion, mse_255, tone_255
from jndcodec.metrics.trade import LAMBDA, MSE_AT_TOP, RateTrade, fixed_rate, variable_rate
from jndcodec.train import losses
from jndcodec.train.distributed import Team
from jndcodec.train.objective import Objective


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor, Tensor]:
    """x, x_jnd, x_hat: (2, 3, 64, 64); x_hat of the first is nearer to x than x_jnd is, of the second farther."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, 3, 64, 64, generator=generator) * 0.5 + 0.25
    noise = torch.randn(2, 3, 64, 64, generator=generator)
    near = torch.tensor([0.01, 0.05])[:, None, None, None]
    return x, x + 0.03 * noise.flip(0), (x + near * noise).requires_grad_()


RATE, LMBDA = torch.tensor([0.5, 0.7]), torch.tensor([0.01, 0.02])


def test_tone_sees_block_means_alone(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    x = pictures[0]
    checker = 1 - 2.0 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2)
    torch.testing.assert_close(tone_255(x + 0.1 * checker, x), torch.zeros(2), atol=1e-6, rtol=0)
    tint = torch.tensor([-0.9, 0.4, -0.9])[:, None, None] / 255
    torch.testing.assert_close(tone_255(x + tint, x), torch.full((2,), (0.81 + 0.16 + 0.81) / 3), rtol=1e-3, atol=0)


def test_only_squared_error_fades_beside_another_metric() -> None:
    trade = variable_rate({"ssimulacra2": 0.5, "cvvdp": 0.35, "ms-ssim": 0.1, "mse": 0.05, "tone": 1.0}, "")
    ends = torch.tensor([0.0, 1.0])
    for metric in ("cvvdp", "ms-ssim", "tone"):
        ratio = trade.lmbda(ends, metric) / trade.lmbda(ends)
        torch.testing.assert_close(trade.share(metric, ends), trade.shares[metric] * ratio)
    ratio = trade.lmbda(ends, "mse") / trade.lmbda(ends)
    torch.testing.assert_close(trade.share("mse", ends), 0.05 * ratio * torch.tensor([1.0, MSE_AT_TOP]))


def objective(loss: str, variant: str, metric: str = "mse", **options: object) -> Objective:
    """At a fixed λ of 0.0067 (so the level is 1)."""
    return Objective(fixed_rate({metric: 1.0}, 3, ""), loss, variant, None, **options)


def gradient(value: Tensor, x_hat: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), x_hat)[0]


def mse(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([255**2 * ((p - q) ** 2).mean() for p, q in zip(a, b, strict=True)])


def test_mse_is_255_squared_times_the_mean_square(pictures: tuple[Tensor, ...]) -> None:
    x, _, x_hat = pictures
    torch.testing.assert_close(mse_255(x_hat, x), mse(x_hat, x))


def test_rd(pictures: tuple[Tensor, ...]) -> None:
    x, _, x_hat = pictures
    value = losses.rd(RATE, mse_255(x_hat, x), LMBDA)
    torch.testing.assert_close(value, RATE + LMBDA * mse(x_hat, x))
    expected = LMBDA[:, None, None, None] * 255**2 * 2 * (x_hat - x) / x[0].numel()
    torch.testing.assert_close(gradient(value, x_hat), expected)


def test_pwl_paper_sees_the_jnd_picture_alone(pictures: tuple[Tensor, ...]) -> None:
    x, x_jnd, x_hat = pictures
    parts = objective("pwl", "paper")(x, x_jnd, torch.zeros(2), x_hat, RATE * 64 * 64)
    torch.testing.assert_close(parts.loss, (RATE + 0.0067 * mse(x_hat, x_jnd)).mean())
    other = objective("pwl", "paper")(x * 0, x_jnd, torch.zeros(2), x_hat, RATE * 64 * 64)
    torch.testing.assert_close(gradient(parts.loss, x_hat), gradient(other.loss, x_hat))


def test_pwl_balanced_mixes_both_targets(pictures: tuple[Tensor, ...]) -> None:
    x, x_jnd, x_hat = pictures
    parts = objective("pwl", "balanced")(x, x_jnd, torch.zeros(2), x_hat, RATE * 64 * 64)
    expected = RATE + 0.0067 * (0.5 * mse(x_hat, x) + 0.5 * mse(x_hat, x_jnd))
    torch.testing.assert_close(parts.loss, expected.mean())


@pytest.mark.parametrize("metric", ["mse", "ms-ssim", "ssimulacra2", "cvvdp"])
def test_iwl_paper_has_the_gradient_of_rd(pictures: tuple[Tensor, ...], metric: str) -> None:
    x, x_jnd, x_hat = pictures
    iwl = objective("iwl", "paper", metric)(x, x_jnd, torch.zeros(2), x_hat, RATE * 64 * 64).loss
    rd = objective("rd", "paper", metric)(x, None, torch.zeros(2), x_hat, RATE * 64 * 64).loss
    assert not torch.isclose(iwl, rd)
    d = distortion(metric)
    lmbda = objective("rd", "paper", metric).trade.lmbda(torch.zeros(2))
    torch.testing.assert_close(rd - iwl, (lmbda * d(x_jnd, x)).mean())
    torch.testing.assert_close(gradient(iwl, x_hat), gradient(rd, x_hat))


def test_iwl_balanced_is_a_hinge(pictures: tuple[Tensor, ...]) -> None:
    x, x_jnd, x_hat = pictures
    d, d_jnd = mse_255(x_hat, x), mse_255(x_jnd, x)
    assert d[0] < d_jnd[0] and d[1] > d_jnd[1]
    hinge = losses.iwl_balanced(RATE, d, d_jnd, LMBDA, weight=1.0)
    torch.testing.assert_close(hinge[0], RATE[0])  # below the JND level: nothing but the rate
    assert gradient(hinge[0], x_hat).abs().max() == 0
    torch.testing.assert_close(hinge[1], RATE[1] + LMBDA[1] * (d[1] - d_jnd[1]))
    plain = losses.iwl_balanced(RATE, mse_255(x_hat, x), d_jnd, LMBDA, weight=0.9)
    torch.testing.assert_close(plain[0], RATE[0] + LMBDA[0] * 0.1 * d[0])
    assert gradient(plain[0], x_hat).abs().max() > 0


def test_fwl_paper(pictures: tuple[Tensor, ...]) -> None:
    x, x_jnd, x_hat = pictures
    network = StubFeatures()
    parts = objective("fwl", "paper", features=network)(x, x_jnd, torch.zeros(2), x_hat, RATE * 64 * 64)
    feature = ((network(x_hat)[-1] - network(x_jnd)[-1]) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(parts.loss, (RATE + 0.0067 * (0.9 * mse(x_hat, x) + 0.1 * feature)).mean())


def test_fwl_balanced_starts_with_equal_gradients(pictures: tuple[Tensor, ...]) -> None:
    x, x_jnd, x_hat = pictures
    fwl, t = objective("fwl", "balanced", features=StubFeatures()), torch.zeros(2)
    fwl.measure_scale(x, x_jnd, x_hat, t, Team())
    assert fwl.weight == 0.5 and fwl.feature_scale != 1
    pixel = gradient(fwl.distance(x_hat, x, t), x_hat)
    feature = gradient(fwl.feature_scale * fwl.feature_term(x_hat, x_jnd), x_hat)
    norms = [g.flatten(1).norm(dim=1).mean() for g in (pixel, feature)]
    torch.testing.assert_close(norms[0], norms[1])


def test_feature_distance_ignores_the_range_of_a_layer() -> None:
    a, b = [torch.rand(2, 4, 5, 5) for _ in range(2)]
    once = losses.feature_distance([a, b], [b, a])
    torch.testing.assert_close(losses.feature_distance([a * 1000, b], [b * 7, a]), once)
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1).flatten(1).mean(1)
    torch.testing.assert_close(once, 2 - 2 * cosine)


def test_gradient_of_every_loss_by_finite_differences(pictures: tuple[Tensor, ...]) -> None:
    x, x_jnd, x_hat = (p.detach().double() for p in pictures)
    network = StubFeatures().double()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for loss in ("rd", "pwl", "iwl", "fwl"):
        for variant in ("paper", "balanced"):
            if (loss, variant) == ("fwl", "balanced"):
                continue  # its features are taken in float32; the test of equal gradients covers it
            f = objective(loss, variant, features=network)

            def value(p: Tensor, f: Objective = f) -> Tensor:
                return f(x, x_jnd, torch.zeros(2).double(), p, RATE * 4096).loss

            p = x_hat.clone().requires_grad_()
            slope = (gradient(value(p), p) * direction).sum()
            step = 1e-5
            numeric = (value(x_hat + step * direction) - value(x_hat - step * direction)) / (2 * step)
            torch.testing.assert_close(slope, numeric, rtol=1e-3, atol=1e-6, msg=f"{loss} {variant}")


def test_lambda_is_log_spaced_over_the_knob() -> None:
    t = torch.tensor([0.0, 0.5, 1.0])
    low, high = LAMBDA["mse"]
    torch.testing.assert_close(
        variable_rate({"mse": 1.0}, "").lmbda(t), torch.tensor([low, math.sqrt(low * high), high])
    )
    torch.testing.assert_close(variable_rate({"mse": 1.0}, "1:4").lmbda(t), torch.tensor([1.0, 2.0, 4.0]))
    torch.testing.assert_close(fixed_rate({"mse": 1.0}, 3, "0.5").lmbda(t), torch.full((3,), 0.5))
    with pytest.raises(InputError, match="lambda"):
        variable_rate({"mse": 1.0}, "0:4")


def test_level_evens_out_the_rates() -> None:
    trade = variable_rate({"mse": 1.0}, "")
    t = torch.tensor([0.0, 0.5, 1.0])
    level = trade.level(t)
    torch.testing.assert_close(level, (trade.lmbda(t) / trade.lmbda(t)[1]) ** -0.45)


def test_mix_of_metrics_in_units_of_the_first(pictures: tuple[Tensor, ...]) -> None:
    x, _, x_hat = pictures
    trade = RateTrade({"ssimulacra2": 1.0, "mse": 0.1}, {"ssimulacra2": (0.01, 4.0), "mse": (0.001, 0.35)})
    mixed = Objective(trade, "rd", "balanced", None)
    t = torch.tensor([0.0, 1.0])
    raw, square = distortion("ssimulacra2")(x_hat, x), mse(x_hat, x)
    expected = trade.lmbda(t) * raw + 0.1 * trade.lmbda(t, "mse") * square * torch.tensor([1.0, MSE_AT_TOP])
    torch.testing.assert_close(trade.lmbda(t) * mixed.distance(x_hat, x, t), expected)
