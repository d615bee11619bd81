"""What a prepared set is made of: ROOT/manifest.json (settings, counts, what was left out) and ROOT/manifest.jsonl.

manifest.jsonl has a line per tile, written when the tile's files are on disk: it is what a second run goes on from.

    {"name": "sea-09d299a1_0", "split": "train", "source": "photos/sea.jpg", "photo": "<SHA-256>", "look": "<64 bits>",
     "x": 12, "y": 0, "width": 512, "height": 512,
     "jnd": {"codec": "avif", "encoder": "pillow 13.0.0, ...", "quality": 63, "metric": "ssimulacra2",
             "threshold": 78.0, "score": 78.2}}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jndcodec.errors import DataError, OutputError
from jndcodec.output import writing

VERSION = 1


class Manifest:
    """The manifest of a set in folder `root`, made or continued with `settings` (what JSON holds)."""

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        self.root, self.settings = root, settings
        self.lines: list[dict[str, Any]] = []
        if (root / "manifest.json").exists():
            self._continue()
        elif root.exists() and (not root.is_dir() or any((root / part).exists() for part in ("train", "test"))):
            raise OutputError(f"{root}: holds something else already; choose another folder with --out")
        else:
            self.finish([])

    def _continue(self) -> None:
        try:
            before = json.loads((self.root / "manifest.json").read_text())["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.root / 'manifest.json'}: damaged; choose another folder with --out") from error
        changed = [key for key in self.settings if before.get(key) != self.settings[key]]
        if changed:
            was = ", ".join(f"{key} {before.get(key)}" for key in changed)
            raise DataError(f"{self.root}: was made with {was}; go on with that, or choose another folder with --out")
        path = self.root / "manifest.jsonl"
        text = path.read_text() if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # a last line without its end was cut off by a crash
        self.lines = [json.loads(line) for line in whole.splitlines()]
        if whole != text:
            self.rewrite()

    @property
    def photos(self) -> dict[str, int]:
        """Identity of each photo in the set, and its look."""
        return {line["photo"]: int(line["look"], 16) for line in self.lines}

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """The tiles of one photo, whose files are on disk."""
        self.lines += lines
        try:
            with open(self.root / "manifest.jsonl", "a") as stream:
                stream.write("".join(json.dumps(line) + "\n" for line in lines))
        except OSError as error:
            raise OutputError(f"{self.root / 'manifest.jsonl'}: cannot be written ({error.strerror})") from error

    def rewrite(self) -> None:
        with writing(self.root / "manifest.jsonl", force=True) as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in self.lines).encode())

    def count(self, split: str) -> int:
        return sum(line["split"] == split for line in self.lines)

    def finish(self, skipped: Sequence[dict[str, str]]) -> None:
        """Write manifest.json: settings, counts, and the files left out with the reason."""
        content = {
            "version": VERSION,
            "settings": self.settings,
            "photos": len(self.photos),
            "tiles": {split: self.count(split) for split in ("train", "test")},
            "skipped": list(skipped),
        }
        with writing(self.root / "manifest.json", force=True) as stream:
            stream.write((json.dumps(content, indent=2) + "\n").encode())
