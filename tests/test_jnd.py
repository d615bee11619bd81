"""The JND map: its measured points, both directions, its ends."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from jndcodec.errors import TargetError
from jndcodec.rate.jnd import jnd_from_ssimulacra2, jnd_range, ssimulacra2_from_jnd

CLASSIC = {90: 0.12, 86.4: 0.25, 83: 0.5, 78: 1.0, 72.7: 1.5, 67.8: 2.0}
LEARNED = {85.4: 0.25, 83.1: 0.5, 80.2: 1.0, 74.3: 1.5, 68.1: 2.0}


@pytest.mark.parametrize(("points", "learned"), [(CLASSIC, False), (LEARNED, True)])
def test_measured_points_both_ways(points: dict[float, float], learned: bool) -> None:
    for score, jnd in points.items():
        assert jnd_from_ssimulacra2(score, learned) == pytest.approx(jnd, abs=1e-12)
        assert ssimulacra2_from_jnd(jnd, learned) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("learned", [False, True])
def test_strictly_monotone_and_its_own_inverse(learned: bool) -> None:
    scores = [100 - 0.37 * i for i in range(400)]
    jnds = [jnd_from_ssimulacra2(s, learned) for s in scores]
    assert jnds[0] == 0
    assert all(a < b for a, b in pairwise(jnds))
    for score, jnd in zip(scores, jnds, strict=True):
        assert ssimulacra2_from_jnd(jnd, learned) == pytest.approx(score, abs=1e-9)


def test_learned_codecs_need_a_higher_score_at_one_jnd() -> None:
    assert ssimulacra2_from_jnd(1.0) == 80.2
    assert jnd_from_ssimulacra2(78.0) > jnd_from_ssimulacra2(78.0, learned=False)


def test_beyond_the_points_the_last_slope_goes_on() -> None:
    assert jnd_from_ssimulacra2(67.8 - 4.9, learned=False) == pytest.approx(2.5)
    assert jnd_from_ssimulacra2(120.0) == 0
    assert jnd_from_ssimulacra2(-50.0) > 5


def test_range_holds_the_estimate() -> None:
    low, high = jnd_range(80.2)
    assert low < 1.0 < high
    assert jnd_range(100.0)[0] == 0


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_impossible_jnd_is_refused(bad: float) -> None:
    with pytest.raises(TargetError):
        ssimulacra2_from_jnd(bad)
