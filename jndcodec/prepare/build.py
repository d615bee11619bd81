"""Photos in, ROOT/{train,test}/{Ref,JND1} out: the paper's layout, losslessly in PNG, with a manifest.

photos -> known by hash, copies left out -> tiles -> JND1 by bisection (workers) -> files and manifest (this process)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jndcodec.errors import DataError, InputError, JndcodecError
from jndcodec.output import writing
from jndcodec.prepare import level as jnd
from jndcodec.prepare.manifest import Manifest
from jndcodec.prepare.photos import Photo, Seen, Skipped, find_files, look_at, read_srgb
from jndcodec.prepare.tiles import Tile, cut, reduced
from jndcodec.workers import map_in_order

TEST_SHARE = 0.05  # of the photos


@dataclass(frozen=True)
class Recipe:
    """How photos become tiles. side: of the square tiles, None for whole pictures; most: tiles per photo."""

    side: int | None = 512
    most: int = 8
    reduce: float = 1.0
    level: str | None = "noticeable"  # None: no JND1
    codec: str = "avif"

    def settings(self) -> dict[str, Any]:
        """What must not change between the runs that make one set."""
        tiles = {"tile": self.side, "tiles_per_photo": self.most if self.side else 1, "reduce": self.reduce}
        if self.level is None:
            return tiles | {"jnd_level": None}
        return tiles | {"jnd_level": self.level, "jnd_codec": self.codec}


@dataclass(frozen=True)
class Made:
    """A tile as it goes to disk: its line of the manifest, and PNG files by folder (Ref, JND1)."""

    line: dict[str, Any]
    files: dict[str, bytes]


@dataclass(frozen=True)
class Summary:
    """train, test: tiles in the whole set; added: photos of this run; known: photos that were there already."""

    train: int
    test: int
    added: int
    known: int
    skipped: list[Skipped]


def prepare(
    sources: Sequence[str | Path],
    root: str | Path,
    recipe: Recipe,
    *,
    jobs: int = 1,
    report: Callable[[Skipped], None] = lambda skipped: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Make the set, or go on with it: photos that are in its manifest are passed over.

    report: gets each file that is left out, as soon as it is known. progress: (files done, files in all), over both
    passes: looking at all files, then preparing those that are new.
    Raises InputError, DataError (nothing usable, other settings than before), OutputError (disk full: what is there
    stays whole, and the same command goes on), DependencyError (no such codec here).
    """
    files = find_files(sources, Path(root))
    if recipe.level is not None:
        jnd.coder(recipe.codec)  # to know before the work whether it is here
    manifest = Manifest(Path(root), recipe.settings())
    skipped: list[Skipped] = []

    def skip(what: Skipped) -> None:
        skipped.append(what)
        report(what)

    progress(0, 2 * len(files))
    photos: list[Photo] = []
    with closing(map_in_order(look_at, files, jobs)) as looks:
        for done, (_, found) in enumerate(looks, 1):
            photos.append(found) if isinstance(found, Photo) else skip(found)
            progress(done, 2 * len(files))
    fresh, known = _without_copies(photos, manifest, skip)
    added, passed = 0, 2 * len(files) - len(fresh)
    with closing(map_in_order(partial(make_tiles, recipe=recipe), fresh, jobs)) as results:
        for done, (_, (tiles, left_out)) in enumerate(results, 1):
            if left_out:
                skip(left_out)
            if tiles:
                _store(Path(root), tiles)
                manifest.add([tile.line for tile in tiles])
                added += 1
            progress(passed + done, 2 * len(files))
    if not manifest.lines:
        first = f"{skipped[0].path}: {skipped[0].reason}"
        raise DataError(f"none of the {len(files)} pictures can be used, for example {first}")
    _ensure_test(manifest)
    manifest.finish([{"source": s.path, "reason": s.reason} for s in skipped])
    return Summary(manifest.count("train"), manifest.count("test"), added, known, skipped)


def _without_copies(
    photos: list[Photo], manifest: Manifest, skip: Callable[[Skipped], None]
) -> tuple[list[Photo], int]:
    """(photos to work on, how many are in the set already); a photo that looks like an earlier one is skipped."""
    there = manifest.photos
    seen = Seen(there.items())
    names = {photo.identity: photo.path for photo in reversed(photos)}  # of exact copies the first
    fresh: list[Photo] = []
    known: set[str] = set()
    for photo in photos:
        if photo.identity in there:
            known.add(photo.identity)
        elif (other := seen.like(photo.look)) is not None:
            skip(Skipped(photo.path, f"looks the same as {names.get(other, 'a photo of an earlier run')}"))
        else:
            seen.add(photo.identity, photo.look)
            fresh.append(photo)
    return fresh, len(known)


def split_of(identity: str) -> str:
    """ "train" or "test", from the photo's bytes alone: the same in every set, whatever else is in it."""
    return "test" if int(identity[:8], 16) < TEST_SHARE * 2**32 else "train"


def make_tiles(photo: Photo, recipe: Recipe) -> tuple[list[Made], Skipped | None]:
    """All tiles of a photo with their JND1 versions, and what was left out; works in a worker process."""
    try:
        tiles = _cut(photo, recipe)
    except JndcodecError as error:
        return [], Skipped(photo.path, str(error).removeprefix(f"{photo.path}: "))
    stem = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(photo.path).stem)[:60].strip("-.") or "photo"
    made = []
    for k, tile in enumerate(tiles):
        h, w = tile.rgb.shape[:2]
        line: dict[str, Any] = {
            "name": f"{stem}-{photo.identity[:8]}_{k}", "split": split_of(photo.identity), "source": photo.path,
            "photo": photo.identity, "look": f"{photo.look:016x}", "x": tile.x, "y": tile.y, "width": w, "height": h,
        }  # fmt: skip
        files = {"Ref": _png(tile.rgb)}
        if recipe.level is not None:
            target = jnd.threshold(recipe.level)
            found = jnd.find_level(tile.rgb, recipe.codec, target)
            if not jnd.reached(found, target):
                continue
            files["JND1"] = _png(found.rgb)
            line["jnd"] = {
                "codec": recipe.codec, "encoder": jnd.coder(recipe.codec).version, "quality": found.quality,
                "metric": "ssimulacra2", "threshold": target, "score": round(found.score, 3),
            }  # fmt: skip
        made.append(Made(line, files))
    missed = len(tiles) - len(made)
    if missed:
        told = f"{missed} of {len(tiles)} tiles: no quality of {recipe.codec} is near SSIMULACRA2 {target:g}"
        return made, Skipped(photo.path, told)
    return made, None


def _cut(photo: Photo, recipe: Recipe) -> list[Tile]:
    """Raises InputError for photos that give no tile."""
    image = reduced(read_srgb(photo.path), recipe.reduce)
    rgb = np.asarray(image)
    if recipe.side is None:
        return [Tile(rgb, 0, 0)]
    if min(image.size) < recipe.side:
        size = f"{image.width}x{image.height}"
        raise InputError(f"{size} is smaller than a tile; use a smaller --tile, or --whole")
    tiles = cut(rgb, recipe.side, recipe.most, np.random.default_rng(int(photo.identity[:16], 16)))
    if not tiles:
        raise InputError("nothing but flat areas")
    return tiles


def _png(rgb: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


def _store(root: Path, tiles: list[Made]) -> None:
    for tile in tiles:
        for folder, data in tile.files.items():
            with writing(root / tile.line["split"] / folder / f"{tile.line['name']}.png", force=True) as stream:
                stream.write(data)


def _ensure_test(manifest: Manifest) -> None:
    """A small set can have no photo whose hash says "test": then the one with the lowest hash is moved there."""
    if manifest.count("test") or len(manifest.photos) < 2:
        return
    chosen = min(manifest.photos)
    for line in manifest.lines:
        if line["photo"] == chosen:
            for folder in ("Ref", "JND1"):
                path = manifest.root / line["split"] / folder / f"{line['name']}.png"
                if path.exists():
                    target = manifest.root / "test" / folder / path.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.rename(target)
            line["split"] = "test"
    manifest.rewrite()
