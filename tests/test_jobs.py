"""How many worker processes a folder gets, and what they share."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from cli_tools import run, tree, write_png

from jndcodec import capacity
from jndcodec.cli import options
from jndcodec.cli.batch import _preload
from jndcodec.cli.options import FILES_PER_JOB, MEMORY_PER_JOB, MOST_JOBS_ON_GPU, Jobs, choose_jobs
from jndcodec.workers import map_in_order


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def set_up(cores: int, memory: int | None) -> None:
        monkeypatch.setattr(options, "cores", lambda: cores)
        monkeypatch.setattr(options, "free_memory", lambda: memory)

    return set_up


@pytest.mark.parametrize(
    "files, cores, memory, device, jobs",
    [
        (1000, 16, 100 * MEMORY_PER_JOB, "cpu", 16),
        (1000, 16, 3 * MEMORY_PER_JOB, "cpu", 3),
        (1000, 16, 10, "cpu", 1),
        (1000, 16, None, "cpu", 16),
        (1, 16, None, "cpu", 1),
        (3 * FILES_PER_JOB, 16, None, "cpu", 3),
        (1000, 64, None, "cuda", MOST_JOBS_ON_GPU),
        (0, 2, None, "cpu", 1),
    ],
)
def test_auto_is_what_the_machine_and_the_files_allow(machine, files, cores, memory, device, jobs) -> None:
    machine(cores, memory)
    assert choose_jobs(None, files, device) == jobs


def test_what_was_asked_for_stays(machine) -> None:
    machine(2, MEMORY_PER_JOB)
    assert (choose_jobs(7, 100, "cuda"), choose_jobs(7, 3, "cpu")) == (7, 3)
    assert (Jobs().convert("auto", None, None), Jobs().convert("3", None, None)) == (None, 3)
    for text in ("0", "-1", "many", "1.5"):
        with pytest.raises(click.BadParameter, match="auto"):
            Jobs().convert(text, None, None)


def test_cores_are_those_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert capacity.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert capacity.cores() == len(before)


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = capacity.free_memory()
    assert whole is not None and whole > 1 << 20
    for name, text in (("max", "5000000\n"), ("current", "3000000\n"), ("stat", "anon 1\ninactive_file 500000\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(capacity, "_CGROUP", tmp_path)
    assert capacity.free_memory() == 2500000
    (tmp_path / "memory.max").write_text("max\n")
    assert capacity.free_memory() > 1 << 20


def where_the_engine_came_from(_: int) -> tuple[bool, int]:
    """(whether the engine is loaded in this worker before it did anything, its parent process)"""
    import sys

    return _preload(4)[-1] in sys.modules, os.getppid()


def test_workers_are_copies_of_one_process_that_has_loaded_the_engine() -> None:
    before = dict(os.environ)
    found = {result for _, result in map_in_order(where_the_engine_came_from, range(4), 2, _preload(4))}
    assert len(found) == 1
    loaded, parent = found.pop()
    assert loaded and parent != os.getpid()
    assert dict(os.environ) == before


def test_a_folder_uses_workers_by_itself(tmp_path: Path, photo, tiny_weights: Path, machine) -> None:
    machine(2, None)
    for i in range(2 * FILES_PER_JOB):
        write_png(tmp_path / f"in/{i}.png", photo(32, 48, i))
    result = run("encode", tmp_path / "in", "-o", tmp_path / "out", "--weights", tiny_weights)
    assert result.exit_code == 0 and len(tree(tmp_path / "out")) == 2 * FILES_PER_JOB
    result = run("decode", tmp_path / "out", "-o", tmp_path / "back", "--weights", tiny_weights)
    assert result.exit_code == 0 and len(tree(tmp_path / "back")) == 2 * FILES_PER_JOB
