"""`prepare`: layout, split, copies, flat areas, JND1 levels, going on, and everything that can go wrong."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageCms, ImageEnhance, ImageFilter, features

from jndcodec.cli.prepare import prepare as command
from jndcodec.errors import DataError, DependencyError, InputError, JndcodecError, OutputError
from jndcodec.metrics.ssimulacra2 import score
from jndcodec.prepare import build, level
from jndcodec.prepare.build import Recipe, prepare, split_of
from jndcodec.prepare.manifest import Manifest
from jndcodec.prepare.photos import Seen, difference_hash, read_srgb
from jndcodec.prepare.tiles import cut, flatness
from jndcodec.train.data import open_dataset
from jndcodec.workers import map_in_order

avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
SMALL = Recipe(side=64, most=4, codec="jpeg")
NO_JND = Recipe(side=64, most=4, level=None)


def smooth(picture: np.ndarray) -> np.ndarray:
    """With the weaker colours and finest details of real photos, which codecs are made for."""
    image = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(0.8))
    return np.asarray(ImageEnhance.Color(image).enhance(0.15))


@pytest.fixture
def photos(tmp_path, photo) -> Path:
    """Six photos of 160 x 200 in two folders."""
    for k in range(6):
        path = tmp_path / "photos" / "ab"[k % 2] / f"photo {k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth(photo(160, 200, seed=k))).save(path)
    return tmp_path / "photos"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]


def tensor(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 255


def test_layout_and_manifest(photos, tmp_path) -> None:
    root = tmp_path / "set"
    summary = prepare([photos], root, SMALL)
    assert (summary.added, summary.known) == (6, 0)
    assert all("of 4 tiles: no quality" in s.reason for s in summary.skipped)  # quantisers are coarse on 64 x 64
    for part in ("train", "test"):
        assert names(root / part / "Ref") == names(root / part / "JND1") != []
    made = lines(root)
    assert len(made) == summary.train + summary.test
    for line in made:
        ref, jnd = (root / line["split"] / kind / f"{line['name']}.png" for kind in ("Ref", "JND1"))
        source = np.asarray(Image.open(line["source"]))[line["y"] : line["y"] + 64, line["x"] : line["x"] + 64]
        assert np.array_equal(np.asarray(Image.open(ref)), source)
        assert line["jnd"]["metric"] == "ssimulacra2" and line["jnd"]["threshold"] == 78
        assert line["jnd"]["score"] == pytest.approx(score(tensor(ref), tensor(jnd)).item(), abs=0.01)
        assert abs(line["jnd"]["score"] - 78) <= level.TOLERANCE
    content = json.loads((root / "manifest.json").read_text())
    assert content["tiles"] == {"train": summary.train, "test": summary.test} and content["photos"] == 6
    dataset = open_dataset(root, need_jnd=True)
    assert (len(dataset.train), len(dataset.test)) == (summary.train, summary.test)


def test_split_is_by_photo(photos, tmp_path) -> None:
    prepare([photos], tmp_path / "set", NO_JND)
    made = lines(tmp_path / "set")
    splits = {line["photo"]: {other["split"] for other in made if other["photo"] == line["photo"]} for line in made}
    assert all(len(split) == 1 for split in splits.values())
    assert {line["split"] for line in made} == {"train", "test"}  # also where no hash says "test"
    assert split_of("0" * 64) == "test" and split_of("f" * 64) == "train"
    rng = np.random.default_rng(0)
    share = np.mean([split_of(rng.bytes(32).hex()) == "test" for _ in range(4000)])
    assert share == pytest.approx(build.TEST_SHARE, abs=0.015)


@avif
@pytest.mark.parametrize(("name", "target"), [("noticeable", 78), ("strict", 83), ("flicker", 86.4)])
def test_avif_reaches_each_level(photo, name, target) -> None:
    assert level.threshold(name) == target
    found = level.find_level(smooth(photo(128, 128, seed=3)), "avif", level.threshold(name))
    assert abs(found.score - target) < 1.5
    assert 1 < found.quality < 100


@pytest.mark.parametrize("codec", [c for c in ("jpeg", "webp") if features.check({"jpeg": "jpg", "webp": "webp"}[c])])
def test_other_codecs(photo, codec) -> None:
    found = level.find_level(smooth(photo(96, 96, seed=4)), codec, 78)
    assert level.reached(found, 78) and found.rgb.shape == (96, 96, 3)


def test_bisection_finds_the_closest_quality(monkeypatch) -> None:
    rgb = np.zeros((1, 1, 3), np.uint8)
    for slope in (0.1, 0.7, 5):
        monkeypatch.setattr(level, "_try", lambda rgb, _, codec, q, slope=slope: level.Level(rgb, q, slope * q))
        for quality in (0.2, 41.3, 59.6, 78, 120):
            found = level.find_level(rgb, "jpeg", slope * quality)
            assert abs(found.quality - min(max(quality, 1), 100)) <= max(0.5, level.CLOSE / slope)


def test_tiles_off_their_level_are_left_out(photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(level, "_try", lambda rgb, original, codec, quality: level.Level(rgb, quality, 70.0))
    with pytest.raises(DataError, match="no quality of jpeg is near SSIMULACRA2 78"):
        prepare([photos], tmp_path / "set", SMALL)


def test_jxl_without_its_codec_is_a_clear_error(photos, tmp_path, monkeypatch) -> None:
    level.coder.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(DependencyError, match="pillow-jxl-plugin"):
        prepare([photos], tmp_path / "set", Recipe(codec="jxl"))
    assert not (tmp_path / "set").exists()


def test_second_run_goes_on(photos, tmp_path, monkeypatch) -> None:
    root = tmp_path / "set"
    store, calls = build._store, []

    def full_disk(*args: object) -> None:
        if len(calls) == 2:
            raise OutputError("the disk is full") from OSError(errno.ENOSPC, "full")
        calls.append(1)
        store(*args)

    monkeypatch.setattr(build, "_store", full_disk)
    with pytest.raises(OutputError, match="disk is full"):
        prepare([photos], root, SMALL)
    before = lines(root)
    assert len({line["photo"] for line in before}) == 2
    with open(root / "manifest.jsonl", "a") as stream:
        stream.write('{"name": "cut o')  # a crash in the middle of a line
    monkeypatch.undo()
    summary = prepare([photos], root, SMALL)
    assert (summary.known, summary.added) == (2, 4)
    fresh = tmp_path / "fresh"
    prepare([photos], fresh, SMALL)
    assert sorted(line["name"] for line in lines(root)) == sorted(line["name"] for line in lines(fresh))
    for kind in ("Ref", "JND1"):
        for part in ("train", "test"):
            for path in (fresh / part / kind).iterdir():
                assert path.read_bytes() == (root / part / kind / path.name).read_bytes()
    assert prepare([photos], root, SMALL).added == 0


def test_full_disk_leaves_no_part_of_a_file(photos, tmp_path, monkeypatch) -> None:
    real = build.writing

    def failing(path: Path, force: bool) -> object:
        if "JND1" in str(path):
            raise OutputError(f"{path}: the disk is full")
        return real(path, force)

    monkeypatch.setattr(build, "writing", failing)
    with pytest.raises(OutputError, match="disk is full"):
        prepare([photos], tmp_path / "set", SMALL)
    assert not lines_or_nothing(tmp_path / "set")
    assert not [path for path in (tmp_path / "set").rglob(".*")]


def lines_or_nothing(root: Path) -> list[dict]:
    return lines(root) if (root / "manifest.jsonl").exists() else []


def test_other_settings_are_refused(photos, tmp_path) -> None:
    prepare([photos], tmp_path / "set", NO_JND)
    with pytest.raises(DataError, match="was made with tile 64"):
        prepare([photos], tmp_path / "set", Recipe(side=32, most=4, level=None))
    with pytest.raises(DataError, match="jnd_level None"):
        prepare([photos], tmp_path / "set", SMALL)


def test_folder_with_something_else_is_refused(photos, tmp_path) -> None:
    (tmp_path / "set" / "train").mkdir(parents=True)
    with pytest.raises(OutputError, match="something else"):
        prepare([photos], tmp_path / "set", NO_JND)


def test_workers_make_the_same(photos, tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    prepare([photos], one, NO_JND, jobs=1)
    prepare([photos], two, NO_JND, jobs=2)
    assert lines(one) == lines(two)


def test_interrupt_ends_the_workers() -> None:
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), closing(map_in_order(time.sleep, [0.0] + [60.0] * 4, 2)) as results:
        for _ in results:
            raise KeyboardInterrupt
    assert time.monotonic() - start < 30
    for child in multiprocessing.active_children():
        child.join(10)
        assert not child.is_alive()


def test_dead_worker_is_a_clear_error() -> None:
    with pytest.raises(JndcodecError, match="--jobs"):
        list(map_in_order(os._exit, [1, 1], 2))


def test_copies_are_left_out(photos, tmp_path, photo) -> None:
    original = Image.open(photos / "a" / "photo 0.png")
    original.save(photos / "b" / "zz.jpg", quality=70)
    original.resize((100, 80)).save(photos / "b" / "zy.webp")
    summary = prepare([photos, photos / "a"], tmp_path / "set", NO_JND)
    assert sorted(Path(s.path).name for s in summary.skipped) == ["zy.webp", "zz.jpg"]
    assert all("photo 0.png" in s.reason for s in summary.skipped) and summary.added == 6
    again = prepare([photos], tmp_path / "set", NO_JND)
    assert again.added == 0 and len(again.skipped) == 2


def test_an_exact_copy_is_named_after_the_first(photos, tmp_path) -> None:
    shutil.copy(photos / "a" / "photo 0.png", photos / "b" / "zz.png")
    (skipped,) = prepare([photos], tmp_path / "set", NO_JND).skipped
    assert (Path(skipped.path).name, skipped.reason) == ("zz.png", f"looks the same as {photos / 'a' / 'photo 0.png'}")


def test_the_set_may_lie_among_the_photos(photos) -> None:
    prepare([photos], photos / "set", NO_JND)
    again = prepare([photos], photos / "set", NO_JND)
    assert (again.known, again.added, again.skipped) == (6, 0, [])


def test_difference_hash(photo) -> None:
    hashes = [difference_hash(Image.fromarray(photo(120, 160, seed=s))) for s in range(30)]
    seen = Seen()
    for k, look in enumerate(hashes):
        assert seen.like(look) is None
        seen.add(str(k), look)
    assert seen.like(hashes[7] ^ 0b10101) == "7" and seen.like(hashes[7] ^ 0b1111111) is None


def test_unusable_files_are_reported_and_skipped(photos, tmp_path, photo) -> None:
    (photos / "broken.jpg").write_bytes(b"not a picture")
    whole = (photos / "a" / "photo 0.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(photo(40, 300, seed=50)).save(photos / "narrow.png")
    Image.new("RGB", (200, 200), (9, 9, 9)).save(photos / "uniform.png")
    Image.fromarray(photo(100, 100, seed=51)).convert("RGBA").resize((99, 99)).save(photos / "opaque.png")
    glass = Image.fromarray(photo(100, 100, seed=52)).convert("RGBA")
    glass.putalpha(100)
    glass.save(photos / "glass.png")
    (photos / "notes.txt").write_text("passed over")
    summary = prepare([photos], tmp_path / "set", NO_JND)
    reasons = {Path(s.path).name: s.reason for s in summary.skipped}
    assert reasons.keys() == {"broken.jpg", "cut.png", "narrow.png", "uniform.png", "glass.png"}
    assert "300x40" in reasons["narrow.png"] and "flat" in reasons["uniform.png"]
    assert "transparent" in reasons["glass.png"]
    assert summary.added == 7
    content = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert len(content["skipped"]) == 5


def test_nothing_usable(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        prepare([tmp_path / "nowhere"], tmp_path / "set", NO_JND)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        prepare([tmp_path / "empty"], tmp_path / "set", NO_JND)
    (tmp_path / "empty" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 1 pictures"):
        prepare([tmp_path / "empty"], tmp_path / "set", NO_JND)


def test_flat_tiles_are_thinned(photo) -> None:
    rng = np.random.default_rng(0)
    busy = photo(128, 128, seed=1)
    flat = np.broadcast_to(np.linspace(80, 140, 128)[None, :, None], (128, 128, 3)).round().astype(np.uint8)
    assert flatness(busy) == "busy" and flatness(flat) == "flat"
    assert flatness(np.full((64, 64, 3), 7, np.uint8)) == "uniform"
    wide = np.concatenate([flat] * 6, 1)
    counts = [len(cut(wide, 128, 9, np.random.default_rng(s))) for s in range(60)]
    assert max(counts) == 1 and 0 < np.mean(counts) < 1
    tiles = cut(np.concatenate([busy, busy], 1), 64, 9, rng)
    corners = {(t.y, t.x) for t in tiles}
    assert len(corners) == len(tiles) > 1
    assert all(abs(a - c) >= 64 or abs(b - d) >= 64 for a, b in corners for c, d in corners if (a, b) != (c, d))


def test_whole_pictures_and_reduction(photos, tmp_path) -> None:
    prepare([photos], tmp_path / "set", Recipe(side=None, level=None, reduce=2))
    dataset = open_dataset(tmp_path / "set", need_jnd=False)
    assert {p.shape for p in dataset.train.pictures} == {(80, 100, 3)} and len(dataset.train) == 5


def test_photos_come_upright_and_in_srgb(tmp_path, photo) -> None:
    image = Image.fromarray(photo(60, 90, seed=9))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(read_srgb(str(tmp_path / "turned.png"))), np.rot90(np.asarray(image), -1))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "tagged.png", icc_profile=srgb)
    difference = np.asarray(read_srgb(str(tmp_path / "tagged.png")), int) - np.asarray(image, int)
    assert np.abs(difference).max() <= 1
    swapped = srgb.replace(b"rXYZ", b"tmp1").replace(b"gXYZ", b"rXYZ").replace(b"tmp1", b"gXYZ")
    image.save(tmp_path / "swapped.png", icc_profile=swapped)  # a space whose red is sRGB's green
    red_green = np.asarray(read_srgb(str(tmp_path / "swapped.png")), int)[..., [1, 0, 2]] - np.asarray(image, int)
    assert np.abs(red_green).max() <= 2


def test_moved_photo_keeps_manifest_and_files_together(tmp_path, photo) -> None:
    manifest = Manifest(tmp_path / "set", {"tile": 8})
    for identity in ("f0" * 32, "e0" * 32):
        line = {"name": identity[:4], "split": "train", "photo": identity, "look": "0"}
        folder = tmp_path / "set" / "train" / "Ref"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{identity[:4]}.png").write_bytes(b"x")
        manifest.add([line])
    build._ensure_test(manifest)
    assert names(tmp_path / "set" / "test" / "Ref") == ["e0e0.png"]
    assert names(tmp_path / "set" / "train" / "Ref") == ["f0f0.png"]
    assert [line["split"] for line in Manifest(tmp_path / "set", {"tile": 8}).lines] == ["train", "test"]


def test_command(photos, tmp_path) -> None:
    (photos / "broken.jpg").write_bytes(b"not a picture")
    root = tmp_path / "set"
    options = ["--out", str(root), "--tile", "64", "--jnd-codec", "jpeg", "--jnd-level", "strict", "--jobs", "1"]
    result = CliRunner().invoke(command, [str(photos), *options], catch_exceptions=False)
    assert result.exit_code == 0
    assert "broken.jpg: skipped" in result.output and "6 photos added" in result.output
    assert {line["jnd"]["threshold"] for line in lines(root)} == {83}
    result = CliRunner().invoke(command, [str(photos), *options], catch_exceptions=False)
    assert "0 photos added, 6 were there" in result.output
