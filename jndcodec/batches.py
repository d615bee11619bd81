"""Many pictures through one codec: read ahead, grouped by size, transforms in batches, the rest beside them.

    reading (threads) → batches on the device (a thread of its own) → rANS (threads) → everything else, in order

What is ready stands in for the model: `codec.encode` and `codec.decode` then do for each picture what they always do.
rANS holds Python's lock, so threads overlap it with the transforms, not with itself; for more, several processes share
a device (`jndcodec encode --jobs`, `jndcodec bulk --gpus-per-worker 0.25`).
"""

from __future__ import annotations

import copy
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from jndcodec.ahead import windows, work_ahead
from jndcodec.container.jlc import Section, parse
from jndcodec.effort import level_of
from jndcodec.entropy.scale_network import T_MAX
from jndcodec.errors import InputError, JndcodecError
from jndcodec.images.loading import MAX_PIXELS, Picture
from jndcodec.lossless import DEFAULT_EFFORT, Encoded, Source, as_bytes, check_pixels, load
from jndcodec.model.interface import Compressed, Model, Progress, silent
from jndcodec.rate.goal import Goal

if TYPE_CHECKING:
    from PIL import Image

    from jndcodec.model.batch import BatchCoder, Streams
    from jndcodec.weights import ModelInfo

    class Codec(Protocol):
        """What is asked of `jndcodec.codec.Codec`, which stands above."""

        model: Any
        info: ModelInfo

        @property
        def id(self) -> bytes: ...

        @property
        def encode(self) -> Callable[..., bytes]: ...

        @property
        def decode(self) -> Callable[..., Image.Image]: ...


WINDOW = 4  # batches of pictures that are looked at together for equal sizes
THREADS = 4
ON_GPU, ON_CPU = 8, 1  # pictures in a batch by default: a CPU is busy with one
PICTURE = 8 << 20  # bytes of pixels that are reckoned for each of those; of larger pictures fewer are held
Item = TypeVar("Item")
Key = tuple[bytes, bytes, int, tuple[int, int]]


class Ready:
    """A model some of whose work is done."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.coded: dict[tuple[int, int], Future[Compressed]] = {}  # by id of the picture, which is alive, and t
        self.decoded: dict[Key, Callable[[], np.ndarray]] = {}  # by streams, t and size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def compress(self, rgb: np.ndarray, t: int, dead_zone: float = 1.0, progress: Progress = silent) -> Compressed:
        future = self.coded.get((id(rgb), t))
        return future.result() if future else self._model.compress(rgb, t, dead_zone, progress)

    def decompress(
        self, z: bytes, y: bytes, symbols_crc: int, t: int, size: tuple[int, int], progress: Progress = silent
    ) -> np.ndarray:
        found = self.decoded.get((z, y, t, size))
        return self._model.decompress(z, y, symbols_crc, t, size, progress) if found is None else found()


def encode_batch(
    codec: Codec, images: Iterable[Source], batch_size: int | None, errors: str, options: dict[str, Any]
) -> Iterator[bytes | JndcodecError]:
    """`Codec.encode_batch`."""
    goal = Goal(*(options.get(name) for name in ("quality", "jnd", "bpp", "size")))
    level = level_of(options.get("effort", DEFAULT_EFFORT))
    known = set(goal.given) <= {"quality"} and not level.steps and not options.get("lossless")
    limit = options.get("max_pixels", MAX_PIXELS)

    def read(image: Source) -> Picture | JndcodecError:
        try:
            return image if isinstance(image, Picture) else load(image, limit)
        except JndcodecError as error:
            return error

    def prepare(coder: BatchCoder, pictures: list[Picture | JndcodecError], ready: Ready, size: int) -> None:
        t = round(codec.info.t_1jnd * T_MAX if goal.quality is None else goal.quality / 100 * T_MAX)
        plain = [
            one for one in pictures if isinstance(one, Picture) and (one.alpha is None or options.get("keep_hidden"))
        ]
        for group in _groups(plain, lambda one: one.rgb.shape[:2], size):
            futures = coder.compress([one.rgb for one in group], t, level.dead_zone)
            ready.coded |= {(id(one.rgb), t): future for one, future in zip(group, futures, strict=True)}

    def finish(ready: Codec, image: Source, picture: Picture | JndcodecError) -> bytes:
        if isinstance(picture, JndcodecError):
            raise picture
        said = len(picture.notes)
        data = ready.encode(picture, **options)
        if not isinstance(image, Picture):
            for note in picture.notes[said:]:
                warnings.warn(note, stacklevel=4)
        return data

    def pixels(picture: Picture | JndcodecError) -> int:
        return picture.rgb.nbytes if isinstance(picture, Picture) else 0

    return _run(codec, images, read, pixels, prepare if known else None, finish, batch_size, errors)


def decode_batch(
    codec: Codec, files: Iterable[Encoded], batch_size: int | None, errors: str, options: dict[str, Any]
) -> Iterator[Image.Image | JndcodecError]:
    """`Codec.decode_batch`."""
    limit = options.get("max_pixels", MAX_PIXELS)

    def read(file: Encoded) -> bytes | JndcodecError:
        try:
            return as_bytes(file)
        except JndcodecError as error:
            return error

    def prepare(coder: BatchCoder, files: list[bytes | JndcodecError], ready: Ready, size: int) -> None:
        groups = [
            (group, coder.unpack(group))  # all of them, while the first batch runs
            for group in _groups(_streams(codec, files, limit), lambda one: one.size, size)
        ]
        for group, unpacked in groups:
            for one, picture in zip(group, coder.decompress(group, unpacked), strict=True):
                if picture is not None:
                    ready.decoded[one.z, one.y, one.t, one.size] = picture

    def finish(ready: Codec, file: Encoded, data: bytes | JndcodecError) -> Image.Image:
        if isinstance(data, JndcodecError):
            raise data
        return ready.decode(data, **options)

    return _run(codec, files, read, _pixels, prepare, finish, batch_size, errors)


def _pixels(data: bytes | JndcodecError) -> int:
    """Bytes of the picture that a file decodes to."""
    with suppress(JndcodecError):
        if isinstance(data, bytes):
            jlc = parse(data)
            return 3 * jlc.width * jlc.height
    return 0


def _streams(codec: Codec, files: Sequence[bytes | JndcodecError], limit: int | None) -> list[Streams]:
    """Of the files that this model decodes, within the limit; the others are `Codec.decode`'s to refuse."""
    from jndcodec.model.batch import Streams

    found = []
    for data in files:
        try:
            jlc = parse(data) if isinstance(data, bytes) else None
            if jlc and not jlc.lossless and jlc.model_id == codec.id:
                check_pixels(jlc, limit)
                sections = jlc.sections[Section.Z], jlc.sections[Section.Y]
                found.append(Streams(*sections, jlc.symbols_crc, jlc.t, (jlc.height, jlc.width)))
        except JndcodecError:
            continue
    return found


def _run(
    codec: Codec,
    items: Iterable[Any],
    read: Callable[[Any], Any],
    bytes_of: Callable[[Any], int],
    prepare: Callable[[BatchCoder, list[Any], Ready, int], None] | None,
    finish: Callable[[Codec, Any, Any], Any],
    batch_size: int | None,
    errors: str,
) -> Iterator[Any]:
    """finish(a codec with what `prepare` has made ready, item, read(item)) for each item, in order; the device works on
    the next items meanwhile. bytes_of: the pixels of what was read, which bounds how much is held. errors: "raise", or
    "return" them in the results' place."""
    if errors not in ("raise", "return"):
        raise InputError(f"errors is {errors!r}: give 'raise' or 'return'")
    model = codec.model
    native = model if model.exact and model.engine == "torch" else None
    size = batch_size or (ON_CPU if native is None or native.device.type == "cpu" else ON_GPU)
    with ThreadPoolExecutor(THREADS) as threads, ThreadPoolExecutor(1) as device:

        def start(window: list[tuple[Any, Any]]) -> Ready:
            ready = Ready(model)
            if prepare and native and size > 1:
                from jndcodec.model.batch import BatchCoder

                prepare(BatchCoder(native, threads), [value for _, value in window], ready, size)
            return ready

        def end(window: list[tuple[Any, Any]], ready: Ready) -> Iterator[Any]:
            prepared = copy.copy(codec)
            prepared.model = ready if ready.coded or ready.decoded else model
            for item, value in window:
                try:
                    yield finish(prepared, item, value)
                except JndcodecError as error:
                    if errors == "raise":
                        raise
                    yield error

        most = WINDOW * size, WINDOW * size * PICTURE
        reading = work_ahead(threads, read, items, 2 * most[0], most[1], bytes_of)
        pending: deque[tuple[list[tuple[Any, Any]], Future[Ready]]] = deque()
        for window in windows(reading, *most, bytes_of):
            pending.append((window, device.submit(start, window)))
            if len(pending) > 1:
                first, ready = pending.popleft()
                yield from end(first, ready.result())
        for window, ready in pending:
            yield from end(window, ready.result())


def _groups(items: Iterable[Item], size_of: Callable[[Item], tuple[int, ...]], most: int) -> list[list[Item]]:
    """Items of equal size, at most so many together; those too large for a batch are left out."""
    from jndcodec.model.batch import fits

    groups: dict[tuple[int, ...], list[list[Item]]] = {}
    for item in items:
        size = size_of(item)
        if fits((size[0], size[1])):
            found = groups.setdefault(size, [[]])
            if len(found[-1]) == most:
                found.append([])
            found[-1].append(item)
    return [group for found in groups.values() for group in found]
