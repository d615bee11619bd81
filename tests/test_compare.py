"""`jndcodec compare`: pictures, .jlc files, the JND column, the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run
from PIL import Image

from jndcodec.errors import InputError, OutputError
from jndcodec.evaluate import metrics
from jndcodec.rate.jnd import jnd_from_ssimulacra2


@pytest.fixture(autouse=True)
def only_built_in_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = tuple(m for m in metrics.METRICS if m.name in ("ssimulacra2", "psnr", "ms_ssim"))
    monkeypatch.setattr(metrics, "METRICS", built_in)


@pytest.fixture
def pair(tmp_path: Path, photo) -> tuple[Path, Path]:
    original, decoded = tmp_path / "a.png", tmp_path / "b.jpg"
    Image.fromarray(photo(64, 80)).save(original)
    Image.fromarray(photo(64, 80)).save(decoded, quality=60)
    return original, decoded


def test_a_classic_file(pair: tuple[Path, Path]) -> None:
    facts = json.loads(run("compare", *pair, "--json").stdout)
    assert (facts["width"], facts["height"], facts["bytes"]) == (80, 64, pair[1].stat().st_size)
    assert facts["bpp"] == pytest.approx(8 * facts["bytes"] / (64 * 80))
    assert facts["jnd_column"] == "classic"
    assert facts["jnd"] == pytest.approx(jnd_from_ssimulacra2(facts["ssimulacra2"], learned=False))
    assert facts["jnd_low"] < facts["jnd"] < facts["jnd_high"]
    a, b = (np.asarray(Image.open(path)).astype(float) for path in pair)
    assert facts["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean((a - b) ** 2)), abs=1e-3)


def test_the_learned_column_on_demand(pair: tuple[Path, Path]) -> None:
    facts = json.loads(run("compare", *pair, "--json", "--learned").stdout)
    assert facts["jnd_column"] == "learned"
    assert facts["jnd"] == pytest.approx(jnd_from_ssimulacra2(facts["ssimulacra2"], learned=True))


def test_a_jlc_file_is_decoded_and_learned(pair: tuple[Path, Path], tiny_weights: Path, tmp_path: Path) -> None:
    from jndcodec import decode, encode

    coded = tmp_path / "a.jlc"
    coded.write_bytes(encode(pair[0], weights=tiny_weights, quality=60))
    facts = json.loads(run("compare", pair[0], coded, "--weights", tiny_weights, "--json").stdout)
    assert facts["jnd_column"] == "learned" and facts["bytes"] == coded.stat().st_size
    plain = tmp_path / "a.decoded.png"
    decode(coded.read_bytes(), weights=tiny_weights).save(plain)
    assert facts["psnr"] == pytest.approx(json.loads(run("compare", pair[0], plain, "--json").stdout)["psnr"])


def test_text_states_the_uncertainty(pair: tuple[Path, Path]) -> None:
    text = run("compare", *pair).stdout
    assert "JND (estimated)" in text and " to " in text and "classic" in text
    assert "AIC-4" in run("compare", "--help").stdout


def test_identical_pictures(pair: tuple[Path, Path]) -> None:
    facts = json.loads(run("compare", pair[0], pair[0], "--json").stdout)
    assert (facts["jnd"], facts["ssimulacra2"], facts["psnr"]) == (0, 100, 100)


def test_page_is_written_whole_and_not_over_another(pair: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run("compare", *pair, "--html", page)
    text = page.read_text()
    assert text.count("data:image/webp;base64,") == 2 and "http" not in text
    with pytest.raises(OutputError, match="--force"):
        run("compare", *pair, "--html", page)
    run("compare", *pair, "--html", page, "--force")


def test_a_page_never_replaces_what_is_compared(pair: tuple[Path, Path]) -> None:
    before = [path.read_bytes() for path in pair]
    for path in pair:
        with pytest.raises(OutputError, match="is one of the inputs"):
            run("compare", *pair, "--html", path, "--force")
    assert [path.read_bytes() for path in pair] == before


def test_what_is_converted_is_said(pair: tuple[Path, Path], tmp_path: Path) -> None:
    deep = tmp_path / "deep.png"
    Image.fromarray(np.asarray(Image.open(pair[0]).convert("L")).astype(np.uint16) * 257).save(deep)
    result = run("compare", deep, pair[1], "--json")
    assert f"{deep}: note: " in result.stderr and "16" in result.stderr and json.loads(result.stdout)


def test_sizes_must_agree(pair: tuple[Path, Path], tmp_path: Path, photo) -> None:
    other = tmp_path / "c.png"
    Image.fromarray(photo(64, 64)).save(other)
    with pytest.raises(InputError, match="c.png is 64x64 and the original 80x64"):
        run("compare", pair[0], other)
