"""`jndcodec eval` from pictures to report on generated pictures, its cache, and sizes at one JND."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from jndcodec import Codec
from jndcodec.cli import cli
from jndcodec.errors import ArgumentError, DependencyError, InputError, ModelError
from jndcodec.evaluate.codecs import CLASSIC, Coder, classic_coder, parse_coder
from jndcodec.evaluate.level import size_at, sizes_at_one_jnd
from jndcodec.evaluate.metrics import psnr
from jndcodec.evaluate.models import model_coder
from jndcodec.evaluate.results import Row
from jndcodec.evaluate.timing import warm_up

pytest.importorskip("bjontegaard")
pytest.importorskip("matplotlib")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["eval", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, photo) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(2):
        Image.fromarray(photo(176, 208, seed=i)).save(folder / f"photo{i}.png")
    return folder


@pytest.fixture(scope="module")
def evaluated(pictures: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One evaluation in two processes, which the tests below look at."""
    folder = tmp_path_factory.mktemp("out")
    result = run(
        pictures, "--out", folder, "--models", f"{tiny_weights}:20/60/90/100", "--codecs", "jpeg:30/60/85/95,avif",
        "--points", 5, "--metrics", "psnr,ms_ssim", "--view", 1, "--rates", 2, "--jobs", 2,
    )  # fmt: skip
    assert result.exit_code == 0
    assert "JPEG 4:2:0" in result.output and "report.html" in result.output
    return folder


def test_every_number_comes_from_a_file_that_is_there(evaluated: Path, pictures: Path) -> None:
    rows = json.loads((evaluated / "results.json").read_text())["rows"]
    assert len(rows) == 2 * (4 + 4 + 5)
    for row in rows:
        coded = (evaluated / row["file"]).read_bytes()
        assert row["bytes"] == len(coded)
        assert row["bpp"] == pytest.approx(8 * len(coded) / (176 * 208))
        assert row["encode_s"] > 0 and row["decode_s"] > 0
    assert {Path(row["file"]).suffix for row in rows} == {".jpg", ".avif", ".jlc"}
    row = next(row for row in rows if row["codec"] == "jpeg" and row["setting"] == 85)
    original = np.asarray(Image.open(pictures / f"{row['picture']}.png"))
    assert row["metrics"]["psnr"] == pytest.approx(psnr(original, np.asarray(Image.open(evaluated / row["file"]))))


def test_csv_holds_each_picture_and_the_means(evaluated: Path) -> None:
    with (evaluated / "results.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    group = [line for line in lines if line["codec"] == "jpeg" and line["setting"] == "60"]
    assert [line["picture"] for line in group] == ["photo0", "photo1", "(mean)"]
    for column in ("bpp", "psnr", "ms_ssim", "ssimulacra2"):
        first, second, mean = (float(line[column]) for line in group)
        assert mean == pytest.approx((first + second) / 2, rel=1e-5)
    rising = [float(line["psnr"]) for line in lines if line["codec"] == "avif" and line["picture"] == "photo0"]
    assert rising == sorted(rising) and len(rising) == 5


def test_plots_and_a_page_that_needs_no_network(evaluated: Path) -> None:
    for name in ("rd_psnr", "rd_ms_ssim", "rd_ssimulacra2"):
        assert (evaluated / "plots" / f"{name}.svg").read_text().count("<svg") == 1
        assert Image.open(evaluated / "plots" / f"{name}.png").size[0] > 800
    page = (evaluated / "report.html").read_text()
    assert "JPEG 4:2:0" in page and "{{" not in page
    addresses = set(re.findall(r"""(?:src|href|url\()\s*=?\s*["']?((?:https?:)?//[^"')\s]+)""", page))
    assert not addresses
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "published" not in page  # those figures are about Kodak


def test_second_run_takes_everything_from_the_cache(evaluated: Path, pictures: Path, tiny_weights: Path) -> None:
    def written() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (evaluated / "cache").iterdir()}

    before, rows = written(), json.loads((evaluated / "results.json").read_text())["rows"]
    again = ("--codecs", "jpeg:30/60/85/95,avif", "--points", 5, "--metrics", "psnr,ms_ssim", "--view", 0, "--jobs", 1)
    assert run(pictures, "--out", evaluated, "--models", f"{tiny_weights}:20/60/90/100", *again).exit_code == 0
    assert written() == before
    assert json.loads((evaluated / "results.json").read_text())["rows"] == rows


def test_a_broken_run_goes_on_and_new_metrics_reuse_the_files(pictures: Path, tmp_path: Path) -> None:
    options = (pictures, "--out", tmp_path, "--codecs", "jpeg:40/60/80/95", "--view", 0, "--jobs", 1)
    assert run(*options, "--metrics", "ssimulacra2").exit_code == 0
    coded = sorted((tmp_path / "cache").glob("*.jpg"))
    lost, damaged = coded[0], coded[1].with_suffix(".json")
    times = {path: path.stat().st_mtime_ns for path in coded}
    lost.unlink()
    damaged.write_text('{"picture":')
    assert run(*options, "--metrics", "psnr").exit_code == 0
    assert lost.exists() and json.loads(damaged.read_text())["metrics"]["psnr"] > 20
    assert all(path.stat().st_mtime_ns == times[path] for path in coded[2:])


@pytest.mark.parametrize("name", CLASSIC)
def test_every_classic_codec_can_be_timed(name: str) -> None:
    try:
        coder = classic_coder(name)
    except DependencyError as error:
        pytest.skip(str(error))
    warm_up(coder, coder.settings[0])


def test_two_weights_files_of_one_name_are_compared(tiny_weights: Path, tmp_path: Path, pictures: Path) -> None:
    other = Path(shutil.copy(tiny_weights, tmp_path))
    coders = [model_coder(f"{name}={path}") for name, path in (("old", tiny_weights), ("new", other))]
    assert [(coder.name, coder.label) for coder in coders] == [("old", "old"), ("new", "new")]
    odd = Path(shutil.copy(tiny_weights, tmp_path / "a=b.safetensors"))
    assert model_coder(str(odd)).name == "a=b"
    with pytest.raises(InputError, match="--models A=FILE,B=FILE"):
        run(pictures, "--out", tmp_path, "--models", f"{tiny_weights},{other}", "--codecs", "")


def test_a_model_is_measured_at_another_effort(tiny_weights: Path, tmp_path: Path, photo) -> None:
    usual, plain = model_coder(str(tiny_weights)), model_coder(f"{tiny_weights}@1")
    assert (plain.name, plain.version) == (f"{usual.name}@1", f"{usual.version}, effort 1")
    assert model_coder(f"{tiny_weights}@3").version == usual.version
    assert model_coder(f"mine={tiny_weights}@5").name == "mine@5"
    codec, rgb = Codec(weights=tiny_weights), photo(64, 80)
    for coder, effort in ((usual, 3), (plain, 1)):
        assert coder.encode(rgb, 60.0) == codec.encode(rgb, quality=60, effort=effort, lossless=False)
    assert usual.encode(rgb, 60.0) != plain.encode(rgb, 60.0)
    odd = Path(shutil.copy(tiny_weights, tmp_path / "a@5"))
    assert model_coder(str(odd)).version == usual.version
    with pytest.raises(ArgumentError, match="effort 12"):
        model_coder(f"{tiny_weights}@12")
    for spec in ("@5", f"{tiny_weights}@", f"{tiny_weights}@-1", f"{tiny_weights}@4.5"):
        with pytest.raises(ArgumentError, match="behind it an effort"):
            model_coder(spec)


@pytest.mark.parametrize("spec", ["webp:50/101", "jpeg:-3", "avif:nan", "jpeg2000:inf"])
def test_settings_that_a_codec_does_not_have_are_refused(spec: str) -> None:
    with pytest.raises(ArgumentError, match="is no setting of"):
        parse_coder(spec, classic_coder)


def test_settings_of_a_model_are_qualities(tiny_weights: Path) -> None:
    assert parse_coder(f"{tiny_weights}:0/100", model_coder).settings == (0.0, 100.0)
    with pytest.raises(ArgumentError, match="from 0 to 100"):
        parse_coder(f"{tiny_weights}:30/160", model_coder)


def test_one_curve_has_nothing_to_be_compared_with(pictures: Path, tmp_path: Path) -> None:
    printed = run(pictures, "--out", tmp_path, "--codecs", "webp:40/80", "--metrics", "psnr", "--jobs", 1).stdout
    assert "Means over pictures" in printed and "BD-rate against" not in printed


def test_each_classic_codec_rises_with_its_settings(photo) -> None:
    rgb = photo(96, 112)
    for name in CLASSIC:
        if name == "jxl":
            continue
        coder = parse_coder(name, classic_coder, points=3)
        files = [coder.encode(rgb, setting) for setting in coder.settings]
        assert [len(f) for f in files] == sorted(len(f) for f in files)
        quality = [psnr(rgb, coder.decode(f)) for f in files]
        assert quality == sorted(quality) and quality[-1] > 30
        if name.startswith("avif"):
            assert "aom" in coder.version and "avif 1." in coder.version


def test_jxl_through_its_package_or_programs(photo, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    if importlib.util.find_spec("pillow_jxl"):
        found.append(classic_coder("jxl"))
    if shutil.which("cjxl") and shutil.which("djxl"):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        found.append(classic_coder("jxl"))
    if not found:
        pytest.skip("no JPEG XL here")
    rgb = photo(96, 112)
    for coder in found:
        small, large = (coder.encode(rgb, setting) for setting in (50, 95))
        assert len(small) < len(large)
        assert psnr(rgb, coder.decode(small)) + 3 < psnr(rgb, coder.decode(large))
    assert len({coder.version for coder in found}) == len(found)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--codecs", "gif"), "gif"),
        (("--codecs", "jpeg:high"), "jpeg:50/70/90"),
        (("--codecs", ""), "--models"),
        (("--codecs", "jpeg", "--anchor", "avif"), "--anchor avif"),
        (("--codecs", "jpeg", "--anchor", "mbt2018-mean"), "curves here: jpeg"),
        (("--codecs", "jpeg", "--metrics", "taste"), "taste"),
    ],
)
def test_mistakes_are_named_before_work(pictures: Path, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        run(pictures, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_first(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jndcodec.cli.eval.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="bjontegaard"):
        run(pictures, "--out", tmp_path / "out")


def test_help_states_the_map_and_imports_no_torch() -> None:
    code = "import sys; from jndcodec.cli import main; sys.argv[1:] = ['eval', '--help']\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'matplotlib', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    assert "3.6" in text and "AIC-4" in text and "78" in text and "80.2" in text


def test_a_folder_of_checkpoints_is_one_curve(tmp_path: Path, photo) -> None:
    import torch
    from compressai.models import MeanScaleHyperprior

    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(2):
        torch.manual_seed(i)
        net = MeanScaleHyperprior(8, 12)
        net.g_a[6].weight.data *= 30  # latents that are not all zero
        torch.save(net.state_dict(), folder / f"rate{i}.pth.tar")
    coder = model_coder(str(folder))
    assert (coder.name, coder.settings, coder.learned) == ("mine", (1.0, 2.0), True)
    coder.prepare()
    rgb = photo(64, 80)
    files = [coder.encode(rgb, setting) for setting in coder.settings]
    pictures = [coder.decode(data) for data in files]
    assert files[0] != files[1] and (pictures[0] != pictures[1]).any() and pictures[0].shape == rgb.shape
    assert coder.version != model_coder(str(folder / "rate0.pth.tar")).version
    with pytest.raises(ModelError, match="no checkpoints"):
        model_coder(str(tmp_path))
    with pytest.raises(InputError, match="leave @5 out"):
        model_coder(f"{folder}@5")


def rows_of(codec: str, learned: bool, points: list[tuple[int, float]], picture: str = "p") -> list[Row]:
    return [
        Row(picture, 100, 80, codec, learned, i, size, size / 1000, 0, 0, {"ssimulacra2": score})
        for i, (size, score) in enumerate(points)
    ]


def test_size_at_one_jnd_is_interpolated_per_picture() -> None:
    rows = rows_of("c", False, [(1000, 68.0), (4000, 88.0)])  # 78 is half-way: the geometric mean
    rows += rows_of("c", False, [(2000, 78.0), (4000, 88.0)], "q")
    rows += rows_of("m", True, [(1000, 70.2), (4000, 90.2)])
    rows += rows_of("m", True, [(1000, 70.2), (4000, 90.2)], "q")
    classic, learned = sizes_at_one_jnd(rows, "ssimulacra2")
    assert classic.level == 78 and learned.level == 80.2
    assert classic.bytes == pytest.approx(2000) and learned.bytes == pytest.approx(2000)
    assert classic.bpp == pytest.approx(8 * 2000 / 8000)


def test_size_at_one_jnd_is_refused_by_name_where_a_sweep_misses_it() -> None:
    rows = rows_of("c", False, [(1000, 60.0), (4000, 88.0)]) + rows_of("c", False, [(1000, 79.0), (4000, 88.0)], "q")
    (result,) = sizes_at_one_jnd(rows, "ssimulacra2")
    assert result.bytes is None and "c does not cross ssimulacra2 78 on q" in str(result.refusal)


def test_crossing() -> None:
    assert size_at([(100, 50.0), (200, 70.0)], 60) == pytest.approx(math.sqrt(100 * 200))
    assert size_at([(100, 50.0), (200, 70.0)], 71) is None
    assert size_at([(400, 90.0), (100, 50.0), (200, 80.0), (300, 70.0)], 75) < 200


def test_spec_of_a_coder(photo) -> None:
    def make(name: str) -> Coder:
        return Coder(name, name, ".x", (1, 2, 3, 4, 5), "", lambda rgb, q: b"", lambda data: photo(8, 8))

    assert parse_coder("a", make, points=3).settings == (1, 3, 5)
    assert parse_coder("a:7/3/7", make, points=2).settings == (3, 7)
