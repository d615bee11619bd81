"""Files that are not quite as they should be, and pictures that are read by several threads at once."""

from __future__ import annotations

import io
import threading
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin
from png_tools import png

from jndcodec.container.limits import pillow_limits
from jndcodec.errors import InputError
from jndcodec.images.loading import load_picture

END = b"\xff\xd9"


def jpeg(photo, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo(72, 100)).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


# --- JPEG without its end ---


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 5}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read_and_said(photo, mode: str, options: dict[str, object]) -> None:
    data = jpeg(photo, mode, **options)
    assert data.endswith(END)
    whole = load_picture(data)
    for cut in (data[:-2], data[:-1], data[:-2] + bytes(40)):
        picture = load_picture(cut)
        assert np.array_equal(picture.rgb, whole.rgb)
        assert picture.notes == ["its end marker is missing; the picture is whole", *whole.notes]
    assert load_picture(data[:-2] + bytes(40) + END).notes == whole.notes


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_that_lacks_more_is_damaged(photo, options: dict[str, object]) -> None:
    data = jpeg(photo, **options)[:-2]
    for missing in (8, 20, 100, len(data) // 2, len(data) - 700):
        for rest in (b"", bytes(100)):  # an unfinished download may have its full size
            with pytest.raises(InputError, match="cut short"):
                load_picture(data[:-missing] + rest)


def test_a_progressive_jpeg_without_its_last_scans_is_damaged(photo) -> None:
    data = jpeg(photo, progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 4
    for last in scans[1:]:
        with pytest.raises(InputError, match="cut short"):
            load_picture(data[:last])


# --- TIFF ---


def test_an_ordinary_tiff_marked_as_reduced_is_read(photo) -> None:
    stream = io.BytesIO()
    Image.fromarray(photo(24, 32)).save(stream, "TIFF", tiffinfo={254: 1})
    picture = load_picture(stream.getvalue())
    assert np.array_equal(picture.rgb, photo(24, 32)) and picture.notes == []


def test_a_reduced_first_picture_with_a_smaller_one_behind_is_read(photo) -> None:
    for small, refused in (((8, 8), False), ((48, 64), True)):
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as file:
            file.write(photo(24, 32), subfiletype=1, photometric="rgb")
            file.write(photo(*small), photometric="rgb")
        if refused:
            with pytest.raises(InputError, match="starts with a preview"):
                load_picture(stream.getvalue())
        else:
            picture = load_picture(stream.getvalue())
            assert np.array_equal(picture.rgb, photo(24, 32)) and picture.notes == ["first of 2 frames"]


def test_raw_files_of_cameras_are_refused(photo) -> None:
    raw = io.BytesIO()
    with tifffile.TiffWriter(raw) as file:  # as NEF, ARW and DNG are: a preview, the picture in a SubIFD
        file.write(photo(16, 24), subfiletype=1, photometric="rgb", subifds=1)
        file.write(photo(48, 64), photometric="rgb")
    plain = io.BytesIO()
    Image.fromarray(photo(16, 24)).save(plain, "TIFF")
    data = plain.getvalue()
    directory = 8 + len(data)  # Canon's mark stands right behind the header, so the directory lies further back
    entries = data[8 : 8 + 2 + 12 * data[8] + 4]
    canon = data[:4] + directory.to_bytes(4, "little") + b"CR\2\0" + data[12:] + bytes(8) + entries
    assert Image.open(io.BytesIO(canon)).size == (24, 16)
    for file in (raw.getvalue(), canon):
        with pytest.raises(InputError, match="preview"):
            load_picture(file)


# --- threads ---


def test_notes_do_not_move_between_threads() -> None:
    """Half of the pictures give a note, half give none, and a third party warns all the while."""
    noted = png(np.zeros((8, 8, 3), int), 16, 2)
    silent = png(np.zeros((8, 8, 3), int), 8, 2)
    wrong: list[object] = []
    stop = threading.Event()

    def read(data: bytes, expected: list[str]) -> None:
        for _ in range(60):
            notes = load_picture(data).notes
            if notes != expected:
                wrong.append(notes)

    def shout() -> None:
        while not stop.is_set():
            warnings.warn("from somewhere else", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shouting = threading.Thread(target=shout)
        shouting.start()
        readers = [
            threading.Thread(target=read, args=case)
            for case in ((noted, ["16 bits per channel reduced to 8"]), (silent, [])) * 2
        ]
        for thread in readers:
            thread.start()
        for thread in readers:
            thread.join()
        stop.set()
        shouting.join()
        assert wrong == [] and {str(warning.message) for warning in caught} == {"from somewhere else"}


def test_pillows_limits_are_back_when_the_last_reader_is_done() -> None:
    limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    with pillow_limits:
        with pillow_limits:
            assert Image.MAX_IMAGE_PIXELS is None
        assert Image.MAX_IMAGE_PIXELS is None
    assert limits == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    with pytest.raises(InputError):
        load_picture(b"no picture")
    assert limits == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
