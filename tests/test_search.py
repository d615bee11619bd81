"""The search for a rate knob, on made-up curves."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from jndcodec.entropy.scale_network import T_MAX
from jndcodec.installed import available_models, find_by_name
from jndcodec.rate.search import TRIALS, Expected, guess, search
from jndcodec.weights import ModelInfo

LINE = Expected(np.array([0.0, T_MAX]), np.array([0.0, 1.0]))


class Measure:
    """A rising function of the knob that counts its calls."""

    def __init__(self, function) -> None:
        self.function, self.knobs = function, []

    def __call__(self, knob: int) -> float:
        self.knobs.append(knob)
        return self.function(knob / T_MAX)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("goal", [0.01, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("start", [None, 0, T_MAX // 2, T_MAX])
def test_the_knob_is_found_within_the_trials(power: float, goal: float, start: int | None) -> None:
    measure = Measure(lambda u: u**power)
    knob = search(measure, goal, 0.01, LINE, start)
    assert goal <= measure.function(knob / T_MAX) <= goal + 0.05
    assert len(measure.knobs) <= TRIALS and len(set(measure.knobs)) == len(measure.knobs)


def test_what_is_expected_takes_one_trial_and_an_offset_two() -> None:
    expected = Expected.ssimulacra2(find_by_name("jlc-jnd"))
    same = Measure(lambda u: expected.at(u * T_MAX) + 0.05)
    search(same, 80.0, 0.2, expected)
    assert len(same.knobs) == 1
    behind = Measure(lambda u: expected.at(u * T_MAX - 3000))
    assert 80 <= behind.function(search(behind, 80.0, 0.2, expected) / T_MAX) <= 80.2
    assert len(behind.knobs) == 2


def test_a_guess_takes_one_trial_and_finds_an_offset() -> None:
    expected = Expected.ssimulacra2(find_by_name("jlc-jnd"))
    behind = Measure(lambda u: expected.at(u * T_MAX - 3000))
    knob = guess(behind, 80.0, expected)
    assert len(behind.knobs) == 1 and behind.function(knob / T_MAX) == pytest.approx(80.0, abs=0.01)
    assert [guess(lambda _: -1e4, 80.0, expected), guess(lambda _: 1e4, 80.0, expected)] == [T_MAX, 0]


def test_values_that_are_never_expected_lie_on_the_line_beyond() -> None:
    bent = Expected(np.array([0.0, 10.0, 20.0]), np.array([0.0, 1.0, 3.0]))
    assert [bent.beside(v) for v in (-1.0, 0.5, 1.0, 2.0, 4.0)] == [-10.0, 5.0, 10.0, 15.0, 25.0]


def test_pictures_of_all_kinds() -> None:
    """Rates with another offset, slope and bend than expected, some of them with flat parts."""
    expected, rng, u = Expected.log_bpp(find_by_name("jlc-jnd")), np.random.default_rng(0), np.linspace(0, 1, 400)
    mean = np.array([expected.at(v * T_MAX) for v in u])
    trials = []
    for _ in range(300):
        offset, slope, bend, wave = rng.normal(0, [1.0, 0.35, 0.5, 0.05])
        curve = offset + math.exp(slope) * mean + 2 * bend * (u - u * u) + wave * np.sin(7 * u)
        curve = np.maximum.accumulate(curve + 1e-6 * np.arange(len(u)))
        goal = rng.uniform(curve[0], curve[-1])
        measure = Measure(lambda v, curve=curve: float(np.interp(v, u, curve)))
        knob = search(measure, goal, 0.01, expected)
        assert goal <= measure.function(knob / T_MAX) <= goal + 0.1
        trials.append(len(measure.knobs))
    assert max(trials) <= TRIALS and np.mean(trials) < 4.5


def test_out_of_reach() -> None:
    short = Measure(lambda u: u)
    assert search(short, 1.1, 0.01, LINE) == -1
    assert short.knobs[-1] == T_MAX and len(short.knobs) <= TRIALS
    assert search(Measure(lambda u: 5 + u), 1.1, 0.01, LINE) == 0


def test_the_largest_knob_is_tried_before_giving_up() -> None:
    assert search(Measure(lambda u: float(u == 1)), 0.5, 0.01, LINE) == T_MAX


def test_mirrored_and_minus() -> None:
    expected = Expected.log_bpp(find_by_name("jlc-jnd"))
    for knob in (0, 20000, T_MAX):
        assert expected.mirrored().at(T_MAX - knob) == pytest.approx(-expected.at(knob))
        assert expected.where(expected.at(knob)) == knob
        assert expected.minus(2.0).at(knob) == expected.at(knob) - 2


@pytest.mark.parametrize(
    "points",
    [
        None,
        [],
        [{"t": 0.0, "bpp": 0.1}],
        [{"t": 0.5}],
        "none",
        [{"t": 0, "bpp": 2}, {"t": 1, "bpp": 1}],
        [{"t": 0, "bpp": 0}, {"t": 1, "bpp": 1}],
    ],
)
def test_weights_that_say_nothing_of_use(points) -> None:
    info = find_by_name("jlc-jnd")
    calibration = {"t_1jnd": 0.5} if points is None else {"t_1jnd": 0.5, "points": points}
    expected = Expected.log_bpp(dataclasses.replace(info, calibration=calibration))
    assert (expected.knobs == [0, T_MAX]).all() and expected.at(0) < expected.at(T_MAX)


def test_all_shipped_models_are_calibrated() -> None:
    for info in available_models():
        assert len(Expected.ssimulacra2(info).knobs) > 2 and len(Expected.log_bpp(info).knobs) > 2


@pytest.mark.parametrize("info", available_models(), ids=lambda info: info.name)
def test_the_default_of_shipped_models_is_one_jnd(info: ModelInfo) -> None:
    found = info.calibration.get("jnd")
    if found is None:
        pytest.skip("not calibrated by coding yet: benchmarks/calibrate.py --write")
    assert found["pictures"] >= 12 and found["mean"] <= 1.0 and found["over"] <= 0.25
