"""Bulk jobs on a real Ray cluster of two CPUs: a worker killed, the driver killed, memory, the command line."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cli_tools import run, tree
from PIL import Image

ray = pytest.importorskip("ray")
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from jndcodec.bulk import Encode  # noqa: E402
from jndcodec.bulk.manifest import SCHEMA, Manifest  # noqa: E402
from jndcodec.bulk.places import Place  # noqa: E402
from jndcodec.errors import OutputError  # noqa: E402

PICTURES, DAMAGED, KINDS = 300, 5, 3


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a cluster that this process is part of."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20,
        logging_level="ERROR", log_to_driver=False,
    )  # fmt: skip
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photo) -> Path:
    """300 files of three pictures, and five that are none."""
    root = tmp_path_factory.mktemp("many")
    contents = []
    for seed in range(KINDS):
        stream = io.BytesIO()
        Image.fromarray(photo(96, 128, seed)).save(stream, "PNG")
        contents.append(stream.getvalue())
    for i in range(PICTURES):
        path = root / f"{i // 100}/{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents[i % KINDS] if i % (PICTURES // DAMAGED) else b"damaged")
    return root


@pytest.fixture(scope="module")
def expected(folder: Path, tiny_weights: Path) -> list[bytes]:
    codec = Encode(weights=str(tiny_weights))._codec
    return [codec.encode(folder / f"0/{i:03}.png") for i in (KINDS, 1, 2)]


def workers() -> list[int]:
    """The actors' processes on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(path.parent.name))
    return found


def memory(process: int) -> int:
    """Bytes that it holds."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def check(out: Path, expected: list[bytes]) -> None:
    """Nothing lost, nothing twice, and the bytes of `encode`."""
    manifest = pq.read_table(out / "_manifest.parquet").to_pylist()
    keys = [row["key"] for row in manifest]
    assert len(keys) == len(set(keys)) == PICTURES
    failed = {row["key"] for row in manifest if row["error"]}
    assert failed == {f"{i // 100}/{i:03}.png" for i in range(0, PICTURES, PICTURES // DAMAGED)}
    assert tree(out) == sorted(["_manifest.parquet", *(f"{key}.jlc" for key in keys if key not in failed)])
    for row in manifest:
        if not row["error"]:
            data = (out / f"{row['key']}.jlc").read_bytes()
            assert data == expected[int(row["key"][2:5]) % KINDS] and row["bytes_out"] == len(data)


def start(folder: Path, out: Path, weights: Path, address: str, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jndcodec", "bulk", "encode", folder, "--out", out, "--weights", weights]
    command += ["--ray", address, "--concurrency", "2", *options]
    return subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)


def wait_for(out: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(out.rglob("*.jlc"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_worker_loses_nothing(cluster, folder, expected, tmp_path: Path, tiny_weights: Path) -> None:
    job = start(folder, tmp_path / "out", tiny_weights, cluster)
    wait_for(tmp_path / "out", 30)
    before = workers()
    largest = max(memory(process) for process in before)
    os.kill(before[0], signal.SIGKILL)
    stderr = job.communicate(timeout=120)[1]
    assert job.returncode == 3, stderr
    check(tmp_path / "out", expected)
    assert largest < 1e9  # small pictures: the libraries and the model
    last = stderr.splitlines()[-2]
    assert re.match(rf"{PICTURES} pictures, [\d.]+/s, [\d.]+ MB/s, saved .*, {DAMAGED} failed", last), stderr


def test_a_killed_job_goes_on(cluster, folder, expected, tmp_path: Path, tiny_weights: Path) -> None:
    """Nothing that is there is made again, what failed is tried again."""
    out = tmp_path / "out"
    job = start(folder, out, tiny_weights, cluster)
    wait_for(out, 40)
    job.kill()
    job.communicate()
    deadline = time.monotonic() + 60
    while workers() and time.monotonic() < deadline:
        time.sleep(0.05)
    there = {path: path.stat().st_mtime_ns for path in out.rglob("*.jlc")}
    assert 40 <= len(there) < PICTURES - DAMAGED
    with pytest.raises(OutputError, match="--resume"):
        run("bulk", "encode", folder, "--out", out, "--weights", tiny_weights)
    manifest = Manifest(Place.at(str(out)))
    manifest.add(pa.Table.from_pylist([{"unit": "0/000.png", "key": "0/000.png", "error": "from before"}], SCHEMA))
    manifest.flush()
    result = run("bulk", "encode", folder, "--out", out, "--weights", tiny_weights, "--concurrency", 2, "--resume")
    assert result.exit_code == 3, result.stderr
    check(out, expected)
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert int(re.search(r"(\d+) done before", result.stderr)[1]) == len(there)
    assert "from before" not in pq.read_table(out / "_manifest.parquet")["error"].to_pylist()


def test_rays_own_pipeline(cluster, folder, expected, tiny_weights: Path) -> None:
    data = ray.data.read_binary_files(str(folder / "0"), include_paths=True, override_num_blocks=4)
    data = data.limit(20).map_batches(
        Encode, fn_constructor_kwargs={"weights": str(tiny_weights)}, batch_format="pyarrow", batch_size=4,
        compute=ray.data.ActorPoolStrategy(size=1), num_cpus=1,
    )  # fmt: skip
    rows = data.take_all()
    assert len(rows) == 20
    for row in rows:
        number = int(Path(row["path"]).stem)
        assert row["bytes"] == (None if number == 0 else expected[number % KINDS])
        assert (row["error"] is None) == (number != 0)


def test_without_ray_one_line_says_what_to_install(folder, tmp_path: Path) -> None:
    program = "import sys; sys.modules['ray'] = None; from jndcodec.cli import main; main()"
    command = [sys.executable, "-c", program, "bulk", "encode", str(folder), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (11, "jndcodec: ray is missing: pip install 'jndcodec[ray]'\n")
