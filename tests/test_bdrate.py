"""BD-rate against values that can be worked out by hand, its overlap, and its refusals."""

from __future__ import annotations

import math

import pytest

from jndcodec.evaluate.bdrate import against, bd_rate
from jndcodec.evaluate.published import is_kodak, published_curves
from jndcodec.evaluate.results import Curve

pytest.importorskip("bjontegaard")


def line(name: str, slope: float, offset: float, qualities: list[float], metric: str = "psnr") -> Curve:
    """log(bpp) = offset + slope * quality: Akima keeps lines as they are."""
    return Curve(name, name, [math.exp(offset + slope * q) for q in qualities], {metric: list(qualities)})


def test_ten_percent_more_bits_everywhere() -> None:
    anchor = Curve("a", "a", [0.2, 0.4, 0.9, 1.7, 3.0], {"psnr": [30.0, 33.0, 36.5, 39.0, 42.0]})
    test = Curve("b", "b", [1.1 * bpp for bpp in anchor.bpp], anchor.metrics)
    result = bd_rate(anchor, test, "psnr")
    assert result.percent == pytest.approx(10, abs=1e-9)
    assert (result.low, result.high, result.overlap) == (30, 42, 1)


def test_two_lines_over_their_overlap() -> None:
    anchor = line("a", 0.15, -6, [28, 31, 34, 37, 40])
    test = line("b", 0.12, -5.2, [30, 33, 36, 39, 42])
    middle = (30 + 40) / 2  # a linear difference has its mean in the middle of the overlap
    expected = 100 * (math.exp((-5.2 + 0.12 * middle) - (-6 + 0.15 * middle)) - 1)
    result = bd_rate(anchor, test, "psnr")
    assert result.percent == pytest.approx(expected, abs=1e-6)
    assert (result.low, result.high) == (30, 40)
    assert result.overlap == pytest.approx(10 / 14)


def test_metrics_where_lower_is_better_have_the_same_sign() -> None:
    anchor = Curve("a", "a", [0.2, 0.4, 0.8, 1.6], {"lpips": [0.4, 0.3, 0.2, 0.1]})
    test = Curve("b", "b", [0.1, 0.2, 0.4, 0.8], anchor.metrics)
    result = bd_rate(anchor, test, "lpips")
    assert result.percent == pytest.approx(-50, abs=1e-9)
    assert (result.low, result.high) == (0.1, 0.4)


def test_ms_ssim_is_integrated_in_decibels() -> None:
    bpp = [0.2, 0.4, 0.8, 1.6]
    anchor = Curve("a", "a", bpp, {"ms_ssim": [0.9, 0.95, 0.98, 0.99]})
    result = bd_rate(anchor, Curve("b", "b", [2 * b for b in bpp], anchor.metrics), "ms_ssim")
    assert result.percent == pytest.approx(100, abs=1e-9)
    assert (result.low, result.high) == (pytest.approx(10), pytest.approx(20))


def test_points_that_cost_more_for_less_are_left_out() -> None:
    bpp, quality = [0.2, 0.4, 0.8, 1.6], [30.0, 33.0, 36.0, 39.0]
    anchor = Curve("a", "a", bpp, {"psnr": quality})
    dented = Curve("b", "b", [0.2, 0.4, 0.6, 0.8, 1.6], {"psnr": [30.0, 33.0, 32.0, 36.0, 39.0]})
    assert bd_rate(anchor, dented, "psnr").percent == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (line("far", 0.15, -6, [43, 45, 47, 49]), ["a (30 to 42)", "far (43 to 49)", "0%", "PSNR"]),
        (line("near", 0.15, -6, [40, 43, 46, 50]), ["near (40 to 50)", "10%", "25%"]),
        (line("short", 0.15, -6, [30, 34, 38]), ["short has 3 rising points"]),
        (Curve("other", "other", [1, 2, 3, 4], {"lpips": [4, 3, 2, 1]}), ["other has no PSNR"]),
    ],
)
def test_refused_by_name(test: Curve, said: list[str]) -> None:
    result = bd_rate(line("a", 0.15, -6, [30, 34, 38, 42]), test, "psnr")
    assert result.percent is None
    for part in said:
        assert part in str(result.refusal)


def test_published_figures_are_marked_and_in_order() -> None:
    curves = {curve.name: curve for curve in published_curves()}
    assert set(curves) == {"bmshj2018-hyperprior", "mbt2018-mean", "cheng2020-anchor"}
    for curve in curves.values():
        assert curve.published and "published" in curve.label
        for values in (curve.bpp, *curve.metrics.values()):
            assert values == sorted(values) and len(values) == len(curve.bpp)
    by_test = {(r.test, r.metric): r.percent for r in against(curves["mbt2018-mean"], list(curves.values()), ["psnr"])}
    # the order that the papers report: the joint model with attention-free anchor best, the hyperprior last
    assert by_test["cheng2020-anchor", "psnr"] < -5 < 0 < by_test["bmshj2018-hyperprior", "psnr"] < 15


def test_published_figures_are_for_kodak_only() -> None:
    names = [f"kodim{i:02d}" for i in range(1, 25)]
    assert is_kodak(names, [(768, 512), (512, 768)] * 12)
    assert not is_kodak(names[:23], [(768, 512)] * 23)
    assert not is_kodak(names, [(384, 256)] * 24)
