"""The classic codecs to compare with, through Pillow or their own programs. Real files, real decodes.

A `Coder` turns (H, W, 3) uint8 RGB and a setting into the bytes of a file, and those bytes back. Settings rise with
quality. `version` names everything besides the setting that the bytes depend on; the cache is keyed by it.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np

from jndcodec.errors import ArgumentError, DependencyError
from jndcodec.sampling import spread

QUALITY, DECIBELS = (0.0, 100.0), (1.0, 100.0)


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Coder:
    """One codec with its sweep of settings. `encode` and `decode` are what is timed."""

    name: str
    label: str
    suffix: str
    settings: tuple[float, ...]
    version: str
    encode: Callable[[np.ndarray, float], bytes]
    decode: Callable[[bytes], np.ndarray]
    learned: bool = False
    prepare: Callable[[], None] = _nothing  # once in each process, before anything is timed
    discrete: bool = False  # no settings but those of the sweep
    limits: tuple[float, float] = (-math.inf, math.inf)  # of what may be set


@dataclass(frozen=True)
class PillowEncode:
    """`image.save` in one format; `setting_as` is the option that takes the setting."""

    format: str
    options: tuple[tuple[str, object], ...]
    setting_as: str = "quality"
    plugin: str | None = None

    def __call__(self, rgb: np.ndarray, setting: float) -> bytes:
        from PIL import Image

        if self.plugin:
            importlib.import_module(self.plugin)
        value = [setting] if self.setting_as == "quality_layers" else round(setting)
        stream = BytesIO()
        Image.fromarray(rgb).save(stream, self.format, **{self.setting_as: value}, **dict(self.options))
        return stream.getvalue()


@dataclass(frozen=True)
class PillowDecode:
    plugin: str | None = None

    def __call__(self, data: bytes) -> np.ndarray:
        from PIL import Image

        if self.plugin:
            importlib.import_module(self.plugin)
        return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def _program(command: list[str], source: bytes, suffix: str, result: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "in" + suffix), Path(folder, "out" + result)
        given.write_bytes(source)
        done = subprocess.run([command[0], str(given), str(made), *command[1:]], capture_output=True, check=False)
        if done.returncode:
            raise DependencyError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")
        return made.read_bytes()


def cjxl(rgb: np.ndarray, setting: float) -> bytes:
    png = PillowEncode("PNG", (), "compress_level")(rgb, 1)
    return _program(["cjxl", "-q", f"{setting:g}", "-e", "7"], png, ".png", ".jxl")


def djxl(data: bytes) -> np.ndarray:
    return PillowDecode()(_program(["djxl"], data, ".jxl", ".png"))


def _pillow(
    name: str, label: str, suffix: str, settings: tuple[float, ...], library: str, encode: PillowEncode
) -> Coder:  # fmt: skip
    import PIL
    from PIL import features

    if not features.check(library):
        raise DependencyError(f"this Pillow cannot write {name}: pip install --upgrade pillow")
    version = f"pillow {PIL.__version__}, {library} {features.version(library)}, {encode.options}"
    return Coder(name, label, suffix, settings, version, encode, PillowDecode(), limits=QUALITY)


def _jpeg() -> Coder:
    encode = PillowEncode("JPEG", (("subsampling", "4:2:0"), ("optimize", True)))
    return _pillow("jpeg", "JPEG 4:2:0", ".jpg", (20, 30, 40, 50, 60, 70, 80, 87, 92, 96), "jpg", encode)


def _webp() -> Coder:
    encode = PillowEncode("WEBP", (("method", 6),))
    return _pillow("webp", "WebP", ".webp", (10, 25, 40, 55, 70, 80, 87, 92, 96, 99), "webp", encode)


def _avif(name: str, label: str, *options: tuple[str, object]) -> Coder:
    encode = PillowEncode("AVIF", (("subsampling", "4:4:4"), ("speed", 6), *options))
    coder = _pillow(name, label, ".avif", (25, 35, 45, 55, 62, 69, 76, 82, 88, 93), "avif", encode)
    from PIL import _avif as plugin

    return replace(coder, version=f"{coder.version}, {plugin.codec_versions()}")


def _avif_default() -> Coder:
    """As libavif has it: from 1.4 on tuned for how pictures look (`iq`), before for SSIM."""
    return _avif("avif", "AVIF 4:4:4")


def _avif_ssim() -> Coder:
    """Tuned for SSIM, as libavif was before 1.4: some 10 % fewer bytes at equal PSNR."""
    return _avif("avif-ssim", "AVIF 4:4:4, tune=ssim", ("codec", "aom"), ("advanced", (("tune", "ssim"),)))


def _jpeg2000() -> Coder:
    # without the colour transform (mct, off by default) files are twice as large
    options = (("quality_mode", "dB"), ("irreversible", True), ("mct", 1))
    encode = PillowEncode("JPEG2000", options, "quality_layers")  # the setting is a PSNR in dB
    settings = (27, 29, 31, 33, 35, 37, 39, 41, 43, 45)
    return replace(_pillow("jpeg2000", "JPEG 2000", ".jp2", settings, "jpg_2000", encode), limits=DECIBELS)


def _jxl() -> Coder:
    name, label, suffix, settings = "jxl", "JPEG XL", ".jxl", (25.0, 40.0, 55.0, 65.0, 73.0, 80.0, 86.0, 91.0, 95.0)
    if importlib.util.find_spec("pillow_jxl"):
        from importlib.metadata import version

        made_by = f"pillow-jxl-plugin {version('pillow-jxl-plugin')}, effort 7"
        encode = PillowEncode("JXL", (("effort", 7),), plugin="pillow_jxl")
        return Coder(name, label, suffix, settings, made_by, encode, PillowDecode("pillow_jxl"), limits=QUALITY)
    if shutil.which("cjxl") and shutil.which("djxl"):
        told = subprocess.run(["cjxl", "--version"], capture_output=True, text=True, check=False).stdout
        return Coder(name, label, suffix, settings, f"{told.splitlines()[0]}, effort 7", cjxl, djxl, limits=QUALITY)
    raise DependencyError("jxl needs the package pillow-jxl-plugin, or the programs cjxl and djxl of libjxl")


CLASSIC: dict[str, Callable[[], Coder]] = {
    "jpeg": _jpeg, "webp": _webp, "avif": _avif_default, "avif-ssim": _avif_ssim, "jxl": _jxl, "jpeg2000": _jpeg2000,
}  # fmt: skip


def parse_coder(spec: str, make: Callable[[str], Coder], points: int | None = None) -> Coder:
    """A coder from `name` or `name:setting/setting/...`; points: thin its own sweep to so many."""
    name, _, listed = spec.partition(":")
    coder = make(name)
    if listed:
        try:
            settings = tuple(sorted({float(value) for value in listed.split("/")}))
        except ValueError:
            raise ArgumentError(f"'{spec}': settings are numbers separated by slashes, as in {name}:50/70/90") from None
        low, high = coder.limits
        if wrong := [value for value in settings if not (low <= value <= high and math.isfinite(value))]:
            raise ArgumentError(f"'{spec}': {wrong[0]:g} is no setting of {name}, which go from {low:g} to {high:g}")
        return replace(coder, settings=settings)
    return replace(coder, settings=tuple(spread(coder.settings, points))) if points else coder


def classic_coder(name: str) -> Coder:
    if name not in CLASSIC:
        raise ArgumentError(f"no codec '{name}'; there are {', '.join(CLASSIC)}")
    return CLASSIC[name]()


def check_unique(coders: list[Coder]) -> None:
    names = [coder.name for coder in coders]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ArgumentError(
            f"named twice: {', '.join(sorted(twice))}; give each codec and model once, and models of one name others: "
            "--models A=FILE,B=FILE"
        )
