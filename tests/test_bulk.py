"""Bulk work without a cluster: stages, layouts, places, the manifest; a real S3-compatible server on loopback."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run, tree
from PIL import Image

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from jndcodec.bulk import files  # noqa: E402
from jndcodec.bulk.job import Job  # noqa: E402
from jndcodec.bulk.manifest import SCHEMA, Manifest  # noqa: E402
from jndcodec.bulk.places import PART, Place  # noqa: E402
from jndcodec.bulk.stages import Coded, Decode, Encode  # noqa: E402
from jndcodec.bulk.work import LAYOUTS, Worker, plan, unrecorded  # noqa: E402
from jndcodec.capacity import MEMORY_PER_JOB  # noqa: E402
from jndcodec.cli.bulk import describe  # noqa: E402
from jndcodec.cli.paths import JLC_SUFFIXES, decoded_name, encoded_name  # noqa: E402
from jndcodec.errors import ArgumentError, DataError, InputError, OutputError  # noqa: E402
from jndcodec.images.suffixes import PICTURE_SUFFIXES  # noqa: E402


@pytest.fixture(scope="module")
def pictures(photo) -> list[bytes]:
    return [png(photo(32, 48, seed)) for seed in range(5)]


@pytest.fixture(scope="module")
def encoded(pictures: list[bytes], tiny_weights: Path) -> list[bytes]:
    codec = Encode(weights=str(tiny_weights))._codec
    return [codec.encode(data) for data in pictures]


def png(rgb: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


def job_for(source: object, target: object, weights: Path, encode: bool = True, **options: object) -> Job:
    if encode:
        rename, suffixes, stage = encoded_name, PICTURE_SUFFIXES, {"weights": str(weights)}
    else:
        rename, suffixes, stage = partial(decoded_name, suffix=".png"), JLC_SUFFIXES, {"weights": str(weights)}
    return Job(str(source), str(target), encode, suffixes, rename, stage, **options)


def do(job: Job) -> list[dict[str, object]]:
    """All units one after the other, as actors do them."""
    worker = Worker(job)
    return [row for unit in plan(job) for row in worker({"unit": np.array([unit.to_json()])}).to_pylist()]


# --- stages


def test_batches_come_back_as_what_they_were(pictures, encoded, tiny_weights: Path) -> None:
    encode = Encode("image", "jlc", weights=str(tiny_weights), estimate_jnd=True)
    batch = {"image": np.array([pictures[0], b"damaged", pictures[1]], object), "label": np.arange(3)}
    for out in (encode(batch), encode(pa.table(batch)).to_pydict()):
        assert [len(value) if value else None for value in out["jlc"]] == [len(encoded[0]), None, len(encoded[1])]
        assert list(out["label"]) == [0, 1, 2] and out["image"][0] == pictures[0]
        assert out["error"][0] is None and "not a picture" in out["error"][1]
        assert out["jnd"][0] > 0 and out["seconds"][2] > 0
    back = Decode("jlc", weights=str(tiny_weights))(pa.table({"jlc": [encoded[0], None]}))
    assert Image.open(io.BytesIO(back["jlc"][0].as_py())).size == (48, 32)
    assert back["jlc"][1].as_py() is None and back["error"][1].as_py() == "there are no bytes here"


def test_stages_in_batches_give_the_same(pictures, encoded, tiny_weights: Path) -> None:
    values = [pictures[0], None, b"damaged", *pictures[1:]]
    one_by_one = Encode(weights=str(tiny_weights), engine="torch")
    encode = Encode(weights=str(tiny_weights), engine="torch", batch_size=3)
    coded = encode.run(values)
    encoded = [one.data for one in one_by_one.run(pictures)]
    assert [one.data for one in coded] == [encoded[0], None, None, *encoded[1:]]
    assert [one.exit_code for one in coded] == [None, 3, 3, *[None] * 4]
    files = [encoded[0], None, b"damaged", *encoded[1:]]
    single, batched = (Decode(weights=str(tiny_weights), engine="torch", batch_size=n).run(files) for n in (1, 3))
    assert [(one.data, one.error) for one in single] == [(one.data, one.error) for one in batched]


def test_in_batches_an_error_after_the_coding_is_one_pictures(encoded, tiny_weights: Path, monkeypatch) -> None:
    """Such as a format that cannot hold it: the others of the batch are written."""
    decode = Decode(weights=str(tiny_weights), engine="torch", batch_size=4)
    whole, calls = decode._written, []

    def written(image: Image.Image) -> object:
        calls.append(image)
        if len(calls) == 2:
            raise OutputError("too large a side")
        return whole(image)

    monkeypatch.setattr(decode, "_written", written)
    found = decode.run(encoded)
    assert len(found) == 5 and sorted(one.exit_code or 0 for one in found) == [0, 0, 0, 0, OutputError.exit_code]


def test_an_unforeseen_error_is_a_row_too(pictures, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Encode(weights=str(tiny_weights))
    monkeypatch.setattr(encode._codec, "encode", lambda *_, **__: 1 / 0)
    (coded,) = encode.run([pictures[0]])
    assert coded.data is None and coded.error == "ZeroDivisionError: division by zero" and coded.exit_code == 1


# --- layouts


def test_a_folder_keeps_its_tree_and_there_and_back(pictures, encoded, tmp_path: Path, tiny_weights: Path) -> None:
    for name, data in (("a.png", pictures[0]), ("deep/er/b.PNG", pictures[1]), ("bad.jpg", b""), (".hidden.png", b"")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in/notes.txt").write_text("no picture")
    rows = do(job_for(tmp_path / "in", tmp_path / "out", tiny_weights))
    assert tree(tmp_path / "out") == ["a.png.jlc", "deep/er/b.PNG.jlc"]
    assert (tmp_path / "out/a.png.jlc").read_bytes() == encoded[0]
    found = {row["key"]: (row["bytes_in"], row["bytes_out"], row["exit_code"]) for row in rows}
    assert found == {
        "a.png": (len(pictures[0]), len(encoded[0]), None),
        "deep/er/b.PNG": (len(pictures[1]), len(encoded[1]), None),
        "bad.jpg": (0, None, 3),
    }
    rows = do(job_for(tmp_path / "out", tmp_path / "back", tiny_weights, encode=False))
    assert tree(tmp_path / "back") == ["a.png.png", "deep/er/b.PNG.png"] and not any(row["error"] for row in rows)


def test_many_files_are_shared_out(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(200):
        (tmp_path / f"in/{i:03}.png").write_bytes(b"x")
    job = job_for(tmp_path / "in", tmp_path / "out", tiny_weights)
    units = plan(job)
    names = [name for unit in units for name, _ in unit.files]
    assert names == sorted(os.listdir(tmp_path / "in")) and 64 <= len(units) <= 70
    assert len(plan(job, {"007.png"})) <= len(units)
    assert "007.png" not in [name for unit in plan(job, {"007.png"}) for name, _ in unit.files]


def test_parquet_keeps_rows_columns_and_metadata(pictures, encoded, tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "in").mkdir()
    images = [pictures[0], None, b"damaged", pictures[1], pictures[2]]
    table = pa.table({"id": list("abcde"), "image": images, "label": [1, 2, 3, 4, 5]})
    pq.write_table(table.replace_schema_metadata({"made": "by hand"}), tmp_path / "in/part.parquet", row_group_size=3)
    job = job_for(tmp_path / "in", tmp_path / "out", tiny_weights, column="image", key="id")
    rows = do(job)
    assert tree(tmp_path / "out") == ["part-00000.parquet", "part-00001.parquet"]
    assert [(row["unit"][5:10], row["key"], row["exit_code"]) for row in rows] == [
        ("00000", "a", None), ("00000", "b", 3), ("00000", "c", 3), ("00001", "d", None), ("00001", "e", None),
    ]  # fmt: skip
    out = pq.read_table(tmp_path / "out")
    assert out["image"].to_pylist() == [encoded[0], None, None, encoded[1], encoded[2]]
    assert out["label"].to_pylist() == [1, 2, 3, 4, 5] and out.schema.metadata[b"made"] == b"by hand"
    assert [error is None for error in out["error"].to_pylist()] == [True, False, False, True, True]
    for change, text in (({"column": "label"}, "--column"), ({"column": "image", "key": "name"}, "--key")):
        with pytest.raises(DataError, match=text):
            plan(job_for(tmp_path / "in", tmp_path / "out", tiny_weights, **change))


def test_what_is_done_again_keeps_what_went_well(pictures, encoded, tmp_path: Path, tiny_weights: Path) -> None:
    """A row group of which one picture failed: the others' bytes are taken from the output, not made anew."""
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"bytes": [pictures[0], b"damaged"]}), tmp_path / "in/a.parquet")
    do(job_for(tmp_path / "in", tmp_path / "out", tiny_weights))
    pq.write_table(pa.table({"bytes": [b"gone bad", pictures[1]]}), tmp_path / "in/a.parquet")
    rows = do(job_for(tmp_path / "in", tmp_path / "out", tiny_weights, again=True))
    assert pq.read_table(tmp_path / "out/a.parquet")["bytes"].to_pylist() == encoded[:2]
    assert [row["error"] for row in rows] == [None, None]


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def read_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def test_tars_keep_samples_and_members(pictures, encoded, tmp_path: Path, tiny_weights: Path) -> None:
    members = {"./000.png": pictures[0], "./000.json": b"{}", "001.png": b"damaged", "001.cls": b"7"}
    write_tar(tmp_path / "in/shard-0.tar", members)
    (tmp_path / "in/shard-1.tar").write_bytes(b"no tar at all" * 100)
    rows = do(job_for(tmp_path / "in", tmp_path / "out", tiny_weights))
    assert tree(tmp_path / "out") == ["shard-0.tar"]
    made = read_tar(tmp_path / "out/shard-0.tar")
    assert made == {"./000.png.jlc": encoded[0], "./000.json": b"{}", "001.cls": b"7"}
    assert [(row["key"], row["exit_code"]) for row in rows] == [
        ("shard-0.tar/./000.png", None), ("shard-0.tar/001.png", 3), ("shard-1.tar", 3),
    ]  # fmt: skip
    write_tar(tmp_path / "in/shard-0.tar", members | {"./000.png": b"gone bad", "001.png": pictures[1]})
    do(job_for(tmp_path / "in", tmp_path / "out", tiny_weights, again=True))
    assert read_tar(tmp_path / "out/shard-0.tar") == made | {"001.png.jlc": encoded[1]}


def test_a_source_with_nothing_in_it(tmp_path: Path, tiny_weights: Path) -> None:
    for source in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="no pictures, Parquet files or tars"):
            plan(job_for(source, tmp_path / "out", tiny_weights))
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(InputError, match="is a file"):
        plan(job_for(tmp_path / "a.png", tmp_path / "out", tiny_weights))
    with pytest.raises(InputError, match="cannot be opened"):
        Place.at("nosuchscheme://a/b")


# --- bounds of memory


def test_what_is_not_written_yet_is_bounded(tmp_path: Path, tiny_weights: Path, monkeypatch) -> None:
    """A store slower than the coding: at most FLUSH bytes and a picture wait for it."""
    (tmp_path / "in").mkdir()
    for i in range(16 * files.UNITS):
        (tmp_path / f"in/{i:04}.png").write_bytes(b"x")
    job = job_for(tmp_path / "in", tmp_path / "out", tiny_weights)
    unit = plan(job)[0]
    assert len(unit.files) == 16
    made, written, most = [0], [0], [0]

    class Quick:
        def run(self, values):
            made[0] += len(values)
            most[0] = max(most[0], made[0] - written[0])
            return [Coded(b"y" * 1000) for _ in values]

    def slow(target, name, about, coded):
        time.sleep(0.02)
        written[0] += 1
        return about

    monkeypatch.setattr(files, "_write", slow)
    monkeypatch.setattr(files, "FLUSH", 3000)
    rows = list(files.work(job, Quick(), Place.at(job.source), Place.at(job.target), unit))
    assert [row["key"] for row in rows] == [name for name, _ in unit.files] and written == [16]
    assert most[0] <= 4


@pytest.mark.parametrize("batch", [1, 3])
def test_no_more_pictures_are_read_than_are_coded_together(tmp_path: Path, tiny_weights: Path, batch: int) -> None:
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.table({"bytes": [b"x"] * 7}), tmp_path / "rows/a.parquet")
    write_tar(tmp_path / "tars/a.tar", {f"{i}.png": b"x" for i in range(7)})
    for source in ("rows", "tars"):
        seen: list[int] = []

        class Counting:
            def run(self, values, seen=seen):
                seen.append(len(values))
                return [Coded(b"y") for _ in values]

        job = job_for(tmp_path / source, tmp_path / f"out of {source}", tiny_weights, batch=batch)
        (unit,) = plan(job)
        rows = LAYOUTS[unit.layout].work(job, Counting(), Place.at(job.source), Place.at(job.target), unit)
        assert len(list(rows)) == 7 == sum(seen) and max(seen) == batch


def test_workers_are_as_many_as_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = pytest.importorskip("jndcodec.bulk.engine", exc_type=ImportError)
    there = {"CPU": 64.0, "memory": 20.5 * MEMORY_PER_JOB, "GPU": 2.0}
    monkeypatch.setattr(engine.ray, "cluster_resources", lambda: there)
    assert engine._room(engine.Means()) == 20
    assert engine._room(engine.Means(threads=4)) == 16
    assert engine._room(engine.Means(gpus=0.25)) == 8
    there.clear()
    assert engine._room(engine.Means()) == 1


# --- the manifest and places


def rows_of(*rows: tuple[str, str, str | None]) -> pa.Table:
    return pa.Table.from_pylist([{"unit": unit, "key": key, "error": error} for unit, key, error in rows], SCHEMA)


def test_the_manifest_keeps_the_latest_rows_of_a_unit(tmp_path: Path) -> None:
    manifest = Manifest(Place.at(str(tmp_path)))
    manifest.add(rows_of(("u", "a", None), ("u", "b", "bad"), ("v", "c", None)))
    manifest.flush()
    assert tree(tmp_path) == ["_manifest/000000.parquet"]
    manifest.add(rows_of(("u", "a", None), ("u", "b", None)))
    assert len(manifest.finish()) == 3 and tree(tmp_path) == ["_manifest.parquet"]
    manifest.add(rows_of(("v", "v", "worse")))
    manifest.flush()
    assert Manifest(Place.at(str(tmp_path))).units() == ({"u"}, {"v"})
    manifest.clear()
    assert tree(tmp_path) == [] and manifest.units() == (set(), set())


def test_an_output_without_a_row_is_recorded(tmp_path: Path, tiny_weights: Path, pictures) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(pictures[0])
    job = job_for(tmp_path / "in", tmp_path / "out", tiny_weights)
    do(job)
    found = unrecorded(job, plan(job), {"b.png"}).to_pylist()
    assert [row["key"] for row in found] == ["a.png"]
    assert found[0]["bytes_out"] == (tmp_path / "out/a.png.jlc").stat().st_size


def test_nothing_partial_and_nothing_left_behind(tmp_path: Path) -> None:
    place = Place.at(str(tmp_path))
    with pytest.raises(ZeroDivisionError), place.writing("deep/a") as stream:
        stream.write(b"half")
        1 / 0  # noqa: B018
    assert tree(tmp_path) == []
    (tmp_path / f".killed{PART}").write_bytes(b"half")
    with place.writing("a") as stream:
        stream.write(b"whole")
    place.sweep()
    assert tree(tmp_path) == ["a"]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(what stands behind s3://photos/… to reach the server, the folder that the bucket is)"""
    pytest.importorskip("localbucket")
    root = tmp_path_factory.mktemp("s3")
    (root / "photos").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "localbucket", str(root), "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    before = {name: os.environ.get(name) for name in (*names, "AWS_EC2_METADATA_DISABLED")}
    os.environ.update(dict.fromkeys(names, "test"), AWS_EC2_METADATA_DISABLED="true")
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"?endpoint_override=127.0.0.1:{port}&scheme=http", root / "photos"
    finally:
        server.kill()
        server.wait()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def test_an_object_store_over_the_wire(bucket, pictures, encoded, tmp_path: Path, tiny_weights: Path) -> None:
    where, folder = bucket
    source, target = Place.at(f"s3://photos/in{where}"), Place.at(f"s3://photos/out{where}")
    for i, data in enumerate((*pictures[:3], b"damaged")):
        with source.writing(f"deep/{i}.png") as stream:
            stream.write(data)
    job = job_for(f"s3://photos/in{where}", f"s3://photos/out{where}", tiny_weights)
    rows = do(job)
    assert [row["exit_code"] for row in rows] == [None, None, None, 3]
    assert target.sizes() == {f"deep/{i}.png.jlc": len(encoded[i]) for i in range(3)}
    assert target.read("deep/1.png.jlc") == encoded[1] == (folder / "out/deep/1.png.jlc").read_bytes()
    manifest = Manifest(target)
    manifest.add(pa.Table.from_pylist(rows, SCHEMA))
    manifest.flush()
    assert len(manifest.finish()) == 4 and len(Manifest(target).load()) == 4
    assert not list(target.sizes("_manifest"))
    with pytest.raises(ZeroDivisionError), target.writing("half") as stream:
        stream.write(b"half")
        1 / 0  # noqa: B018
    assert not target.is_file("half")


def test_a_scheme_that_only_fsspec_opens(pictures, encoded, tiny_weights: Path) -> None:
    pytest.importorskip("fsspec")
    source, target = Place.at("memory://photos/in"), Place.at("memory://photos/out")
    for name, data in (("a.png", pictures[0]), ("deep/b.png", pictures[1]), ("bad.png", b"damaged")):
        with source.writing(name) as stream:
            stream.write(data)
    rows = do(job_for("memory://photos/in", "memory://photos/out", tiny_weights))
    assert {row["key"]: row["exit_code"] for row in rows} == {"a.png": None, "deep/b.png": None, "bad.png": 3}
    assert {name: target.read(name) for name in target.sizes()} == {
        "a.png.jlc": encoded[0], "deep/b.png.jlc": encoded[1],
    }  # fmt: skip
    manifest = Manifest(target)
    manifest.add(pa.Table.from_pylist(rows, SCHEMA))
    assert len(manifest.finish()) == 3 and len(Manifest(target).load()) == 3


def test_a_web_servers_listing_is_a_source(pictures, encoded, tmp_path: Path, tiny_weights: Path) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/a.png").write_bytes(pictures[0])
    (tmp_path / "in/deep/b.png").write_bytes(pictures[1])

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        rows = do(job_for(f"http://127.0.0.1:{server.server_port}/in", tmp_path / "out", tiny_weights))
        server.shutdown()
    assert [row["error"] for row in rows] == [None, None]
    assert tree(tmp_path / "out") == ["a.png.jlc", "deep/b.png.jlc"]
    assert (tmp_path / "out/deep/b.png.jlc").read_bytes() == encoded[1]


def test_a_target_that_is_not_empty_is_left_alone(pictures, tmp_path: Path, tiny_weights: Path) -> None:
    pytest.importorskip("ray")
    from jndcodec.bulk.engine import Means
    from jndcodec.bulk.engine import run as run_job

    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_bytes(b"x")
    with pytest.raises(OutputError, match="--resume"):
        run_job(job_for(tmp_path, tmp_path / "out", tiny_weights), Means(), watch=lambda progress: None)


def test_the_commands_describe_the_jobs_that_they_run(
    pictures, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There and back by the command line, each job done here instead of on Ray."""
    engine = pytest.importorskip("jndcodec.bulk.engine", exc_type=ImportError)
    seen: list[object] = []

    def here(job: Job, means: object, *, resume: bool, force: bool, watch: object) -> pa.Table:
        seen.append((means, resume, force))
        return pa.Table.from_pylist(do(job), SCHEMA)

    monkeypatch.setattr(engine, "run", here)
    (tmp_path / "in").mkdir()
    for name, data in (("a.png", pictures[0]), ("b.jpg", b"damaged")):
        (tmp_path / "in" / name).write_bytes(data)
    options = ("--weights", tiny_weights, "--concurrency", 3, "--gpus-per-worker", 0.25)
    source, small = tmp_path / "in", tmp_path / "out"
    encode = run("bulk", "encode", source, "--out", small, "-q", 90, "--lossy", *options, "--resume")
    assert encode.exit_code == 3 and "1 failed: see `error` in" in encode.stderr
    codec = Encode(weights=str(tiny_weights))._codec
    data = codec.encode(pictures[0], quality=90, lossless=False)
    assert (tmp_path / "out/a.png.jlc").read_bytes() == data
    decode = run("bulk", "decode", small, "--out", tmp_path / "back", "--format", "tif", *options, "--force")
    assert decode.exit_code == 0 and tree(tmp_path / "back") == ["a.png.tif"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "back/a.png.tif")), np.asarray(codec.decode(data)))
    assert seen == [(engine.Means("local", 3, 1, 0.25), True, False), (engine.Means("local", 3, 1, 0.25), False, True)]


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_the_engine_is_the_one_that_was_asked_for(
    encoded, pictures, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    engine = pytest.importorskip("jndcodec.bulk.engine", exc_type=ImportError)
    asked: list[object] = []

    def here(job: Job, *_: object, **__: object) -> pa.Table:
        asked.append(job.options["engine"])
        return pa.Table.from_pylist(do(job), SCHEMA)

    monkeypatch.setattr(engine, "run", here)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(pictures[0])
    (tmp_path / "in/a.jlc").write_bytes(encoded[0])
    command = ("bulk", direction, tmp_path / "in", "--out", tmp_path / "out", "--weights", tiny_weights)
    assert run(*command, "--engine", "torch").exit_code == run(*command, "--engine", "onnx").exit_code == 0
    assert asked == ["torch", "onnx"]
    with pytest.raises(ArgumentError, match="onnx computes on the CPU"):
        run(*command, "--engine", "onnx", "--device", "cuda")


def test_the_progress_line() -> None:
    engine = pytest.importorskip("jndcodec.bulk.engine", exc_type=ImportError)
    progress = engine.Progress(
        pictures=50,
        failed=2,
        kept=7,
        bytes_in=9_000_000,
        bytes_out=1_000_000,
        bytes_total=40,
        bytes_done=10,
        seconds=25,
    )
    assert describe(progress) == "50 pictures, 2.0/s, 0.36 MB/s, saved 8 MB, 2 failed, 7 done before, 0:01:15 left"
    assert describe(engine.Progress(bytes_out=5)).startswith("0 pictures, 0.0/s, 0.00 MB/s, grown by 5 B")
