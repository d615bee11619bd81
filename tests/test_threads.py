"""Threads that do not spin: set by the program before torch is loaded, and only where the user has not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jndcodec.threads import wait_calmly


@pytest.mark.parametrize(
    "given, after",
    [
        ({}, {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7", "KMP_BLOCKTIME": "1"}),
        ({"KMP_BLOCKTIME": "0"}, {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_the_users_own_setting_stays(given: dict[str, str], after: dict[str, str]) -> None:
    wait_calmly(given)
    assert given == after


def test_the_program_sets_it_before_any_library_is_loaded() -> None:
    code = (
        "import os, sys; from jndcodec.cli import main, cli; loaded = bool({'torch', 'numpy'} & set(sys.modules))\n"
        "cli.main = lambda **_: print(loaded, os.environ['GOMP_SPINCOUNT'])\n"
        "main()"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean, check=True)
    assert done.stdout.split() == ["False", "1000"]
