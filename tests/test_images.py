"""Pictures in and out: every mode, metadata, limits, damage; and what each format can hold."""

from __future__ import annotations

import io
import struct
import threading
import zlib

import numpy as np
import png_tools
import pytest
from PIL import Image, ImageCms

from jndcodec.errors import InputError, LimitError, OutputError
from jndcodec.images.exif import PREFIX
from jndcodec.images.loading import MAX_PIXELS, Picture, load_picture, picture_to_image
from jndcodec.images.saving import format_for, write_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6">\xc3\xa9</d></x:xmpmeta>'


def noise(h: int, w: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, channels), dtype=np.uint8)


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def icc_for(space: bytes) -> bytes:
    """A profile whose header claims another colour space."""
    return SRGB[:16] + space + SRGB[20:]


def png(samples: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG, which Pillow does not write for colour."""
    return png_tools.png(samples, 16, colour_type, chunks)


# --- modes ---


@pytest.mark.parametrize("h, w", [(1, 1), (1, 5000), (5000, 1), (17, 31)])
@pytest.mark.parametrize("mode, grey, alpha", [("RGB", 0, 0), ("RGBA", 0, 1), ("L", 1, 0), ("LA", 1, 1)])
def test_eight_bit_pictures_keep_every_sample(mode: str, grey: bool, alpha: bool, h: int, w: int) -> None:
    samples = noise(h, w, len(mode))
    picture = load_picture(saved(Image.fromarray(samples[..., 0] if mode == "L" else samples, mode), "PNG"))
    colours = samples[..., : len(mode) - alpha]
    assert np.array_equal(picture.rgb, np.broadcast_to(colours, (h, w, 3)))
    assert (picture.grey, picture.alpha is not None, picture.notes) == (grey, alpha, [])
    assert (picture.height, picture.width) == (h, w)
    if alpha:
        assert np.array_equal(picture.alpha, samples[..., -1])
    back = picture_to_image(picture)
    assert back.mode == mode and np.array_equal(np.asarray(back), samples[..., 0] if mode == "L" else samples)


def test_one_bit_becomes_grey_and_says_so() -> None:
    bits = noise(9, 13, 1)[..., 0] > 127
    picture = load_picture(saved(Image.fromarray(bits), "PNG"))
    assert picture.grey and np.array_equal(picture.rgb[..., 1], bits * 255) and "1-bit" in picture.notes[0]


@pytest.mark.parametrize("transparency", [None, 1, bytes([0, 128, 255])])
def test_palettes(transparency: object) -> None:
    indices = noise(8, 8, 1)[..., 0] % 3
    image = Image.fromarray(indices, "P")
    palette = np.array([[255, 0, 0], [0, 255, 0], [9, 8, 7]], np.uint8)
    image.putpalette(palette.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    picture = load_picture(saved(image, "PNG", **options))
    assert np.array_equal(picture.rgb, palette[indices]) and not picture.grey
    if transparency is None:
        assert picture.alpha is None
    else:
        alphas = np.array([0, 128, 255] if isinstance(transparency, bytes) else [255, 0, 255], np.uint8)
        assert np.array_equal(picture.alpha, alphas[indices])


@pytest.mark.parametrize("mode, colour", [("L", 70), ("RGB", (1, 2, 3)), ("1", 0), ("I;16", 300)])
def test_one_transparent_colour_becomes_alpha(mode: str, colour: object) -> None:
    image = Image.new(mode, (4, 4), 1 if mode == "1" else None if mode == "RGB" else 200)
    image.putpixel((2, 1), colour)
    picture = load_picture(saved(image, "PNG", transparency=colour))
    expected = np.full((4, 4), 255)
    expected[1, 2] = 0
    assert np.array_equal(picture.alpha, expected)


@pytest.mark.parametrize("colour_type, channels", [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_sixteen_bits_in_png_are_said(colour_type: int, channels: int) -> None:
    samples = np.random.default_rng(1).integers(0, 65536, (6, 5, channels))
    picture = load_picture(png(samples, colour_type))
    assert picture.notes == ["16 bits per channel reduced to 8"]
    assert picture.grey == (channels < 3) and (picture.alpha is not None) == (channels in (2, 4))
    assert np.abs(picture.rgb[..., 0] - samples[..., 0] / 257).max() <= 1


def test_sixteen_bit_grey_is_rounded() -> None:
    samples = np.array([[[0], [128], [129], [65535], [32767], [257 * 7]]])
    assert load_picture(png(samples, 0)).rgb[0, :, 0].tolist() == [0, 0, 1, 255, 127, 7]


def test_twelve_bit_tiff_is_scaled_by_its_own_top() -> None:
    """4095 is white. Written by hand: two samples in three bytes, one strip."""
    entries = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 3)]
    directory = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    data = b"II*\0" + struct.pack("<I", 12) + b"\xff\xf8\x00\0" + struct.pack("<H", len(entries)) + directory + bytes(4)
    picture = load_picture(data)
    assert picture.rgb[0, :, 0].tolist() == [255, 128] and picture.notes == ["12 bits per channel reduced to 8"]


@pytest.mark.parametrize(
    "data",
    [
        b"P6\n2 1\n65535\n" + bytes(12),
        b"P5\n2 1\n65535\n" + bytes(4),
        saved(Image.fromarray(np.zeros((9, 9), np.uint16)), "TIFF"),
        saved(Image.fromarray(np.zeros((16, 16), np.uint16)), "JPEG2000"),
    ],
)
def test_sixteen_bits_elsewhere_are_said(data: bytes) -> None:
    assert load_picture(data).notes == ["16 bits per channel reduced to 8"]


def test_cmyk_goes_through_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """LittleCMS makes no CMYK profile, so the transform here has another source; the test is that it is used."""
    image = Image.new("CMYK", (4, 4), (255, 0, 0, 0))
    plain = load_picture(saved(image, "TIFF"))
    assert "approximate" in plain.notes[0] and plain.rgb[0, 0].tolist() == [0, 255, 255]
    used = []
    real = ImageCms.profileToProfile

    def through(source: Image.Image, profile: object, target: object, **options: object) -> Image.Image:
        used.append(options["renderingIntent"])
        return real(source.convert("RGB"), ImageCms.createProfile("sRGB"), target, **options)

    monkeypatch.setattr(ImageCms, "profileToProfile", through)
    picture = load_picture(saved(image, "TIFF", icc_profile=icc_for(b"CMYK")))
    assert used == [ImageCms.Intent.RELATIVE_COLORIMETRIC] and picture.icc is None and not picture.grey
    assert picture.notes == ["CMYK converted to sRGB through its ICC profile"]


def test_cmyk_with_an_unusable_profile_is_said() -> None:
    picture = load_picture(saved(Image.new("CMYK", (4, 4)), "TIFF", icc_profile=icc_for(b"CMYK")))
    assert picture.icc is None and "unusable" in picture.notes[0] and "approximate" in picture.notes[1]


def test_lab_and_ycbcr_become_rgb() -> None:
    rgb = Image.fromarray(noise(1, 1, 3)).resize((8, 8))
    srgb, lab_profile = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
    lab = ImageCms.profileToProfile(rgb, srgb, lab_profile, outputMode="LAB")
    for image in (lab, rgb.convert("YCbCr")):
        picture = load_picture(saved(image, "TIFF"))
        assert np.abs(picture.rgb.astype(int) - np.asarray(rgb)).max() <= 3 and "converted" in picture.notes[0]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_a_range_are_refused(mode: str) -> None:
    with pytest.raises(InputError, match="8 or 16 bits first"):
        load_picture(saved(Image.new(mode, (4, 4)), "TIFF"))


# --- orientation and metadata ---


def exif_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    exif[0x0112] = orientation
    exif[0x8769] = {0x920A: 50.0}
    return exif.tobytes()


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """By the EXIF standard's words (4.6.2, tag 274): where the stored row 0 and column 0 are in the upright picture."""
    transposed = stored.transpose(1, 0, 2)
    return {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: transposed,
        6: transposed[:, ::-1],
        7: transposed[::-1, ::-1],
        8: transposed[::-1],
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_once(file_format: str, orientation: int) -> None:
    stored = noise(6, 9, 3)
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = saved(Image.fromarray(stored), file_format, exif=exif_block(orientation), **options)
    picture = load_picture(data)
    assert np.array_equal(picture.rgb, upright(stored, orientation))
    kept = Image.Exif()
    kept.load(picture.exif)
    assert kept.get(0x0112, 1) == 1 and kept[0x010F] == "Acme" and kept.get_ifd(0x8769)[0x920A] == 50.0


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_in_jpeg_and_avif(orientation: int) -> None:
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:8, :8] = 255
    for file_format in ("JPEG", "AVIF"):
        picture = load_picture(saved(Image.fromarray(stored), file_format, exif=exif_block(orientation)))
        expected = upright(stored, orientation)
        assert picture.rgb.shape == expected.shape
        assert np.abs(picture.rgb.astype(int) - expected).mean() < 3


def test_a_transparent_grey_upright_picture_turns_its_alpha_too() -> None:
    stored = noise(3, 5, 2)
    picture = load_picture(saved(Image.fromarray(stored, "LA"), "PNG", exif=exif_block(6)))
    assert np.array_equal(picture.alpha, upright(stored, 6)[..., 1])


def test_xmp_orientation_follows_the_exif() -> None:
    image = Image.fromarray(noise(4, 6, 3))
    turned = load_picture(saved(image, "WEBP", xmp=XMP, exif=exif_block(6)))
    assert turned.xmp == XMP.replace(b'="6"', b'="1"')
    assert load_picture(saved(image, "WEBP", xmp=XMP, exif=exif_block(1))).xmp == XMP


@pytest.mark.parametrize("grey, space, kept", [(0, b"RGB ", 1), (1, b"GRAY", 1), (1, b"RGB ", 0), (0, b"GRAY", 0)])
def test_icc_is_kept_where_it_fits_the_picture(grey: bool, space: bytes, kept: bool) -> None:
    image = Image.fromarray(noise(8, 8, 3)).convert("L" if grey else "RGB")
    picture = load_picture(saved(image, "PNG", icc_profile=icc_for(space)))
    assert picture.icc == (icc_for(space) if kept else None)
    assert bool(picture.notes) != kept and all("ICC" in note for note in picture.notes)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_animations_give_their_first_frame_and_say_so(file_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    picture = load_picture(saved(frames[0], file_format, save_all=True, append_images=frames[1:]))
    assert "first of 3 frames" in picture.notes and abs(int(picture.rgb[0, 0, 0]) - 255) < 5


# --- sources, limits, damage ---


def test_every_kind_of_source(tmp_path) -> None:
    image = Image.fromarray(noise(5, 7, 3))
    data = saved(image, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)

    class Pipe(io.RawIOBase):  # cannot seek
        def __init__(self) -> None:
            self.stream = io.BytesIO(data)

        def read(self, size: int = -1) -> bytes:
            return self.stream.read(size)

    for source in (path, str(path), data, io.BytesIO(data), Pipe(), image, Image.open(path)):
        assert np.array_equal(load_picture(source).rgb, np.asarray(image))


def test_a_pillow_image_is_not_changed() -> None:
    image = Image.open(io.BytesIO(saved(Image.new("RGB", (4, 2)), "PNG", exif=exif_block(6))))
    assert load_picture(image).rgb.shape == (4, 2, 3)
    assert image.size == (4, 2) and image.getexif()[0x0112] == 6


def test_max_pixels_is_checked_before_decoding() -> None:
    bomb = png(np.zeros((1, 1, 1)), 0)
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 16, 0, 0, 0, 0)
    bomb = bomb[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + bomb[33:]
    with pytest.raises(LimitError, match=r"100000x100000.*--max-pixels"):
        load_picture(bomb)
    data = saved(Image.new("L", (10, 10)), "PNG")
    with pytest.raises(LimitError):
        load_picture(data, 99)
    assert load_picture(data, 100).width == load_picture(data, None).width == 10


def test_pictures_above_pillows_own_limit_are_read_and_the_limit_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = saved(Image.new("L", (10, 10)), "PNG")
    threads = [threading.Thread(target=load_picture, args=(data,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load_picture(data).notes == [] and Image.MAX_IMAGE_PIXELS == 10 and MAX_PIXELS > 100_000_000


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "PPM"])
def test_truncated_anywhere_is_one_clear_error(file_format: str) -> None:
    data = saved(Image.fromarray(noise(24, 24, 3)), file_format)
    seen = 0
    for end in range(0, len(data), max(1, len(data) // 60)):
        try:
            load_picture(data[:end], name="a.xyz")
        except InputError as error:
            seen += 1
            assert str(error).startswith("a.xyz: ") and "\n" not in str(error)
    assert seen > 50  # the last bytes of some formats are not needed


def test_flipped_bytes_give_a_picture_or_an_input_error() -> None:
    rng = np.random.default_rng(3)
    for file_format in ("PNG", "JPEG", "WEBP", "TIFF", "GIF"):
        data = saved(Image.fromarray(noise(16, 16, 3)), file_format, exif=exif_block(6))
        for _ in range(60):
            damaged = bytearray(data)
            damaged[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            try:
                assert load_picture(bytes(damaged), 1 << 20).rgb.dtype == np.uint8
            except (InputError, LimitError):
                pass


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "empty"),
        (b"some text\n" * 9, "known format"),
        (b"\x8aJLC\x01" + bytes(99), "jndcodec decode"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
        (b"\xff\x0a" + bytes(99), "JPEG XL|damaged"),  # the latter once a plugin that reads it is loaded
    ],
)
def test_what_is_no_picture(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_picture(data)


def test_a_reason_of_several_lines_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("generic error\n   see stderr")

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(InputError, match=r"\(generic error see stderr\)"):
        load_picture(b"\x89PNG" + bytes(99))


def test_camera_raw_previews_are_refused() -> None:
    with pytest.raises(InputError, match="preview"):
        load_picture(saved(Image.new("RGB", (8, 8)), "TIFF", tiffinfo={254: 1, 50706: bytes((1, 4, 0, 0))}))


def test_missing_files_and_folders(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_picture(tmp_path / "none.png")
    with pytest.raises(InputError, match="folder"):
        load_picture(tmp_path)


# --- pictures out ---


def decoded(channels: str) -> Image.Image:
    rgb = noise(8, 12, 3) if "RGB" in channels else np.repeat(noise(8, 12, 1), 3, axis=2)
    alpha = noise(8, 12, 1)[..., 0] if "A" in channels else None
    icc = icc_for(b"RGB " if "RGB" in channels else b"GRAY")
    exif = exif_block(1).removeprefix(PREFIX)
    return picture_to_image(Picture(rgb, "RGB" not in channels, alpha, icc, exif, XMP))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".jpg", ".avif"])
@pytest.mark.parametrize("channels", ["RGB", "RGBA", "L", "LA"])
def test_metadata_survives_saving(suffix: str, channels: str) -> None:
    image, stream = decoded(channels), io.BytesIO()
    if suffix == ".jpg" and "A" in channels:
        with pytest.raises(OutputError, match=r"no transparency.*\.png"):
            write_image(image, stream, format_for(suffix))
        return
    notes = write_image(image, stream, format_for(suffix))
    lossy = suffix in (".jpg", ".avif")
    assert bool(notes) == lossy and all("lossy" in note for note in notes)
    again = Image.open(stream)
    again.load()
    assert again.info["icc_profile"] == image.info["icc_profile"]
    assert (again.info.get("xmp") or b"") == XMP
    assert again.getexif().get_ifd(0x8769)[0x920A] == 50.0 and again.getexif()[0x010F] == "Acme"
    if not lossy:
        assert np.array_equal(np.asarray(again.convert(image.mode)), np.asarray(image))


def test_what_a_format_cannot_hold_is_said() -> None:
    notes = write_image(decoded("RGB"), io.BytesIO(), format_for(".bmp"))
    assert [note for note in notes if "ICC" in note] and [note for note in notes if "EXIF" in note] and len(notes) == 3
    assert any("256 colours" in note for note in write_image(decoded("RGB"), io.BytesIO(), format_for(".gif")))
    for suffix in (".bmp", ".ppm"):
        with pytest.raises(OutputError, match="transparency"):
            write_image(decoded("RGBA"), io.BytesIO(), format_for(suffix))


def test_metadata_too_long_for_jpeg_is_left_out_and_said() -> None:
    image = decoded("RGB")
    exif = Image.Exif()
    exif[0x010E] = "long" * 20_000
    image.info["exif"] = exif.tobytes()
    assert any("so long its EXIF" in note for note in write_image(image, io.BytesIO(), "JPEG"))


def test_formats_that_cannot_be_written() -> None:
    for suffix in ("", ".xyz", ".psd"):
        with pytest.raises(OutputError):
            format_for(suffix)
    with pytest.raises(OutputError, match=r"WEBP.*\.png"):
        write_image(Image.new("RGB", (20_000, 1)), io.BytesIO(), "WEBP")


def test_a_decoded_grey_picture_is_the_mean_of_its_channels() -> None:
    rgb = np.array([[[10, 11, 13], [255, 255, 254], [0, 0, 1]]], np.uint8)
    assert np.asarray(picture_to_image(Picture(rgb, grey=True))).tolist() == [[11, 255, 0]]
