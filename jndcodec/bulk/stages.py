"""`Encode` and `Decode`: callable classes for Ray Data's `map_batches`, and for any loop over batches.

    ds = ray.data.read_binary_files("s3://photos/", include_paths=True)
    ds = ds.map_batches(Encode, fn_constructor_kwargs={"quality": 60}, batch_format="pyarrow", batch_size=16,
                        compute=ray.data.ActorPoolStrategy(size=8), num_cpus=1)

The model is loaded once for each actor. Batches are Arrow tables (whose bytes are not copied on their way through Ray)
or dictionaries of numpy arrays, and come back as what they were. A picture that fails has no bytes and an error; it
never ends the job.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from jndcodec.errors import InputError, JndcodecError

if TYPE_CHECKING:
    import pyarrow as pa


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

    def __init__(self, column: str, output: str | None) -> None:
        self._column, self._output = column, output or column

    def __call__(self, batch: Any) -> Any:
        """A batch with the columns filled: a pyarrow.Table, or a dictionary of numpy arrays."""
        if isinstance(batch, dict):
            values = list(batch[self._column])
        else:
            values = batch.column(self._column).to_pylist()
        coded = self.run(values)
        columns = {
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
        return [self._attempt(value) for value in values]

    def _attempt(self, value: bytes | None) -> Coded:
        start = time.monotonic()
        try:
            if value is None:
                raise InputError("there are no bytes here")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what was converted is no error, and nobody sees a worker's stderr
                coded = self._code(value)
        except JndcodecError as error:
            coded = Coded(error=str(error), exit_code=error.exit_code)
        except Exception as error:  # libraries raise nearly anything; no picture may end the job
            coded = Coded(error=f"{type(error).__name__}: {error}", exit_code=JndcodecError.exit_code)
        coded.seconds = time.monotonic() - start
        return coded

    def _code(self, value: bytes) -> Coded:
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
        threads: int | None = None,
        estimate_jnd: bool = False,
        **options: Any,
    ) -> None:
        """column, output: which column is read and which is written (the same). model … threads: as for `Codec`; its
        ModelError where the model is missing. estimate_jnd: decode each file and fill `jnd` with its distance from the
        original. options: those of `Codec.encode`."""
        from jndcodec.codec import Codec

        super().__init__(column, output)
        self._codec = Codec(model, weights=weights, device=device, precision=precision, threads=threads)
        self._estimate, self._options = estimate_jnd, options

    def _code(self, value: bytes) -> Coded:
        limit = {name: self._options[name] for name in ("max_pixels",) if name in self._options}
        from jndcodec.images.loading import load_picture

        picture = load_picture(value, **limit)
        data = self._codec.encode(picture, **self._options)
        jnd = None
        if self._estimate:
            from jndcodec.metrics.arrays import ssimulacra2
            from jndcodec.rate.jnd import jnd_from_ssimulacra2

            decoded = np.asarray(self._codec.decode(data, max_pixels=None).convert("RGB"))
            jnd = jnd_from_ssimulacra2(ssimulacra2(picture.rgb, decoded), learned=True)
        return Coded(data, jnd=jnd)


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
        threads: int | None = None,
        **options: Any,
    ) -> None:
        """suffix: of the format that pictures are written in; OutputError where Pillow writes none of that name.
        weights … threads: as for `jndcodec.decode`, which takes `options` too."""
        from jndcodec.images.saving import format_for

        super().__init__(column, output)
        self._format = format_for(suffix)
        self._options = options | {"weights": weights, "device": device, "precision": precision, "threads": threads}

    def _code(self, value: bytes) -> Coded:
        from jndcodec.codec import decode
        from jndcodec.images.saving import write_image

        stream = BytesIO()
        write_image(decode(value, **self._options), stream, self._format)
        return Coded(stream.getvalue())


def _array(values: list[Any], kind: type | None) -> np.ndarray:
    """Numbers with NaN for None; bytes and strings as objects, so that zeros at their ends stay."""
    array = np.empty(len(values), kind or object)
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
