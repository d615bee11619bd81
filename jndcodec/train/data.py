"""Training data from disk: the paper's layout ROOT/{train,test}/{Ref,JND1}, or any folder of pictures.

The paper: Pakdaman, Nami, Gabbouj, "Perceptual Learned Image Compression via End-to-End JND-Based Optimization",
ICIP 2024. A picture in Ref belongs to the one of the same name in JND1 (the suffix may differ); where no name is in
both folders, to the one at the same place in sorted order.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, features

from jndcodec.errors import DataError, DependencyError
from jndcodec.images.loading import load_picture
from jndcodec.images.suffixes import PICTURE_SUFFIXES
from jndcodec.train.tiles import TileSet

HELD_OUT = 0.05  # share of the photos kept for validation where the data has no test part
MEMORY_SHARE = 0.8  # of the machine's memory that the pictures may take


@dataclass(frozen=True)
class Item:
    """A picture on disk and its JND1 version, if one is wanted."""

    ref: Path
    jnd: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """What a training sees. `manifest_hash`: SHA-256 over the bytes of all files, in their order. `first`: how many of
    `train`, from its start, are of the folder that was named first."""

    train: TileSet
    test: TileSet
    manifest_hash: str
    first: int

    @property
    def typical(self) -> Sequence[np.ndarray]:
        """The pictures that a finished file is fitted to, uint8 (H, W, 3): the first folder's, or all where it has
        none to train on. A few drawings in the other folders would cost photographs a percent of their bytes."""
        return self.train.pictures[: self.first or None]


def open_dataset(root: str | Path | Sequence[str | Path], need_jnd: bool) -> Dataset:
    """Read one or several folders whole into memory.

    Each is in the paper's layout, or, if no JND1 is needed, any folder of pictures, searched with its subfolders. Where
    no folder has a test part, one photo in twenty is held out with all its tiles (`name_0`, `name_1`, ...).
    Raises DataError naming the files for anything missing or mismatched, DependencyError if Pillow cannot read them.
    """
    roots = [root] if isinstance(root, (str, Path)) else list(root)
    train: list[Item] = []
    test: list[Item] = []
    first: set[Item] = set()
    for folder in map(Path, roots):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder")
        if (folder / "train").is_dir():
            train += _paper_part(folder / "train", need_jnd)
            if (folder / "test").is_dir():
                test += _paper_part(folder / "test", need_jnd)
        elif need_jnd:
            raise DataError(
                f"{folder}: this loss needs JND1 pictures, in train/Ref and train/JND1; make them with "
                f"`jndcodec prepare {folder} --out NEW`, or train with --loss rd"
            )
        else:
            train += [Item(path) for path in _pictures(folder)]
        first = first or set(train)
    if not test:
        train, test = _hold_out(train)
    _check_memory(train + test, roots)
    digest = hashlib.sha256()
    sets = [_load(items, need_jnd, digest) for items in (train, test)]
    return Dataset(sets[0], sets[1], digest.hexdigest(), sum(item in first for item in train))


def _paper_part(part: Path, need_jnd: bool) -> list[Item]:
    if not (part / "Ref").is_dir():
        raise DataError(f"{part}: has no folder Ref; expected {part}/Ref" + (f" and {part}/JND1" if need_jnd else ""))
    refs = _pictures(part / "Ref")
    if not need_jnd:
        return [Item(ref) for ref in refs]
    if not (part / "JND1").is_dir():
        raise DataError(f"{part}: has no folder JND1, which this loss needs; `jndcodec prepare` makes it")
    return _match(part, refs, _pictures(part / "JND1"))


def _match(part: Path, refs: list[Path], jnds: list[Path]) -> list[Item]:
    ref_names, jnd_names = _names(part / "Ref", refs), _names(part / "JND1", jnds)
    if ref_names.keys() & jnd_names.keys():
        for here, there, other in ((ref_names, jnd_names, "JND1"), (jnd_names, ref_names, "Ref")):
            alone = [str(path) for name, path in here.items() if name not in there]
            if alone:
                raise DataError(f"{_listing(alone)}: no picture of that name in {part / other}")
        return [Item(ref, jnd_names[name]) for name, ref in ref_names.items()]
    if len(refs) != len(jnds):
        raise DataError(
            f"{part}: {len(refs)} pictures in Ref ({refs[0].name} ... {refs[-1].name}) but {len(jnds)} in JND1 "
            f"({jnds[0].name} ... {jnds[-1].name}), and no name in both"
        )
    return [Item(*pair) for pair in zip(refs, jnds, strict=True)]


def _names(folder: Path, paths: list[Path]) -> dict[str, Path]:
    """Path inside the folder without its suffix -> path; DataError for two of the same."""
    names: dict[str, Path] = {}
    for path in paths:
        other = names.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
        if other is not path:
            raise DataError(f"{other} and {path} have the same name; rename or remove one")
    return names


def _listing(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _pictures(folder: Path) -> list[Path]:
    """Pictures in a folder and below, sorted; hidden files and other kinds of files are passed over."""
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not paths:
        raise DataError(f"{folder}: no pictures in it")
    return paths


def photo_name(path: Path) -> str:
    """What all tiles of a photo share: the path without suffix and without a tile number of one or two digits."""
    return re.sub(r"_\d{1,2}$", "", path.with_suffix("").as_posix())


def _hold_out(items: list[Item]) -> tuple[list[Item], list[Item]]:
    photos = {photo_name(item.ref) for item in items}
    if len(photos) < 2:
        raise DataError(f"{items[0].ref.parent}: only one photo; two are needed, one of them to validate with")
    # By the name of the photo alone: the same ones are held out whatever folders stand beside theirs and wherever they
    # lie, or weights would be judged by pictures that an earlier run was trained on.
    digests = {name: hashlib.sha256(Path(name).name.encode()).digest() for name in photos}
    places = {name: int.from_bytes(digest, "big") / 2**256 for name, digest in digests.items()}
    least = min(places.values())  # held out where no other is, or where all would be
    limit = HELD_OUT if least <= HELD_OUT < max(places.values()) else least
    parts: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        parts[places[photo_name(item.ref)] <= limit].append(item)
    return parts


def _check_memory(items: list[Item], roots: list[str | Path]) -> None:
    """DataError before anything is decoded if the pictures will not fit in memory; sizes come from the headers."""
    need = 0
    for item in items:
        with _open(item.ref, item.ref) as image:
            need += 3 * image.width * image.height * (1 if item.jnd is None else 2)
    memory = _memory()
    if need > MEMORY_SHARE * memory:
        raise DataError(
            f"the pictures take {need / 1e9:.1f} GB decoded, this machine has {memory / 1e9:.1f} GB of memory; "
            f"cut them into tiles with `jndcodec prepare {roots[0]}`, or give fewer"
        )


def _memory() -> float:
    """Bytes of memory of this machine; infinite where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _load(items: list[Item], need_jnd: bool, digest: hashlib._Hash) -> TileSet:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        loaded = list(pool.map(_read_item, items))
    for hashes, *_ in loaded:
        digest.update(hashes)
    digest.update(b"|")
    jnds = [jnd for *_, jnd in loaded if jnd is not None]
    return TileSet([ref for _, ref, _ in loaded], jnds if need_jnd else None)


def _read_item(item: Item) -> tuple[bytes, np.ndarray, np.ndarray | None]:
    """(digest of the files, Ref, JND1)"""
    digest, ref = _read(item.ref)
    if item.jnd is None:
        return digest, ref, None
    other, jnd = _read(item.jnd)
    if ref.shape != jnd.shape:
        sizes = [f"{path} is {a.shape[1]}x{a.shape[0]}" for path, a in ((item.ref, ref), (item.jnd, jnd))]
        raise DataError(f"{sizes[0]} but {sizes[1]}; a JND1 picture has the size of its reference")
    return digest + other, ref, jnd


def _read(path: Path) -> tuple[bytes, np.ndarray]:
    """(SHA-256 of the file, pixels as uint8 (H, W, 3), upright)"""
    data = path.read_bytes()
    with _open(BytesIO(data), path) as image:
        if image.mode in ("RGB", "L"):
            try:
                pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            except (OSError, SyntaxError, ValueError) as error:
                raise DataError(f"{path}: damaged or cut short ({error}); replace or remove it") from error
        else:
            pixels = load_picture(data, None, name=str(path)).rgb
    return hashlib.sha256(data).digest(), pixels


def _open(source: Path | BytesIO, path: Path) -> Image.Image:
    try:
        return Image.open(source)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        if path.suffix.lower() == ".avif" and not features.check("avif"):
            raise DependencyError(
                f"{path}: Pillow reads AVIF from 11.3 on, this is {Image.__version__}: pip install 'pillow>=11.3'"
            ) from error
        raise DataError(f"{path}: not a picture that can be read; replace or remove it") from error
