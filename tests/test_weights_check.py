"""`.ci/weights`: weights enter history only when they ship."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")
SCRIPT = Path(__file__).parent.parent / ".ci" / "weights"


def git(*arguments: str) -> None:
    who = {f"GIT_{role}_{part}": "a@b.example" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], check=True, capture_output=True, env=os.environ | who)


def commit(**files: bytes | None) -> None:
    """Write files (their names with / as __ and . as _), None to remove one, and commit."""
    for name, content in files.items():
        path = Path(name.replace("__", "/").replace("_st", ".safetensors").replace("_md", ".md"))
        path.parent.mkdir(exist_ok=True)
        path.unlink() if content is None else path.write_bytes(content)
    git("add", "-A")
    git("commit", "-q", "-m", "x")


def check(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "main")
    commit(weights__MODEL_CARD_md=b"jlc-a is shipped", weights__a_st=b"0")
    git("tag", "base")


def test_weights_that_ship_are_fine() -> None:
    commit(weights__a_st=b"1")
    assert check("base") == (0, "no weights but those that ship\n")


def test_a_version_that_was_replaced_is_found() -> None:
    commit(weights__a_st=b"1")
    commit(weights__a_st=b"2")
    assert check() == (0, "no weights but those that ship\n")
    code, said = check("base")
    assert code == 1 and said.startswith("weights/a.safetensors: version ")


def test_a_file_that_the_card_does_not_name_is_found() -> None:
    commit(weights__other_st=b"1")
    code, said = check()
    assert code == 1 and "weights/other.safetensors: weights/MODEL_CARD.md does not name it" in said


def test_large_files_elsewhere_are_found_and_what_left_again() -> None:
    commit(data=bytes(1_000_001))
    code, said = check()
    assert code == 1 and said.startswith("data: ")
    commit(data=None)
    assert check()[0] == 0 and check("base")[0] == 1
