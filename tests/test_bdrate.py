"""BD-rate against values that can be worked out by hand, its overlap, and its refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jndcodec.evaluate.bdrate import against, bd_rate
from jndcodec.evaluate.bootstrap import with_intervals
from jndcodec.evaluate.published import is_kodak, published_curves
from jndcodec.evaluate.results import Curve, Row, curves, mean_rows

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


def rows(codec: str, factors: list[float]) -> list[Row]:
    """Pictures that need `factor` times the bits of a common curve."""
    return [
        Row(f"p{i}", 8, 8, codec, False, s, 8 * 2**s * f, 2**s * f, 0, 0, {"psnr": 30 + 3 * s})
        for i, f in enumerate(factors)
        for s in (-2.0, -1.0, 0.0, 1.0, 2.0)
    ]


def test_the_interval_is_that_of_other_pictures() -> None:
    """Each picture's saving is known, so is that of a draw: the ratio of sums."""
    base, saved = [1.0, 2.0, 0.5, 1.5, 0.8, 1.2, 0.6, 2.2], [0.7, 0.9, 0.95, 0.6, 0.8, 1.05, 0.85, 0.75]
    mine = rows("a", base) + rows("b", [b * s for b, s in zip(base, saved, strict=True)])
    measured = curves(mean_rows(mine), {"a": "a", "b": "b"})
    (rate,) = with_intervals(against(measured[0], measured, ["psnr"]), mine)
    drawn = np.random.default_rng(1).integers(0, 8, (4000, 8))
    ratios = (np.array(base) * saved)[drawn].sum(1) / np.array(base)[drawn].sum(1)
    expected = 100 * (np.quantile(ratios, [0.025, 0.975]) - 1)
    assert rate.percent == pytest.approx(100 * (np.dot(base, saved) / sum(base) - 1), abs=1e-6)
    assert rate.interval == pytest.approx(tuple(expected), abs=2.5)
    assert rate.interval[0] < rate.percent < rate.interval[1]


def test_equal_savings_have_no_spread_and_few_pictures_no_interval() -> None:
    mine = rows("a", [1.0, 2.0, 0.5, 1.5, 0.8]) + rows("b", [0.9, 1.8, 0.45, 1.35, 0.72])
    measured = curves(mean_rows(mine), {"a": "a", "b": "b"})
    rates = against(measured[0], measured, ["psnr"])
    assert with_intervals(rates, mine)[0].interval == pytest.approx((-10, -10), abs=1e-6)
    assert with_intervals(rates, [row for row in mine if row.picture != "p4"])[0].interval is None
