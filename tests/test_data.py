"""Training data: the paper's layout and plain folders, crops, and every way in which data can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jndcodec.errors import DataError, DependencyError
from jndcodec.train import data
from jndcodec.train.data import open_dataset, photo_name
from jndcodec.train.tiles import TileSet

SQUARE = np.zeros((96, 96, 3), np.uint8)


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture
def paper(tmp_path, photo) -> Path:
    """train: a, b, c; test: d; JND1 as PNG of the same names."""
    for part, names in (("train", "abc"), ("test", "d")):
        for seed, name in enumerate(names):
            picture = photo(96, 128, seed=seed + 10 * len(names))
            save(tmp_path / part / "Ref" / f"{name}.png", picture)
            save(tmp_path / part / "JND1" / f"{name}.png", picture // 2)
    return tmp_path


def test_paper_layout(paper) -> None:
    dataset = open_dataset(paper, need_jnd=True)
    assert (len(dataset.train), len(dataset.test)) == (3, 1)
    for set_ in (dataset.train, dataset.test):
        for ref, jnd in zip(set_.pictures, set_.jnd, strict=True):
            assert ref.shape == (96, 128, 3) and np.array_equal(ref // 2, jnd)
    without = open_dataset(paper, need_jnd=False)
    assert without.train.jnd is None and isinstance(without.train.crops(2, 32, np.random.default_rng(0)), torch.Tensor)


def test_names_pair_whatever_the_format(paper) -> None:
    for name in "abc":
        path = paper / "train" / "JND1" / f"{name}.png"
        Image.open(path).save(path.with_suffix(".webp"), lossless=True)
        path.unlink()
    dataset = open_dataset(paper, need_jnd=True)
    assert all(np.array_equal(r // 2, j) for r, j in zip(dataset.train.pictures, dataset.train.jnd, strict=True))


def test_equal_order_pairs_where_no_name_is_shared(paper) -> None:
    for path in list((paper / "train" / "JND1").iterdir()):
        path.rename(path.with_name(f"jnd_{path.name}"))
    dataset = open_dataset(paper, need_jnd=True)
    assert all(np.array_equal(r // 2, j) for r, j in zip(dataset.train.pictures, dataset.train.jnd, strict=True))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train/JND1/b.png").unlink(), r"train.Ref.b\.png: no picture of that name in .*JND1"),
        (lambda root: (root / "train/Ref/b.png").unlink(), r"train.JND1.b\.png: no picture of that name in .*Ref"),
        (lambda root: (root / "test/JND1/d.png").rename(root / "test/x.png"), r"test.JND1: no pictures"),
        (lambda root: (root / "train/JND1").rename(root / "train/other"), "no folder JND1"),
        (lambda root: (root / "train/Ref").rename(root / "train/other"), "no folder Ref"),
        (lambda root: save(root / "train/JND1/c.png", SQUARE), r"Ref.c\.png is 128x96 .*96x96"),
        (lambda root: save(root / "train/Ref/a.bmp", SQUARE), r"a\.bmp.*a\.png.*same name"),
        (lambda root: (root / "train/Ref/a.png").write_bytes(b"nothing"), r"Ref.a\.png: not a picture"),
    ],
)
def test_mismatches_name_the_files(paper, spoil, message) -> None:
    spoil(paper)
    with pytest.raises(DataError, match=message):
        open_dataset(paper, need_jnd=True)


def test_counts_without_common_names(paper) -> None:
    for path in list((paper / "train" / "JND1").iterdir()):
        path.rename(path.with_name(f"jnd_{path.name}"))
    (paper / "train" / "JND1" / "jnd_a.png").unlink()
    with pytest.raises(DataError, match="3 pictures in Ref .* 2 in JND1"):
        open_dataset(paper, need_jnd=True)


def test_cut_file_is_named(paper) -> None:
    path = paper / "train" / "Ref" / "b.png"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"b\.png: damaged"):
        open_dataset(paper, need_jnd=False)


def test_plain_folders(tmp_path, photo) -> None:
    for shard in "pq":
        for k in range(5):
            save(tmp_path / shard / "deep" / f"{shard}{k}.png", photo(64, 64, seed=k))
    (tmp_path / "p" / "NOTES.tsv").write_text("not a picture")
    dataset = open_dataset([tmp_path / "p", tmp_path / "q"], need_jnd=False)
    assert len(dataset.train) == 9 and len(dataset.test) == 1
    with pytest.raises(DataError, match="jndcodec prepare"):
        open_dataset(tmp_path / "p", need_jnd=True)
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(tmp_path / "nowhere", need_jnd=False)


def test_tiles_of_a_photo_are_held_out_together(tmp_path, photo) -> None:
    for k in range(30):
        for tile in range(4):
            save(tmp_path / f"photo{k}_{tile}.png", np.full((16, 16, 3), k, np.uint8))
    dataset = open_dataset(tmp_path, need_jnd=False)
    held, kept = ({int(p[0, 0, 0]) for p in s.pictures} for s in (dataset.test, dataset.train))
    assert held and not held & kept and len(dataset.test) == 4 * len(held)
    for k in range(40):
        save(tmp_path / "more" / f"other{k}_0.png", np.full((16, 16, 3), 100 + k, np.uint8))
    both = {int(p[0, 0, 0]) for p in open_dataset([tmp_path], need_jnd=False).test.pictures}
    assert held < both and all(value >= 100 for value in both - held)
    assert photo_name(Path("x/IMG_0012.jpg")) != photo_name(Path("x/IMG_0013.jpg"))


def test_one_photo_is_not_enough(tmp_path, photo) -> None:
    save(tmp_path / "a.png", photo(64, 64))
    with pytest.raises(DataError, match="two are needed"):
        open_dataset(tmp_path, need_jnd=False)


def test_unusual_modes_become_8_bit_rgb(tmp_path) -> None:
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((8, 8), 128 * 257, np.uint16)).save(tmp_path / "grey16.png")
    Image.new("RGBA", (8, 8), (128, 128, 128, 7)).save(tmp_path / "alpha.png")
    Image.new("RGB", (8, 8), (128, 128, 128)).quantize(4).save(tmp_path / "palette.png")
    dataset = open_dataset(tmp_path, need_jnd=False)
    for picture in dataset.train.pictures + dataset.test.pictures:
        assert picture.shape == (8, 8, 3) and (picture == 128).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_photo_is_held_out_where_none_or_all_would_be(tmp_path, monkeypatch, share: float) -> None:
    monkeypatch.setattr(data, "HELD_OUT", share)
    for i in range(3):
        save(tmp_path / f"{i}.png", SQUARE)
    dataset = open_dataset(tmp_path, need_jnd=False)
    assert (len(dataset.train), len(dataset.test)) == (2, 1)


def test_files_are_fitted_to_the_first_folder(tmp_path) -> None:
    for folder, value in (("photos", 1), ("drawings", 2)):
        for i in range(40):
            save(tmp_path / folder / f"{folder}{i}.png", np.full((8, 8, 3), value, np.uint8))
    photos = [tmp_path / "photos", tmp_path / "drawings"]
    for roots, value in ((photos, 1), (photos[::-1], 2)):
        dataset = open_dataset(roots, need_jnd=False)
        assert len(dataset.test) and {int(p[0, 0, 0]) for p in dataset.typical} == {value}
        assert len(dataset.typical) == sum(int(p[0, 0, 0]) == value for p in dataset.train.pictures)


def test_hash_is_of_the_content(paper, tmp_path_factory, photo) -> None:
    first = open_dataset(paper, need_jnd=True).manifest_hash
    moved = paper.rename(tmp_path_factory.mktemp("moved") / "set")
    assert open_dataset(moved, need_jnd=True).manifest_hash == first
    save(moved / "train" / "JND1" / "a.png", photo(96, 128, seed=99))
    assert open_dataset(moved, need_jnd=True).manifest_hash != first


def test_too_large_for_memory(paper, monkeypatch) -> None:
    monkeypatch.setattr(data, "_memory", lambda: 1e5)
    with pytest.raises(DataError, match="jndcodec prepare"):
        open_dataset(paper, need_jnd=True)


def test_avif_without_support_names_the_package(tmp_path, monkeypatch) -> None:
    for name in "ab":
        (tmp_path / f"{name}.avif").write_bytes(b"\0\0\0\x1cftypavif unreadable here")
    monkeypatch.setattr(data.features, "check", lambda feature: False)
    with pytest.raises(DependencyError, match="pillow>=11.3"):
        open_dataset(tmp_path, need_jnd=False)


def tiles(photo, jnd: bool = False) -> TileSet:
    pictures = [photo(h, w, seed=h) for h, w in ((40, 64), (64, 48), (33, 50), (20, 20))]
    return TileSet(pictures, [p // 2 for p in pictures] if jnd else None)


def test_crops_are_parts_of_the_pictures(photo) -> None:
    set_ = tiles(photo, jnd=True)
    x, x_jnd = set_.crops(24, 32, np.random.default_rng(1))
    assert x.shape == (24, 3, 32, 32) and x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    pixels = (x * 255).round().to(torch.uint8)
    assert torch.equal((x_jnd * 255).round().to(torch.uint8), pixels // 2)
    windows = [np.lib.stride_tricks.sliding_window_view(p, (32, 32), (0, 1)) for p in set_.pictures[:3]]
    known = {w.tobytes() for view in windows for w in view.reshape(-1, 3, 32, 32)}
    seen = set()
    for crop in pixels.numpy():
        for k, (flip_y, flip_x, swap) in enumerate(np.ndindex(2, 2, 2)):
            undone = crop.transpose(0, 2, 1) if swap else crop
            undone = undone[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
            if np.ascontiguousarray(undone).tobytes() in known:
                seen.add(k)
                break
        else:
            pytest.fail("a crop that is no part of any picture")
    assert len(seen) == 8  # all flips and transposes occur


def test_same_generator_state_same_crops(photo) -> None:
    set_ = tiles(photo)
    rng = np.random.default_rng(5)
    set_.crops(4, 24, rng)
    state = rng.bit_generator.state
    first = set_.crops(4, 24, rng)
    other = np.random.default_rng(0)
    other.bit_generator.state = state
    assert torch.equal(set_.crops(4, 24, other), first)
    assert not torch.equal(set_.crops(4, 24, other), first)


def test_gather_makes_the_same_crops(photo) -> None:
    """The GPU's path, on the CPU."""
    set_ = tiles(photo, jnd=True)
    want = set_.crops(16, 30, np.random.default_rng(3))
    flat = [torch.from_numpy(np.concatenate([p.reshape(-1) for p in s])) for s in (set_.pictures, set_.jnd)]
    got = set_._gather(flat, set_._draw(16, 30, np.random.default_rng(3)), 30, torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_crops_on_cuda(photo, monkeypatch, resident) -> None:
    if not resident:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    want = tiles(photo).crops(16, 30, np.random.default_rng(3))
    got = tiles(photo).crops(16, 30, np.random.default_rng(3), "cuda")
    assert got.device.type == "cuda" and torch.equal(got.cpu(), want)


def test_patch_larger_than_every_picture(photo) -> None:
    with pytest.raises(DataError, match="--patch-size"):
        tiles(photo).crops(1, 65, np.random.default_rng(0))


def test_centres(photo) -> None:
    pictures = [photo(100, 200, seed=1), photo(63, 300, seed=2), photo(300, 129, seed=3)]
    pairs = TileSet(pictures, pictures).centres(8, 128)
    assert [tuple(p.x.shape) for p in pairs] == [(1, 3, 64, 128), (1, 3, 128, 128)]
    centre = torch.from_numpy(pictures[0][18:82, 36:164]).permute(2, 0, 1).float() / 255
    assert torch.equal(pairs[0].x[0], centre) and torch.equal(pairs[0].x, pairs[0].x_jnd)
    assert len(TileSet([photo(64, 64, seed=s) for s in range(9)]).centres(4, 64)) == 4
    assert TileSet([photo(20, 20)]).centres(4, 64) == []
