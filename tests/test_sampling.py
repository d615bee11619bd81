"""Items spread over a sequence."""

import pytest

from jndcodec.sampling import spread


@pytest.mark.parametrize(
    ("count", "found"),
    [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, list(range(10))), (99, list(range(10)))],
)
def test_spread_runs_from_the_first_to_the_last(count, found):
    assert spread(range(10), count) == found


def test_of_nothing_comes_nothing():
    assert spread([], 3) == []
