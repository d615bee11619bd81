"""`import jndcodec.pillow_plugin`, and Pillow opens and saves .jlc files.

    Image.open("photo.jlc").show()
    image.save("photo.jlc", jnd=0.5)

Opening reads the header alone; the picture is decoded when its pixels are first used. `save` takes the options of
`jndcodec.encode`, and `icc_profile`, `exif` and `xmp` (bytes, or None to leave one out) in place of the image's own.
"""

from __future__ import annotations

import warnings
from typing import IO, Any

from PIL import Image, ImageFile

from jndcodec.container.jlc import MAGIC, parse
from jndcodec.container.sections import unpack_metadata
from jndcodec.errors import FormatError
from jndcodec.images.exif import PREFIX
from jndcodec.images.loading import load_picture
from jndcodec.images.metadata import image_info

FORMAT = "JLC"
_OPTIONS = frozenset(
    "model weights device precision threads quality jnd bpp size effort strip verify max_pixels progress".split()
)


class JlcImageFile(ImageFile.ImageFile):
    """A .jlc file in Pillow."""

    format = FORMAT
    format_description = "jndcodec"

    def _open(self) -> None:
        assert self.fp is not None  # Pillow opens it
        self._data = self.fp.read()
        try:
            header = parse(self._data)
            metadata = unpack_metadata(header.sections)
        except FormatError as error:  # what Pillow expects of a plugin that meets a damaged file
            raise SyntaxError(str(error)) from error
        self._size = (header.width, header.height)
        self._mode = ("L" if header.grey else "RGB") + ("A" if header.alpha else "")
        self.tile = []
        self.info.update(image_info(**metadata))

    def load(self) -> Any:
        """Decode, once. Raises what `jndcodec.decode` raises."""
        if self._im is None:
            from jndcodec.codec import decode

            self.im = decode(self._data).im
            self._data = b""
        return super().load()


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    from jndcodec.codec import encode

    given = image.encoderinfo
    picture = load_picture(image, None)
    for note in picture.notes:
        warnings.warn(f"{filename!s}: {note}", stacklevel=4)
    if "icc_profile" in given:
        picture.icc = given["icc_profile"] or None
    if "xmp" in given:
        picture.xmp = given["xmp"] or None
    if "exif" in given:
        exif = given["exif"]
        exif = exif.tobytes() if isinstance(exif, Image.Exif) else exif
        picture.exif = exif.removeprefix(PREFIX) if exif else None
    stream.write(encode(picture, **{name: value for name, value in given.items() if name in _OPTIONS}))


Image.register_open(FORMAT, JlcImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".jlc")
Image.register_mime(FORMAT, "image/x-jlc")
