"""Every picture through every codec at every setting, in parallel, and never twice.

What is done lies in `cache/` of the output folder: the coded file and a JSON with its measurements, named after a hash
of the pixels, the codec with its version (a model's id) and the setting. A broken run goes on where it stopped; a
metric that was installed later is measured on the files that are already there.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jndcodec.errors import InputError, JndcodecError
from jndcodec.evaluate.codecs import Coder
from jndcodec.evaluate.metrics import BY_NAME, measure
from jndcodec.evaluate.results import Row, write_whole
from jndcodec.evaluate.timing import one_core, warm_up
from jndcodec.workers import map_in_order

if TYPE_CHECKING:
    from jndcodec.images.loading import Picture

CACHE_VERSION = 2  # raise it when a row or a metric of ours changes


@dataclass(frozen=True)
class Source:
    """A picture to evaluate: the name in the results, its file, the hash of its pixels, what was left aside of it."""

    name: str
    path: str
    width: int
    height: int
    pixels: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    source: Source
    coder: Coder
    setting: float
    metrics: tuple[str, ...]
    folder: str


def pixel_hash(rgb: np.ndarray) -> str:
    return hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()


@lru_cache(maxsize=1)
def _load(path: str) -> Picture:
    from jndcodec.images.loading import load_picture

    return load_picture(path)


def load_rgb(path: str) -> np.ndarray:
    """The picture as (H, W, 3) uint8, upright; alpha is left aside, and what it hides is filled."""
    return _load(path).seen()


def key_of(task: Task) -> str:
    parts = [CACHE_VERSION, task.source.pixels, task.coder.name, task.coder.version, float(task.setting)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def run_task(task: Task) -> Row:
    """Encode, decode and measure, or take from the cache what is there."""
    folder = Path(task.folder)
    kept, coded = folder / f"{key_of(task)}.json", folder / f"{key_of(task)}{task.coder.suffix}"
    row = _cached(kept, coded)
    if row is None:
        rgb = load_rgb(task.source.path)
        warm_up(task.coder, task.setting)
        with one_core():
            start = time.perf_counter()
            data = task.coder.encode(rgb, task.setting)
            encoded = time.perf_counter()
            decoded = task.coder.decode(data)
            done = time.perf_counter()
        pixels = rgb.shape[0] * rgb.shape[1]
        row = Row(
            task.source.name, rgb.shape[1], rgb.shape[0], task.coder.name, task.coder.learned, task.setting,
            len(data), 8 * len(data) / pixels, encoded - start, done - encoded,
        )  # fmt: skip
        write_whole(coded, data)
    else:
        decoded = None
    wanted = [BY_NAME[name] for name in task.metrics if name not in row.metrics]
    if wanted:
        if decoded is None:
            decoded = task.coder.decode(coded.read_bytes())
        row.metrics.update(measure(load_rgb(task.source.path), decoded, wanted))
        write_whole(kept, json.dumps(asdict(row)))
    row.picture, row.file = task.source.name, f"{folder.name}/{coded.name}"
    row.metrics = {name: row.metrics[name] for name in task.metrics}
    return row


def _cached(kept: Path, coded: Path) -> Row | None:
    if not (kept.exists() and coded.exists()):
        return None
    try:
        return Row(**json.loads(kept.read_text()))
    except (ValueError, TypeError):  # not ours any more: do it again
        return None


def find_sources(paths: Iterable[str | Path]) -> list[Source]:
    """The pictures of files and folders (not deeper), each named by its stem, or by its path where stems repeat."""
    from PIL import Image

    known = Image.registered_extensions()
    files: list[Path] = []
    for path in map(Path, paths):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in known) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: no pictures in this folder")
        files += [file for file in inside if file not in files]
    stems = [file.stem for file in files]
    sources = []
    for file in files:
        picture = _load(str(file))
        notes = (*picture.notes, *(["its alpha is left aside"] if picture.alpha is not None else []))
        name = file.stem if stems.count(file.stem) == 1 else str(file)
        sources.append(Source(name, str(file), picture.width, picture.height, pixel_hash(picture.rgb), notes))
    return sources


def named_task(task: Task) -> Row:
    """`run_task`, whose errors say where they happened."""
    try:
        return run_task(task)
    except JndcodecError as error:
        raise type(error)(f"{task.source.name}, {task.coder.name} at {task.setting:g}: {error}") from error


def evaluate(
    sources: list[Source], coders: list[Coder], metrics: list[str], folder: Path, jobs: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:  # fmt: skip
    """All rows, ordered by codec, setting and picture. progress(done, total) is called after each."""
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for part in cache.glob(".*.part"):  # of a run that was killed
        part.unlink(missing_ok=True)
    # Pictures outermost, so that a process decodes each only a few times.
    tasks = [
        Task(source, coder, setting, tuple(metrics), str(cache))
        for source in sources for coder in coders for setting in coder.settings
    ]  # fmt: skip
    rows = []
    for _, row in map_in_order(named_task, tasks, jobs):
        rows.append(row)
        progress(len(rows), len(tasks))
    order = {coder.name: i for i, coder in enumerate(coders)}
    return sorted(rows, key=lambda row: (order[row.codec], row.setting, row.picture))
