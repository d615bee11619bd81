"""EXIF: what of it stays with an upright picture, and that no tag of any kind spoils a file it is written to."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from jndcodec.images.exif import PREFIX, clean
from jndcodec.images.exif_tags import into_tiff
from jndcodec.images.loading import Picture, load_picture, picture_to_image
from jndcodec.images.saving import format_for, write_image

Rows = list[tuple[int, int, int, bytes]]  # tag, type, count, value
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
FORMATS = [".png", ".webp", ".tif", ".jpg", ".avif"]


def block(*directories: Rows, order: str = "<", links: dict[int, int] | None = None) -> bytes:
    """A TIFF structure: directories one after another, each chained to the next; `links` gives the directory that the
    pointer with this tag leads to, which is then not chained."""
    links = links or {}
    starts, at = [], 8
    for rows in directories:
        starts.append(at)
        at += 2 + 12 * len(rows) + 4 + sum(len(value) + len(value) % 2 for *_, value in rows if len(value) > 4)
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    for number, rows in enumerate(directories):
        begin = starts[number] + 2 + 12 * len(rows) + 4
        table, values = b"", b""
        for tag, kind, count, value in rows:
            if tag in links:
                value = struct.pack(order + "I", starts[links[tag]])
            if len(value) > 4:
                field = struct.pack(order + "I", begin + len(values))
                values += value + bytes(len(value) % 2)
            else:
                field = value.ljust(4, b"\0")
            table += struct.pack(order + "HHI", tag, kind, count) + field
        following = number + 1 < len(directories) and number + 1 not in links.values()
        link = starts[number + 1] if following else 0
        out += struct.pack(order + "H", len(rows)) + table + struct.pack(order + "I", link) + values
    return out


def short(value: int, order: str = "<") -> bytes:
    return struct.pack(order + "H", value)


def tags(exif: bytes | None) -> dict[int, object]:
    found = Image.Exif()
    found.load(exif or b"")
    return dict(found)


def written(exif: bytes, suffix: str, mode: str = "RGB") -> tuple[Image.Image, list[str], bytes]:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    image = picture_to_image(Picture(rgb if mode == "RGB" else rgb[..., :1].repeat(3, 2), mode == "L"))
    image.info["exif"] = PREFIX + exif
    stream = io.BytesIO()
    notes = write_image(image, stream, format_for(suffix))
    again = Image.open(io.BytesIO(stream.getvalue()))
    again.load()
    assert again.size == image.size
    difference = np.abs(np.asarray(again.convert("RGB")).astype(int) - np.asarray(image.convert("RGB")))
    assert difference.max() == 0 if suffix in (".png", ".webp", ".tif") else difference.mean() < 20
    return again, notes, stream.getvalue()


# --- cleaning ---


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_is_taken_out_and_no_offset_moves(order: str) -> None:
    """Maker notes hold offsets from the start of the block: every value must stay where it is."""
    note = b"maker note with offsets"
    rows = [(0x10F, 2, 9, b"Acme Inc\0"), (0x112, 3, 1, short(8, order)), (0x8769, 4, 1, b"")]
    exif = block(rows, [(0x927C, 7, len(note), note)], order=order, links={0x8769: 1})
    cleaned = clean(PREFIX + exif)
    assert (cleaned.orientation, cleaned.damaged, len(cleaned.block)) == (8, False, len(exif))
    assert sum(a != b for a, b in zip(exif, cleaned.block, strict=True)) == 1 and tags(cleaned.block)[0x112] == 1
    without = clean(exif, keep_orientation=False).block
    assert without.index(note) == exif.index(note) and set(tags(without)) == {0x10F, 0x8769}
    found = Image.Exif()
    found.load(cleaned.block)
    assert found[0x10F] == "Acme Inc" and found.get_ifd(0x8769)[0x927C] == note
    assert clean(cleaned.block) == type(cleaned)(cleaned.block)  # a second time changes nothing


def test_tags_of_the_file_it_came_in_go() -> None:
    """As phones and Photoshop write them: the size of an earlier version, bits, photometric interpretation, strips."""
    of_file = [0x100, 0x101, 0x102, 0x103, 0x106, 0x111, 0x115, 0x116, 0x117, 0x11C, 0x140, 0x14A, 0x152, 0x153, 0xC612]
    rows = sorted([(tag, 3, 1, short(3)) for tag in of_file] + [(0x110, 2, 4, b"X1\0\0"), (0xC4A5, 7, 4, b"Prin")])
    assert set(tags(clean(block(rows)).block)) == {0x110, 0xC4A5}
    assert clean(block([(0x100, 3, 1, short(9))])).block is None


@pytest.mark.parametrize(
    "exif", [b"MM", b"II*\0" + b"\xff" * 4, b"MM\0*\0\0\0\x08\xff\xff", b"nonsense" * 9, bytes(99)]
)
def test_what_is_no_exif_is_left_out_and_said(exif: bytes) -> None:
    cleaned = clean(exif)
    assert cleaned.block is None and cleaned.orientation == 1 and "damaged" in cleaned.notes[0]


def test_damaged_tags_go_and_the_others_stay() -> None:
    beyond = (0x131, 2, 100, b"")  # its value is said to lie at 0, and to be longer than all
    rows = [(0x10F, 2, 4, b"Ac\0\0"), beyond, (0x132, 99, 1, b""), (0x8825, 4, 1, struct.pack("<I", 9999))]
    cleaned = clean(block(rows))
    assert tags(cleaned.block) == {0x10F: "Ac\0"} or tags(cleaned.block) == {0x10F: "Ac"}
    assert cleaned.notes == ["damaged tags of its EXIF are left out"]


def test_a_directory_that_is_its_own_child_ends() -> None:
    cleaned = clean(block([(0x10F, 2, 4, b"Ac\0\0"), (0x8769, 4, 1, struct.pack("<I", 8))]))
    assert set(tags(cleaned.block)) == {0x10F} and cleaned.damaged


def test_orientation_counts_where_the_block_is_cut_short() -> None:
    exif = block([(0x10F, 2, 9, b"Acme Inc\0"), (0x112, 3, 1, short(6)), (0x131, 2, 9, b"Software\0")])
    assert clean(exif[:36]).orientation == 6 and clean(exif[:36]).block is None


def thumbnail_block(orientation: int) -> tuple[bytes, bytes]:
    thumbnail = b"\xff\xd8 a thumbnail \xff\xd9"
    first = [(0x10F, 2, 9, b"Acme Inc\0"), (0x112, 3, 1, short(orientation)), (0x8769, 4, 1, b"")]
    second = [(0x103, 3, 1, short(6)), (0x201, 4, 1, b""), (0x202, 4, 1, struct.pack("<I", len(thumbnail)))]
    sizes = [(0xA002, 4, 1, struct.pack("<I", 4000)), (0xA003, 4, 1, struct.pack("<I", 3000))]
    exif = bytearray(block(first, second, sizes, links={0x8769: 2}))
    at = exif.index(struct.pack("<HHI", 0x201, 4, 1)) + 8
    exif[at : at + 4] = struct.pack("<I", len(exif))
    return bytes(exif) + thumbnail, thumbnail


def test_a_thumbnail_stays_unless_the_picture_was_turned() -> None:
    exif, thumbnail = thumbnail_block(1)
    found = Image.Exif()
    found.load(clean(exif).block)
    assert found.get_ifd(-1)[0x202] == len(thumbnail) and thumbnail in clean(exif).block
    assert found.get_ifd(0x8769)[0xA002] == 4000
    for orientation in (3, 6):
        cleaned = clean(thumbnail_block(orientation)[0])
        found = Image.Exif()
        found.load(cleaned.block)
        assert thumbnail not in cleaned.block and found.get_ifd(-1) == {} and not cleaned.damaged
        assert (0xA002 in found.get_ifd(0x8769)) == (orientation == 3)  # width and height change places


# --- reading ---


def test_every_type_and_letter_of_a_tiff_is_kept() -> None:
    rows = [
        (0x10E, 2, 6, "Müll\0".encode()),
        (0x11A, 5, 1, struct.pack("<II", 300, 1)),
        (0x13B, 2, 4, b"Zo\xeb\0"),
        (0x8769, 4, 1, b""),
    ]
    child = [(0x9204, 10, 1, struct.pack("<ii", -1, 3)), (0xA432, 5, 2, struct.pack("<4I", 24, 1, 70, 1))]
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "TIFF")
    into_tiff(stream, block(rows, child, links={0x8769: 1}))
    for exif in (load_picture(stream.getvalue()).exif, load_picture(Image.open(stream)).exif):
        found = Image.Exif()
        found.load(exif)
        assert found[0x11A] == 300 and found.get_ifd(0x8769)[0xA432] == (24, 70)
        assert float(found.get_ifd(0x8769)[0x9204]) == pytest.approx(-1 / 3)
    assert "Müll".encode() in load_picture(stream.getvalue()).exif  # Pillow's own writer makes ?? of these
    assert b"Zo\xeb" in load_picture(stream.getvalue()).exif


def test_big_tiff_is_read() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((8, 8, 3), np.uint8), bigtiff=True, description="large", metadata=None)
    picture = load_picture(stream.getvalue())
    assert tags(picture.exif)[0x10E] == "large" and not picture.notes


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_picture_with_garbage_for_exif_is_read_without_it(file_format: str) -> None:
    exif = block([(0x10F, 2, 9, b"Acme Inc\0")])
    for garbage in (b"this is no TIFF header at all", exif[:4] + b"\xff" * 4 + exif[8:], b"II\0\0" + exif[4:]):
        stream = io.BytesIO()
        if file_format == "AVIF":  # whose writer looks at it
            Image.new("RGB", (8, 8)).save(stream, file_format, exif=PREFIX + exif)
            data = stream.getvalue().replace(exif, garbage.ljust(len(exif), b"!")[: len(exif)])
        else:
            Image.new("RGB", (8, 8)).save(stream, file_format, exif=PREFIX + garbage)
            data = stream.getvalue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = load_picture(data)
        assert picture.exif is None and picture.notes == ["its EXIF is damaged and left out"]


# --- writing ---


@pytest.mark.parametrize("suffix", FORMATS)
def test_garbage_is_left_out_and_said_in_every_format(suffix: str) -> None:
    for exif in (b"this is no TIFF header at all", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff"):
        again, notes, _ = written(exif, suffix)
        assert "its EXIF is damaged and left out" in notes and not set(again.getexif()) & {0x10F, 0x8769}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_describes_the_picture_arrives_and_what_describes_the_file_does_not(suffix: str, order: str) -> None:
    rows = [
        (0x100, 4, 1, struct.pack(order + "I", 4000)),
        (0x101, 4, 1, struct.pack(order + "I", 3000)),
        (0x106, 3, 1, short(2, order)),
        (0x10E, 2, 6, "Müll\0".encode()),
        (0x112, 3, 1, short(6, order)),
        (0x11A, 5, 1, struct.pack(order + "II", 300, 1)),
        (0x11B, 5, 1, struct.pack(order + "II", 300, 1)),
        (0x8769, 4, 1, b""),
    ]
    child = [(0x829A, 5, 1, struct.pack(order + "II", 1, 50)), (0x9286, 7, 12, b"ASCII\0\0\0text")]
    again, _, data = written(block(rows, child, order=order, links={0x8769: 1}), suffix)
    exif = again.getexif()
    assert "Müll".encode() in data and exif[0x11A] == 300
    assert exif.get(0x112, 1) == 1 and (suffix == ".tif" or 0x100 not in exif)
    assert exif.get_ifd(0x8769)[0x829A] == 0.02 and exif.get_ifd(0x8769)[0x9286] == b"ASCII\0\0\0text"
    if suffix == ".tif":
        assert again.info["dpi"] == (300, 300)


def random_exif(rng: np.random.Generator) -> bytes:
    """Directories of all types and counts, values of noise, tags of every kind; now and then a damaged byte."""
    order = "<>"[rng.integers(2)]
    known = [
        254,
        256,
        257,
        258,
        259,
        262,
        266,
        269,
        270,
        271,
        273,
        274,
        277,
        278,
        279,
        282,
        283,
        284,
        285,
        296,
        297,
        305,
    ]
    known += [
        306,
        315,
        316,
        317,
        320,
        322,
        324,
        330,
        338,
        339,
        342,
        347,
        529,
        532,
        700,
        18246,
        33432,
        33723,
        34377,
        34675,
    ]
    known += [34853, 40091, 40095, 50341, 50706, 50740]

    def rows(pool: list[int], count: int) -> Rows:
        found = []
        for tag in sorted({int(tag) for tag in rng.choice(pool, count)}):
            kind, values = int(rng.integers(0, 15)), int(rng.choice([0, 1, 1, 1, 2, 3, 8, 100]))
            found.append((tag, kind, values, rng.bytes(SIZES.get(kind, 1) * values)))
        return found

    first = [row for row in rows(known, 12) if row[0] != 0x8769] + [(0x8769, 4, 1, b"")]
    child = rows(list(range(0x8298, 0x8830)) + list(range(0x9000, 0xA600)), 12)
    exif = bytearray(block(sorted(first), child, order=order, links={0x8769: 1}))
    for _ in range(int(rng.integers(0, 3)) * int(rng.integers(0, 4))):
        exif[rng.integers(len(exif))] = rng.integers(256)
    return bytes(exif)


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_exif_spoils_a_file(suffix: str) -> None:
    for seed in range(60 if suffix == ".tif" else 12):
        exif = random_exif(np.random.default_rng(seed))
        mode = ("RGB", "L")[seed % 2]
        with warnings.catch_warnings():
            warnings.simplefilter("error" if suffix == ".tif" else "ignore")  # elsewhere odd tags stay as they are
            again, _, data = written(exif, suffix, mode)
            dict(again.getexif())
        if suffix == ".tif":
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                assert np.array_equal(file.asarray(), np.asarray(again))
                assert file.pages[0].photometric == (2 if mode == "RGB" else 1) and len(file.pages) == 1


def test_cleaning_survives_any_bytes() -> None:
    rng = np.random.default_rng(9)
    for _ in range(300):
        exif = bytearray(random_exif(rng))
        for _ in range(8):
            exif[rng.integers(len(exif))] = rng.integers(256)
        cleaned = clean(bytes(exif[: rng.integers(8, len(exif) + 1)]))
        if cleaned.block:
            assert not clean(cleaned.block).damaged


def test_a_directory_without_a_link_may_touch_the_next_one() -> None:
    """Some writers leave out the link behind the Exif directory, and GPS begins right there."""
    first = [(0x8769, 4, 1, struct.pack("<I", 38)), (0x8825, 4, 1, struct.pack("<I", 52))]
    child = struct.pack("<HHHI4s", 1, 0x9000, 7, 4, b"0232")
    gps = struct.pack("<HHHI4s", 1, 1, 2, 2, b"N\0")
    cleaned = clean(block(first) + child + gps)
    found = Image.Exif()
    found.load(cleaned.block)
    assert not cleaned.damaged and found.get_ifd(0x8769)[0x9000] == b"0232" and found.get_ifd(0x8825)[1] == "N"
