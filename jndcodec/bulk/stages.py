"""`Encode` and `Decode`: callable classes for Ray Data's `map_batches`, and for any loop over batches.

    ds = ray.data.read_binary_files("s3://photos/", include_paths=True)
    ds = ds.map_batches(Encode, fn_constructor_kwargs={"quality": 60}, batch_format="pyarrow", batch_size=16,
                        compute=ray.data.ActorPoolStrategy(size=8), num_cpus=1)

The model is loaded once for each actor. Batches are Arrow tables (whose bytes are not copied on their way through Ray)
or dictionaries of numpy arrays, and come back as what they were. A picture that fails has no bytes and an error; it
never ends the job.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from jndcodec.ahead import work_ahead
from jndcodec.errors import InputError, JndcodecError, ModelError

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL import Image

    from jndcodec.codec import Codec

WRITERS = 4  # threads that compress decoded pictures of a batch, which holds no lock
MOST_WRITTEN = 64 << 20  # bytes of them that are made ahead


@dataclass
class Coded:
    """What became of one picture: bytes, or None and an error (a line, and the exit code of its kind)."""

    data: bytes | None = None
    error: str | None = None
    exit_code: int | None = None
    seconds: float = 0.0
    jnd: float | None = None


class Stage:
    """What both directions share. The column `bytes` is replaced; `error`, `seconds` and `jnd` are added."""

    def __init__(self, column: str, output: str | None, batch_size: int) -> None:
        self._column, self._output, self._batch_size = column, output or column, batch_size

    def __call__(self, batch: Any) -> Any:
        """A batch with the columns filled: a pyarrow.Table, or a dictionary of numpy arrays."""
        if isinstance(batch, dict):
            values = list(batch[self._column])
        else:
            values = batch.column(self._column).to_pylist()
        coded = self.run(values)
        columns: dict[str, list[Any]] = {
            self._output: [one.data for one in coded],
            "error": [one.error for one in coded],
            "seconds": [one.seconds for one in coded],
            "jnd": [one.jnd for one in coded],
        }
        if isinstance(batch, dict):
            kinds = {"seconds": float, "jnd": float}
            return batch | {name: _array(found, kinds.get(name)) for name, found in columns.items()}
        return _replaced(batch, columns)

    def run(self, values: Sequence[bytes | None]) -> list[Coded]:
        """Each input's fate, in order."""
        if self._batch_size == 1 or len(values) == 1:
            return [self._attempt(value, self._code) for value in values]
        start = time.monotonic()
        results = iter(self._together([value for value in values if value is not None]))

        def result(_: bytes) -> Coded:
            found = next(results)
            if isinstance(found, Exception):
                raise found
            return found

        coded = [self._attempt(value, result) for value in values]
        for one in coded:
            one.seconds = (time.monotonic() - start) / len(coded)
        return coded

    def _attempt(self, value: bytes | None, code: Callable[[bytes], Coded]) -> Coded:
        start = time.monotonic()
        try:
            if value is None:
                raise InputError("there are no bytes here")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what was converted is no error, and nobody sees a worker's stderr
                coded = code(value)
        except JndcodecError as error:
            coded = Coded(error=str(error), exit_code=error.exit_code)
        except Exception as error:  # libraries raise nearly anything; no picture may end the job
            coded = Coded(error=f"{type(error).__name__}: {error}", exit_code=JndcodecError.exit_code)
        coded.seconds = time.monotonic() - start
        return coded

    def _code(self, value: bytes) -> Coded:
        """One picture alone."""
        raise NotImplementedError

    def _together(self, values: Sequence[bytes]) -> Iterator[Coded | Exception]:
        """Pictures in batches."""
        raise NotImplementedError


class Encode(Stage):
    """Pictures as people have them (PNG, JPEG, WebP, ... in bytes) to .jlc bytes."""

    def __init__(
        self,
        column: str = "bytes",
        output: str | None = None,
        *,
        model: str | None = None,
        weights: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        threads: int | None = None,
        batch_size: int = 1,
        estimate_jnd: bool = False,
        **options: Any,
    ) -> None:
        """column, output: which column is read and which is written (the same). model … threads: as for `Codec`; its
        ModelError where the model is missing. batch_size: pictures of equal size that the transforms take at once, for
        GPUs. estimate_jnd: decode each file and fill `jnd` with its distance from the
        original. options: those of `Codec.encode`."""
        from jndcodec.codec import Codec

        super().__init__(column, output, batch_size)
        engine = _for_many(engine, precision)
        self._codec = Codec(model, weights=weights, device=device, precision=precision, engine=engine, threads=threads)
        self._estimate, self._options = estimate_jnd, options

    def _code(self, value: bytes) -> Coded:
        return self._measured(value, self._codec.encode(value, **self._options))

    def _together(self, values: Sequence[bytes]) -> Iterator[Coded | Exception]:
        found = self._codec.encode_batch(values, batch_size=self._batch_size, errors="return", **self._options)
        for value, data in zip(values, found, strict=True):
            yield data if isinstance(data, Exception) else _caught(self._measured, value, data)

    def _measured(self, value: bytes, data: bytes) -> Coded:
        if not self._estimate:
            return Coded(data)
        from jndcodec.images.loading import load_picture
        from jndcodec.metrics.arrays import ssimulacra2
        from jndcodec.rate.jnd import jnd_from_ssimulacra2

        original = load_picture(value, None).rgb
        decoded = np.asarray(self._codec.decode(data, max_pixels=None).convert("RGB"))
        return Coded(data, jnd=jnd_from_ssimulacra2(ssimulacra2(original, decoded), learned=True))


class Decode(Stage):
    """.jlc bytes to pictures in a format of Pillow's, with their metadata."""

    def __init__(
        self,
        column: str = "bytes",
        output: str | None = None,
        *,
        suffix: str = ".png",
        weights: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        threads: int | None = None,
        batch_size: int = 1,
        **options: Any,
    ) -> None:
        """suffix: of the format that pictures are written in; OutputError where Pillow writes none of that name.
        weights … threads: as for `jndcodec.decode`, which takes `options` too; batch_size as for `Encode`."""
        from jndcodec.images.saving import format_for

        super().__init__(column, output, batch_size)
        self._format, self._options = format_for(suffix), options
        self._where: dict[str, Any] = {
            "weights": weights,
            "device": device,
            "precision": precision,
            "engine": _for_many(engine, precision),
            "threads": threads,
        }

    def _code(self, value: bytes) -> Coded:
        from jndcodec.codec import decode

        return self._written(decode(value, **self._where, **self._options))

    def _together(self, values: Sequence[bytes]) -> Iterator[Coded | Exception]:
        """One model decodes most files, or all; those of another are decoded alone. Threads write the pictures while
        the next ones are decoded."""
        found = self._codec.decode_batch(values, batch_size=self._batch_size, errors="return", **self._options)

        def written(pair: tuple[bytes, Image.Image | Exception]) -> Coded | Exception:
            value, image = pair
            if isinstance(image, ModelError):
                return _caught(self._code, value)
            return image if isinstance(image, Exception) else _caught(self._written, image)

        with ThreadPoolExecutor(WRITERS) as threads:
            pairs = zip(values, found, strict=True)
            for _, coded in work_ahead(threads, written, pairs, 2 * WRITERS, MOST_WRITTEN, _size):
                yield coded

    @functools.cached_property
    def _codec(self) -> Codec:
        from jndcodec.codec import Codec

        return Codec(**self._where)

    def _written(self, image: Image.Image) -> Coded:
        from jndcodec.images.saving import write_image

        stream = BytesIO()
        write_image(image, stream, self._format)
        return Coded(stream.getvalue())


def _caught(code: Callable[..., Coded], *arguments: Any) -> Coded | Exception:
    """The error in the result's place: a generator that raises it would lose those that follow."""
    try:
        return code(*arguments)
    except Exception as error:
        return error


def _size(coded: Coded | Exception) -> int:
    return len(coded.data) if isinstance(coded, Coded) and coded.data else 0


def _for_many(engine: str, precision: str) -> str:
    """For more pictures than a worker can count beforehand."""
    from jndcodec.model.choice import PICTURES, engine_for

    return engine_for(engine, precision, pictures=PICTURES)


def _array(values: list[Any], kind: type | None) -> np.ndarray:
    """Numbers with NaN for None; bytes and strings as objects, so that zeros at their ends stay."""
    array: np.ndarray = np.empty(len(values), kind or object)
    array[:] = values
    return array


def _replaced(table: pa.Table, columns: dict[str, list[Any]]) -> pa.Table:
    import pyarrow as pa

    kinds = {"error": pa.string(), "seconds": pa.float64(), "jnd": pa.float64()}
    for name, values in columns.items():
        array = pa.array(values, kinds.get(name, pa.binary()))
        at = table.schema.get_field_index(name)
        table = table.append_column(name, array) if at < 0 else table.set_column(at, name, array)
    return table
