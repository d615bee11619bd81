"""What `jndcodec web` writes and `jndcodec view` serves, without a browser."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run, tree

from jndcodec.cli import view as view_command
from jndcodec.container.jlc import NO_MODEL, Flags, Jlc, Section, parse
from jndcodec.container.lossless import pack_lossless
from jndcodec.errors import DependencyError, OutputError
from jndcodec.installed import weights_folder
from jndcodec.web import site
from jndcodec.web.server import PageServer
from jndcodec.weights import read_info

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = GOLDEN / "golden.safetensors"


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A folder that looks like the npm package."""
    folder = tmp_path / "onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"version": site.RUNTIME_VERSION}))
    for name in site.RUNTIME_FILES:
        (folder / "dist" / name).write_bytes(name.encode())
    return folder


def test_the_folder_has_everything_that_it_refers_to(runtime: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "site"
    result = run("web", "--out", out, "--runtime", runtime, "--weights", WEIGHTS)
    assert result.exit_code == 0
    info = read_info(WEIGHTS)
    about = json.loads((out / "models.json").read_text())["models"]
    assert list(about) == [info.id] and about[info.id]["name"] == "golden"
    files = about[info.id]["files"]
    made = site.model_files(info)
    for part, file in files.items():
        halves = zlib.decompress((out / file["name"]).read_bytes())
        middle = (len(halves) + 1) // 2
        assert (halves[:middle], halves[middle:]) == (made[part][0::2], made[part][1::2])
        assert file["bytes"] == len(made[part])
    assert list(files) == list(made)
    for name in site.RUNTIME_FILES:
        assert (out / "runtime" / name).read_bytes() == name.encode()
    modules = [path for path in out.iterdir() if path.suffix == ".js"]
    for path in modules:
        for line in path.read_text().splitlines():
            if line.startswith("import ") and " from " in line:
                assert (out / line.split('"')[1]).is_file(), line
    assert "http" not in "".join(path.read_text() for path in modules)  # it talks to no other host
    assert not [name for name in tree(tmp_path) if ".part" in name]


def test_the_same_models_give_the_same_files() -> None:
    info = read_info(WEIGHTS)
    assert site.model_files(info) == site.model_files(info)


def test_a_shipped_model_takes_ten_megabytes_at_most(runtime: Path) -> None:
    for path in sorted(weights_folder().glob("*.safetensors")):
        files = site.site_files(runtime, [read_info(path)])
        assert 1_000_000 < sum(len(data) for name, data in files.items() if name.startswith("models/")) <= 10_000_000


def test_only_its_own_folder_is_replaced(runtime: Path, tmp_path: Path) -> None:
    options = ("--runtime", runtime, "--weights", WEIGHTS)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="something else"):
        run("web", "--out", photos, *options, "--force")
    assert tree(photos) == ["a.png"]


def test_a_page_is_replaced_with_force_alone(runtime: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "site", ("--runtime", runtime, "--weights", WEIGHTS)
    run("web", "--out", out, *options)
    (out / "old").write_bytes(b"")
    with pytest.raises(OutputError, match="--force"):
        run("web", "--out", out, *options)
    assert (out / "old").exists()
    assert run("web", "--out", out, *options, "--force").exit_code == 0
    assert not (out / "old").exists() and (out / "index.html").exists()


@pytest.mark.parametrize("wrong", ["nothing", "version", "file", "none"])
def test_a_wrong_runtime_is_refused_with_the_way_to_the_right_one(runtime: Path, wrong: str) -> None:
    source: Path | None = runtime
    if wrong == "nothing":
        (runtime / "dist" / site.RUNTIME_FILES[0]).unlink()
    elif wrong == "version":
        (runtime / "package.json").write_text('{"version": "1.2.3"}')
    elif wrong == "file":
        source = runtime / "package.json"
    else:
        source = None
    with pytest.raises(DependencyError, match=f"npm pack onnxruntime-web@{site.RUNTIME_VERSION}"):
        site.runtime_files(source)


def ask(server: PageServer, path: str, host: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def test_the_server_serves_what_it_was_given_to_this_machine_alone(tmp_path: Path) -> None:
    picture = tmp_path / "a b&c.jlc"
    picture.write_bytes(b"picture")
    (tmp_path / "secret").write_bytes(b"secret")
    with PageServer({"index.html": b"page", "x.wasm": b"w"}, {"files/0/a b&c.jlc": picture}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert server.server_address[0] == "127.0.0.1"
        status, body, headers = ask(server, "/?src=files%2F0%2Fa")
        assert (status, body) == (200, b"page")
        # both are needed for threads
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert ask(server, "/x.wasm")[2]["Content-Type"] == "application/wasm"
        assert ask(server, "/files/0/a%20b%26c.jlc")[:2] == (200, b"picture")
        for path in ("/secret", "/files/0/../../secret", f"/{tmp_path}/secret", "//secret"):
            assert ask(server, path)[0] == 404
        assert ask(server, "/", host="evil.example")[0] == 403
        server.shutdown()


def test_view_serves_the_files_with_their_models(runtime: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    asked: dict[str, tuple[int, bytes, dict[str, str]]] = {}

    def browser(url: str) -> bool:
        asked["url"] = url
        return True

    def serve(server: PageServer) -> None:
        asked["file"] = server.files["files/0/rgb.jlc"].read_bytes()
        asked["models"] = list(json.loads(server.site["models.json"])["models"])
        raise KeyboardInterrupt

    monkeypatch.setattr(view_command.webbrowser, "open", browser)
    monkeypatch.setattr(PageServer, "serve_forever", serve)
    data = GOLDEN / "rgb.jlc"
    result = run("view", data, "--browser", "--runtime", runtime, "--weights", WEIGHTS)
    assert result.exit_code == 0
    assert asked["url"].startswith("http://127.0.0.1:") and asked["url"].endswith("?src=files%2F0%2Frgb.jlc")
    assert asked["file"] == data.read_bytes()
    assert asked["models"] == [parse(data.read_bytes()).model_id.hex()]


def test_a_lossless_file_is_viewed_without_model_or_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[PageServer] = []
    monkeypatch.setattr(view_command.webbrowser, "open", lambda url: True)
    monkeypatch.setattr(PageServer, "serve_forever", lambda server: served.append(server))
    sections: dict[int, bytes] = {Section.LOSSLESS: pack_lossless(np.zeros((2, 3, 3), np.uint8), None)}
    path = tmp_path / "drawing.jlc"
    path.write_bytes(Jlc(NO_MODEL, 3, 2, 0, 0, Flags.LOSSLESS, sections).pack())
    assert run("view", path, "--browser").exit_code == 0
    (server,) = served
    assert json.loads(server.site["models.json"])["models"] == {} and "page.js" in server.site
    assert not [name for name in server.site if name.startswith("runtime/")]


def test_view_opens_a_decoded_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("click.launch", lambda path: opened.append(path) or 0)
    result = run("view", GOLDEN / "rgb.jlc", "--weights", WEIGHTS)
    (picture,) = tmp_path.glob("jndcodec-*/rgb.png")
    assert opened == [str(picture)] and result.exit_code == 0
    shutil.copy(GOLDEN / "rgb.jlc", tmp_path / "b.jlc")
    run("view", GOLDEN / "rgb.jlc", tmp_path / "b.jlc", "--weights", WEIGHTS)
    assert sorted(path.name for path in Path(opened[1]).iterdir()) == ["b.png", "rgb.png"]
    monkeypatch.setattr("click.launch", lambda path: 1)
    with pytest.raises(OutputError, match=r"rgb.png: decoded, but .* open it yourself"):
        run("view", GOLDEN / "rgb.jlc", "--weights", WEIGHTS)


def test_the_graphs_are_the_networks(tmp_path: Path) -> None:
    """Each graph in ONNX Runtime against the torch module of the same weights."""
    import onnxruntime
    import torch

    from jndcodec.model.build import load_model

    model, info = load_model(WEIGHTS), read_info(WEIGHTS)
    config, files = model.config, site.model_files(info)

    def run_graph(part: str, **inputs: torch.Tensor) -> list[np.ndarray]:
        session = onnxruntime.InferenceSession(files[part], providers=["CPUExecutionProvider"])
        return session.run(None, {name: value.numpy() for name, value in inputs.items()})

    torch.manual_seed(0)
    t = torch.tensor([0.3])
    with torch.inference_mode():
        gains = model.gains(t)
        z_hat = torch.randn(1, config.cz, 2, 3).round()
        features, mean = run_graph("hyper", z_hat=z_hat)
        expected = model.h_s(z_hat)
        np.testing.assert_allclose(features, expected, atol=1e-4)
        np.testing.assert_allclose(mean, model.mean_0(expected), atol=1e-4)
        y = torch.randn(1, config.m, 8, 12) * 3
        for step in (1, 2, 3):
            units = (y / gains.sigma).clamp(-8, 8)
            (mean,) = run_graph(f"context_{step}", y_units=units, features=expected)
            np.testing.assert_allclose(mean, model.mean_in_units(step, y, expected, gains.sigma), atol=1e-4)
        detail = torch.randn(1, config.detail, 8, 12)
        gain = (model.gain_y_inverse.log(t) - model.gain_y.log(t)).exp()
        inner = (model.gain_s.log(t) - model.gain_a.log(t)).exp()
        scaled = {"y": y * gain[:, : config.m], "detail": detail * gain[:, config.m :]}
        (x_hat,) = run_graph("synthesis", **scaled, gain=inner)
        x = model.dct.inverse(model.predict(y, gains) + model.undetail(detail, gains))
        np.testing.assert_allclose(x_hat, x, atol=1e-4)
