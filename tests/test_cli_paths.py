"""Which files are read, and what their outputs are called."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from jndcodec.cli.paths import JLC_SUFFIXES, decoded_name, encoded_name, plan
from jndcodec.images.suffixes import PICTURE_SUFFIXES


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "in/a.png", "in/a.jpg", "in/b.v2.png", "in/x/c.webp", "two/in/a.png", "empty/readme.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def encoded(*inputs: str, output: str | None = None) -> dict[str, str]:
    return {task.source: task.target for task in plan(inputs, output, PICTURE_SUFFIXES, encoded_name)}


@pytest.mark.parametrize(
    "source, output, target",
    [
        ("a.png", None, "a.png.jlc"),
        ("in/b.v2.png", None, "in/b.v2.png.jlc"),
        ("in/noname", None, "in/noname.jlc"),
        ("scan.2024", None, "scan.2024.jlc"),
        ("a.png", "z.jlc", "z.jlc"),
        ("a.png", "new/z", "new/z"),
        ("a.png", "in", "in/a.png.jlc"),
        ("a.png", "new/", "new/a.png.jlc"),
        ("a.png", "-", "-"),
        ("-", None, "-"),
        ("-", "z.jlc", "z.jlc"),
    ],
)
def test_one_input(source: str, output: str | None, target: str) -> None:
    assert encoded(source, output=output) == {source: target}


def test_one_folder() -> None:
    beside = {
        "in/a.jpg": "in/a.jpg.jlc",
        "in/a.png": "in/a.png.jlc",
        "in/b.v2.png": "in/b.v2.png.jlc",
        "in/x/c.webp": "in/x/c.webp.jlc",
    }
    assert encoded("in") == beside
    assert encoded("in", output="out") == {
        source: target.replace("in/", "out/", 1) for source, target in beside.items()
    }


def test_several_inputs() -> None:
    assert encoded("a.png", "in/x", output="out") == {"a.png": "out/a.png.jlc", "in/x/c.webp": "out/x/c.webp.jlc"}
    assert encoded("a.png", "a.png", "in/x/c.webp") == {"a.png": "a.png.jlc", "in/x/c.webp": "in/x/c.webp.jlc"}


def test_names_that_cannot_be_told_apart_are_an_error_for_the_later() -> None:
    tasks = plan(("in", "two/in"), "out", PICTURE_SUFFIXES, encoded_name)
    bad = [task for task in tasks if task.error]
    assert [task.source for task in bad] == ["two/in/a.png"] and "in/a.png" in str(bad[0].error)
    assert len({task.target for task in tasks if not task.error}) == len(tasks) - 1


def test_an_output_is_named_after_its_input_alone() -> None:
    before = encoded("in", output="out")
    for name in ("in/a.webp", "in/b.v2.tif", "in/x/c.jpg"):
        Path(name).touch()
    after = encoded("in", output="out")
    assert len(after) == len(before) + 3 and before.items() <= after.items()
    assert encoded("in/a.png", output="out/") == {"in/a.png": "out/a.png.jlc"}


def test_decoding_names() -> None:
    for name in ("j/a.jlc", "j/a.jpg.jlc", "j/b.v2.JLC", "j/c.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()

    def targets(suffix: str | None) -> list[str]:
        return [task.target for task in plan(("j",), None, JLC_SUFFIXES, lambda name: decoded_name(name, suffix))]

    assert targets(".tif") == ["j/a.tif", "j/a.jpg.tif", "j/b.v2.tif"]
    assert targets(None) == ["j/a.png", "j/a.jpg", "j/b.v2.png"]  # the suffix of before, where there was one


def test_a_folder_without_pictures_is_an_error() -> None:
    (task,) = plan(("empty",), None, PICTURE_SUFFIXES, encoded_name)
    assert task.error is not None and "no pictures" in str(task.error)


def test_links_to_folders_are_not_followed() -> None:
    os.symlink("..", "in/x/loop")
    assert len(encoded("in")) == 4


@pytest.mark.parametrize(
    "inputs, output", [(("-", "a.png"), None), (("in",), "-"), (("in",), "a.png"), (("a.png", "in"), "a.png")]
)
def test_what_makes_no_sense(inputs: tuple[str, ...], output: str | None) -> None:
    with pytest.raises(click.UsageError):
        plan(inputs, output, PICTURE_SUFFIXES, encoded_name)
