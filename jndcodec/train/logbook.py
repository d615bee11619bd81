"""Where a run's numbers go: metrics.jsonl, TensorBoard where its package is, a progress display on a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from jndcodec.errors import OutputError


class Logbook:
    """Written by rank 0; for the others everything is silent."""

    def __init__(self, out: Path, active: bool = True) -> None:
        self.path, self.active = out / "metrics.jsonl", active
        self.console = Console(stderr=True)
        self.tensorboard = _tensorboard(out) if active else None
        self.progress: Progress | None = None
        if active and self.console.is_terminal:
            columns = (BarColumn(bar_width=10), TextColumn("{task.percentage:.0f} %  {task.description}"))
            self.progress = Progress(*columns, console=self.console)
            self.task = self.progress.add_task("starting", total=1.0)
            self.progress.start()

    def say(self, text: str) -> None:
        if self.active:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def train(self, values: dict[str, Any], progress: float, left_minutes: float) -> None:
        """A line of training: step, minutes, loss, bpp, psnr, lr, steps_per_second, skipped…"""
        self._write("train", values)
        text = (
            f"step {values['step']}  {values['steps_per_second']:.2f}/s  loss {values['loss']:.3f}  "
            f"{values['bpp']:.3f} bpp  {values['psnr']:.2f} dB  ETA {left_minutes:.0f} min"
        ) + (f"  skipped {values['skipped']}" if values["skipped"] else "")
        if self.progress:
            self.progress.update(self.task, completed=progress, description=text)
        else:
            self.say(f"{values['minutes']:7.1f} min  {text}")

    def validation(self, values: dict[str, Any]) -> None:
        """Score (low is good) and points of {t, bpp, psnr, ssimulacra2} of the averaged weights."""
        self._write("validation", values)
        points = "  ".join(f"{p['bpp']:.3f}:{p['psnr']:.2f}/{p['ssimulacra2']:.1f}" for p in values["points"])
        self.say(f"{values['minutes']:7.1f} min  validation {values['score']:.4f}  bpp:PSNR/SSIMULACRA2  {points}")

    def speeds(self, patches_per_second: dict[str, int]) -> None:
        """What was tried at the start of a run on CUDA, the fastest first."""
        self._write("speeds", patches_per_second)
        self.say(
            "patches/s: " + (", ".join(f"{k} {v}" for k, v in patches_per_second.items()) or "nothing tried works")
        )

    def close(self) -> None:
        if self.progress:
            self.progress.stop()
        if self.tensorboard:
            self.tensorboard.close()

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        if not self.active:
            return
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps({"kind": kind} | values) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write: {error.strerror}") from error
        if self.tensorboard:
            for name, value in values.items():
                if isinstance(value, int | float) and name != "step":
                    self.tensorboard.add_scalar(f"{kind}/{name}", value, values["step"])
            for point in values.get("points", ()):
                for name in ("bpp", "psnr", "ssimulacra2"):
                    self.tensorboard.add_scalar(f"{kind}/t{point['t']:g}/{name}", point[name], values["step"])


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))
