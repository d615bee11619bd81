"""Pictures to .jlc bytes and back: `Codec` keeps a model warm, `encode` and `decode` are for one picture.

picture ─ images ─ rate (which t) ─ effort (how hard) ─ model (symbols) ─ entropy (streams) ─ container ─ bytes
"""

from __future__ import annotations

import copy
import functools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from jndcodec import batches
from jndcodec.container.jlc import Flags, Jlc, Section, parse
from jndcodec.container.sections import pack_extras, unpack_alpha
from jndcodec.effort import level_of
from jndcodec.errors import DependencyError, InputError, JndcodecError, ModelError, TargetError
from jndcodec.images.loading import MAX_PIXELS, Picture
from jndcodec.installed import find_by_id, find_by_name
from jndcodec.lossless import (
    DEFAULT_EFFORT,
    Encoded,
    Source,
    as_bytes,
    as_image,
    check_pixels,
    check_sides,
    decode_lossless,
    encode_lossless,
    exact_file,
    load,
    tell,
)
from jndcodec.model.choice import PICTURES, engine_for, first_engine
from jndcodec.model.interface import Model, Progress, silent
from jndcodec.rate.exact import ExactFile
from jndcodec.rate.goal import Goal
from jndcodec.weights import ModelInfo, is_foreign, read_info

if TYPE_CHECKING:  # imported where they are used: a lossless file needs no model
    from jndcodec.rate import target

NO_PHOTO = 4.0  # lossless, coded quickly, in multiples of the model's bytes: photos take 6 and more
_forked = False  # from a process that had a model
BEYOND = 1.05  # JND: a note says so where a picture that is no photo comes out further away


class Codec:
    """A model, loaded once, for any number of pictures."""

    def __init__(
        self,
        model: str | None = None,
        *,
        weights: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        threads: int | None = None,
    ) -> None:
        """model: a name of `jndcodec models` (default: the first); weights: a file instead, of ours or a CompressAI
        checkpoint (jndcodec.model.zoo). device: auto, cpu, cuda or mps; precision: auto, fp32 or bf16 of the
        transforms; engine: auto, onnx or torch, which runs them. Any file decodes in all of these. auto begins with
        ONNX Runtime on a CPU, and takes torch for efforts from 4 on and for pictures whose size pays for loading it.
        ModelError if missing."""
        _limit_threads(threads)
        self._how, self._threads = (device, precision), threads
        self._models: dict[str, Model] = {}  # by engine
        self.model: Model
        self.info: ModelInfo
        if weights and is_foreign(weights):
            from jndcodec.model.zoo import ZooModel

            _survive_forks()
            zoo = ZooModel(weights, device)
            self.model, self.info, self._may_change = zoo, zoo.info, False
            return
        self.info = read_info(weights) if weights else find_by_name(model)
        self._may_change = engine == "auto"
        self._first = first_engine(engine, device, precision)
        self._take(self._first)

    def _take(self, engine: str) -> None:
        """Open the model with that engine, if it is not open, and use it from now on."""
        if engine not in self._models:
            self._models[engine] = self._with_torch() if engine == "torch" else self._with_onnx()
        self.model = self._models[engine]

    def _with_onnx(self) -> Model:
        from jndcodec.model.onnx_model import OnnxModel

        return OnnxModel(self.info, self._threads)

    def _with_torch(self) -> Model:
        try:
            from jndcodec.model.native import NativeModel
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise DependencyError("this needs torch: pip install torch") from None
        _survive_forks()
        _limit_threads(self._threads)
        return NativeModel(self.info, *self._how)

    def _choose(self, pixels: int, effort: int = DEFAULT_EFFORT) -> None:
        """Before work on a picture: the engine for it, whatever was coded before."""
        if not self._may_change:
            return
        if level_of(effort).steps or engine_for("auto", self._how[1], pixels=pixels) == "torch":
            wanted = "torch"
        else:
            wanted = self._first
        if wanted != self.model.engine:
            self._take(wanted)

    def _for_batches(self, batch_size: int | None, effort: int = DEFAULT_EFFORT) -> Codec:
        """This codec with the engine for batches: torch alone works on several pictures at once."""
        codec = copy.copy(self)
        several = bool(batch_size and batch_size > 1)
        if self._may_change and several and engine_for("auto", self._how[1], pictures=PICTURES) == "torch":
            codec._first = "torch"
        codec._choose(0, effort)
        return codec

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def id(self) -> bytes:
        """8 bytes that stand in every file of this model."""
        return self.model.id

    def encode(
        self,
        image: Source,
        *,
        quality: float | None = None,
        jnd: float | None = None,
        bpp: float | None = None,
        size: int | None = None,
        effort: int = DEFAULT_EFFORT,
        lossless: bool | None = None,
        strip: bool = False,
        keep_hidden: bool = False,
        verify: bool = False,
        max_pixels: int | None = MAX_PIXELS,
        progress: Progress = silent,
    ) -> bytes:
        """A picture as .jlc bytes.

        At most one target: quality 0 … 100 (the rate knob), jnd (distance in JND units), bpp (bits per pixel, the
        whole file counted) or size (bytes, never exceeded). None: the model's calibrated one-JND quality.
        lossless: None codes the very pixels where that takes fewer bytes than the model at the same target, or where
        the model does not reach it; False: never; True: always, which needs no target. effort 1 … 9 trades time for
        bytes. strip: leave out EXIF and XMP. keep_hidden: code the colours under alpha 0 too, instead of filling them
        smoothly. verify: decode the result and compare it before returning. progress is called with the share done.
        What is to be known about the result becomes a note of a Picture, else a warning.
        Errors: InputError, LimitError, TargetError.
        """
        goal = Goal(quality, jnd, bpp, size)
        if lossless:
            goal.refuse_for("a lossless file")
            return encode_lossless(
                image,
                effort=effort,
                strip=strip,
                keep_hidden=keep_hidden,
                verify=verify,
                max_pixels=max_pixels,
                progress=progress,
            )
        if not self.model.variable_rate:
            goal.refuse_for(self.name)
        from jndcodec.rate import target

        picture = image if isinstance(image, Picture) else load(image, max_pixels)
        self._choose(picture.width * picture.height, effort)
        jlc = self._without_streams(picture, pack_extras(picture.alpha, picture.metadata, strip))
        exact = None if lossless is False else exact_file(picture, effort, strip, keep_hidden)
        notes: list[str] = []
        progress(0.05)
        rgb = picture.rgb if keep_hidden else picture.seen()
        trials = target.Trials(self.model, rgb, effort, lambda share: progress(0.05 + 0.9 * share))
        data = self._encode(jlc, trials, goal, exact, notes)
        if verify:
            progress(0.95)
            if exact and parse(data).lossless:
                exact.check()
            else:
                self.decode(data, max_pixels=None)
        tell(notes, image)
        progress(1.0)
        return data

    def _without_streams(self, picture: Picture, extras: dict[int, bytes]) -> Jlc:
        check_sides(picture)
        jlc = Jlc(self.id, picture.width, picture.height, 0, 0, Flags.NONE, {Section.Z: b"", Section.Y: b"", **extras})
        jlc.flags |= Flags.GREY if picture.grey else Flags.NONE
        jlc.flags |= Flags.NONE if self.model.exact else Flags.FLOAT_ENTROPY
        return jlc

    def _encode(self, jlc: Jlc, trials: target.Trials, goal: Goal, exact: ExactFile | None, notes: list[str]) -> bytes:
        """The model's file, or `exact` where that takes fewer bytes or the model does not reach the goal.

        jlc: the file without its streams; they are put into it.
        """
        from jndcodec.rate import target

        try:
            if self.model.variable_rate:
                jlc.t = target.knob_for(goal, trials, jlc.width * jlc.height, len(jlc.pack()), self.info)
        except TargetError as error:
            budget = goal.bytes_for(jlc.width * jlc.height)
            if exact is None or (budget is not None and not exact.reaches(budget)):
                raise
            if budget is None:
                notes.append(f"coded lossless: {error}")
            return exact.data
        coded = trials.full(trials.rgb, jlc.t)
        jlc.sections[Section.Z], jlc.sections[Section.Y], jlc.symbols_crc = coded.z, coded.y, coded.symbols_crc
        data = jlc.pack()
        if exact is None:
            return data
        if smaller := exact.at_most(len(data) - 1):
            return smaller
        if self.model.variable_rate and not goal.given and exact.guess < NO_PHOTO * len(data):
            reached = target.distance(trials.rgb, coded.reconstruct())
            if reached > BEYOND:
                notes.append(
                    f"comes out an estimated {reached:.1f} JND away, over the 1 asked for; --jnd 1 comes closer, "
                    "--lossless keeps every pixel"
                )
        return data

    def encode_batch(
        self, images: Iterable[Source], *, batch_size: int | None = None, errors: str = "raise", **options: Any
    ) -> Iterator[bytes | JndcodecError]:
        """`encode` for each picture, in order, with the same options. Pictures are read ahead, and those of equal size
        (up to 2048 pixels on a side, at a known quality, without --effort over 3) share the transforms' batches.

        batch_size: pictures in one (8 on a GPU; 1 on a CPU, which is busy with one). errors: "raise", or "return" them
        in the place of results. Up to 8 batches of pictures are held.
        """
        codec = self._for_batches(batch_size, options.get("effort", DEFAULT_EFFORT))
        return batches.encode_batch(codec, images, batch_size, errors, options)

    def decode_batch(
        self, files: Iterable[Encoded], *, batch_size: int | None = None, errors: str = "raise", **options: Any
    ) -> Iterator[Image.Image | JndcodecError]:
        """`decode` for each file, in order, in batches as those of `encode_batch`."""
        return batches.decode_batch(self._for_batches(batch_size), files, batch_size, errors, options)

    def decode(self, data: Encoded, *, max_pixels: int | None = MAX_PIXELS, progress: Progress = silent) -> Image.Image:
        """The picture in a .jlc file (its bytes, path or binary stream), with alpha and metadata.
        InputError, FormatError, VersionError, ModelError, SymbolError, LimitError."""
        jlc = parse(as_bytes(data))
        if jlc.lossless:
            return decode_lossless(jlc, max_pixels)
        if jlc.model_id != self.id:
            raise ModelError(missing_model(jlc))
        check_pixels(jlc, max_pixels)
        self._choose(jlc.width * jlc.height)
        size = (jlc.height, jlc.width)
        alpha = unpack_alpha(jlc.sections[Section.ALPHA], size) if Section.ALPHA in jlc.sections else None
        streams = jlc.sections[Section.Z], jlc.sections[Section.Y]
        rgb = self.model.decompress(*streams, jlc.symbols_crc, jlc.t, size, progress)
        return as_image(jlc, rgb, alpha)


@functools.cache
def _survive_forks() -> None:
    """A child of this process has none of torch's threads, and would wait for them for ever: it works on one."""

    def in_child() -> None:
        global _forked
        _forked = True
        sys.modules["torch"].set_num_threads(1)

    import torch  # noqa: F401

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_child)


def _limit_threads(threads: int | None) -> None:
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"{threads} threads cannot work: give 1 or more")
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1 if _forked else threads)


def missing_model(jlc: Jlc) -> str:
    """One line on what a file needs."""
    info = find_by_id(jlc.model_id)
    if info is not None:
        return f"this file was made with the model {info.name}: decode it with that one, so leave out --weights"
    return (
        f"this file needs the model {jlc.model_id.hex()}, which is not installed: give its file with --weights, or "
        "install it with `jndcodec models --add FILE`"
    )


@functools.lru_cache(maxsize=2)
def _warm(weights: str, device: str, precision: str, engine: str, threads: int | None) -> Codec:
    return Codec(weights=weights, device=device, precision=precision, engine=engine, threads=threads)


def encode(
    image_or_path: Source,
    *,
    model: str | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
    lossless: bool | None = None,
    **options: Any,
) -> bytes:
    """One picture as .jlc bytes; `options` are those of `Codec.encode`. The model stays loaded for the next call."""
    if lossless:
        return encode_lossless(image_or_path, **options)
    _limit_threads(threads)
    file = weights or find_by_name(model).path
    return _warm(str(file), device, precision, engine, threads).encode(image_or_path, lossless=lossless, **options)


def decode(
    data: Encoded,
    *,
    max_pixels: int | None = MAX_PIXELS,
    progress: Progress = silent,
    **options: Any,
) -> Image.Image:
    """The picture in a .jlc file (its bytes, path or binary stream), by the installed model that the file names, or by
    `weights`; `options` are those of `codec_for`. A lossless file needs no model."""
    data = as_bytes(data)
    jlc = parse(data)
    if jlc.lossless:
        return decode_lossless(jlc, max_pixels)
    return codec_for(jlc, **options).decode(data, max_pixels=max_pixels, progress=progress)


def codec_for(
    jlc: Jlc,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
) -> Codec:
    """A warm codec for a file that is not lossless; ModelError where its model is missing."""
    _limit_threads(threads)
    if weights is None:
        info = find_by_id(jlc.model_id)
        if info is None:
            raise ModelError(missing_model(jlc))
        weights = info.path
    return _warm(str(weights), device, precision, engine, threads)
