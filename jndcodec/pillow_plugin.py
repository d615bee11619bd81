"""`import jndcodec.pillow_plugin`, and Pillow opens and saves .jlc files.

    Image.open("photo.jlc").show()
    image.save("photo.jlc", jnd=0.5)

Opening reads the header alone; the picture is decoded when its pixels are first used. `save` takes the options of
`jndcodec.encode`, and `icc_profile`, `exif` and `xmp` (bytes, or None to leave one out) in place of the image's own.
Pictures are stored upright: the orientation in the EXIF is applied, once, and set to 1.
"""

from __future__ import annotations

import warnings
from typing import IO, Any

from PIL import Image, ImageFile

from jndcodec.container.jlc import MAGIC, parse
from jndcodec.container.sections import unpack_metadata
from jndcodec.errors import FormatError
from jndcodec.images.loading import load_picture
from jndcodec.images.metadata import image_info

FORMAT = "JLC"
_OPTIONS = frozenset(
    "model weights device precision threads quality jnd bpp size lossless effort strip keep_hidden verify max_pixels "
    "progress".split()
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
        if self.filename:  # then the stream was opened from a path, for this image alone, and is not needed any more
            self.fp.close()
            self.fp = None

    def verify(self) -> None:
        """Nothing is left to do: the checksum of the whole file was tested when it was opened."""

    def load(self) -> Any:
        """Decode, once. Raises what `jndcodec.decode` raises."""
        if self._im is None:
            from jndcodec.codec import decode

            self.im = decode(self._data).im
            self._data = b""
        return Image.Image.load(self)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    from jndcodec.codec import encode

    given = image.encoderinfo
    # as with Pillow's own formats, given blocks stand in place of the image's: the orientation of a given EXIF counts
    info = {key: given[key] for key in ("icc_profile", "exif", "xmp") if key in given}
    without_exif = "exif" in info and info["exif"] in (None, b"")
    if without_exif:
        del info["exif"]  # the orientation still counts
    picture = load_picture(image, None, info=info)
    if without_exif:
        picture.exif = None
    for note in picture.notes:
        warnings.warn(f"{filename!s}: {note}", stacklevel=4)
    stream.write(encode(picture, **{name: value for name, value in given.items() if name in _OPTIONS}))


Image.register_open(FORMAT, JlcImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".jlc")
Image.register_mime(FORMAT, "image/x-jlc")
