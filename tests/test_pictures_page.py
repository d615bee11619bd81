"""docs/PICTURES.md says where each kind of picture is tested: those files are there, and each of its rows is whole."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "PICTURES.md").read_text(encoding="utf-8")


def test_the_page_names_tests_that_are_there() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", PAGE))
    assert len(named) > 5 and [name for name in sorted(named) if not (TESTS / name).is_file()] == []


def test_every_row_says_kind_and_fate() -> None:
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("|")]
    assert len(rows) > 30 and all(len(row) == 3 and row[0].strip() and row[1].strip() for row in rows)
