"""The photos to prepare: where they are, which of them are the same, and their pixels in sRGB."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from jndcodec.errors import DataError, InputError
from jndcodec.images.loading import load_picture
from jndcodec.images.opening import why_unknown
from jndcodec.images.suffixes import PICTURE_SUFFIXES

SAME = 5  # of 64 bits of difference hash that may differ between copies of one photo
_BITS = np.array([bin(i).count("1") for i in range(256)], np.uint8)


@dataclass(frozen=True)
class Photo:
    """A file that opens as a picture. `identity`: SHA-256 of its bytes, in hexadecimal; `look`: difference hash."""

    path: str
    identity: str
    look: int


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    path: str
    reason: str


def find_files(sources: Sequence[str | Path], out: Path) -> list[str]:
    """Files named, and the pictures in folders and below; sorted within a folder.

    Hidden ones are passed over, and the set itself (folder `out`) if it lies in one of the sources.
    """
    made = out.resolve()
    found: list[str] = []
    for source in map(Path, sources):
        if not source.exists():
            raise InputError(f"{source}: no such file or folder")
        if not source.is_dir():
            found.append(str(source))
        for folder, folders, files in os.walk(source):
            inside = (name for name in folders if not name.startswith(".") and Path(folder, name).resolve() != made)
            folders[:] = sorted(inside)
            names = (n for n in sorted(files) if not n.startswith(".") and Path(n).suffix.lower() in PICTURE_SUFFIXES)
            found += [os.path.join(folder, name) for name in names]
    if not found:
        raise DataError(f"no pictures in {', '.join(map(str, sources))}; name folders with photos")
    return list(dict.fromkeys(found))


def look_at(path: str) -> Photo | Skipped:
    """Open a file just enough to know it; works in a worker process."""
    try:
        data = Path(path).read_bytes()
        with Image.open(BytesIO(data)) as image:
            image.draft("L", (144, 128))  # a JPEG is decoded small
            return Photo(path, hashlib.sha256(data).hexdigest(), difference_hash(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        return Skipped(path, why_unknown(data))
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        return Skipped(path, f"not a picture that can be read ({error or type(error).__name__})")


def difference_hash(image: Image.Image) -> int:
    """64 bits: whether each of 8 x 9 grey samples is brighter than its left neighbour. Copies differ in few of them."""
    samples = np.asarray(image.convert("RGB").convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
    return int.from_bytes(np.packbits(samples[:, 1:] > samples[:, :-1]).tobytes(), "big")


class Seen:
    """The looks of photos so far."""

    def __init__(self, photos: Iterable[tuple[str, int]] = ()) -> None:
        self._names: list[str] = []
        self._looks = np.empty((0, 8), np.uint8)
        for name, look in photos:
            self.add(name, look)

    def add(self, name: str, look: int) -> None:
        self._names.append(name)
        self._looks = np.vstack([self._looks, _bytes(look)])

    def like(self, look: int) -> str | None:
        """The name of an earlier photo that looks the same."""
        distance = _BITS[self._looks ^ _bytes(look)].sum(1)
        return self._names[int(distance.argmin())] if len(distance) and distance.min() <= SAME else None


def _bytes(look: int) -> np.ndarray:
    return np.frombuffer(look.to_bytes(8, "big"), np.uint8)


def read_srgb(path: str) -> Image.Image:
    """The photo, upright, 8 bits, in sRGB. InputError for what cannot be used, transparent pictures among them."""
    picture = load_picture(path)
    if picture.alpha is not None and picture.alpha.min() < 255:
        raise InputError(f"{path}: has transparent parts")
    image = Image.fromarray(picture.rgb)
    if picture.icc is None or picture.grey:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(picture.icc))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise InputError(f"{path}: its colour profile cannot be used ({error})") from error
    assert converted is not None  # only in place there is none
    return converted
