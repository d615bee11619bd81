"""Checkpoints: tensors and plain types only, written in one atomic step, read with weights_only."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from jndcodec.errors import ModelError, OutputError

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write beside, flush to disk, rename: an interruption leaves the old file whole. OutputError on a full disk."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            torch.save({"jndcodec_checkpoint": FORMAT} | state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot write the checkpoint: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """ModelError where the file is missing, damaged or something else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such checkpoint") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: not a checkpoint of jndcodec, or damaged: {error}".splitlines()[0]) from error
    if not isinstance(state, dict) or state.get("jndcodec_checkpoint") != FORMAT:
        raise ModelError(f"{path}: not a checkpoint of jndcodec")
    return state


def random_state(device: torch.device) -> dict[str, Any]:
    """State of torch's generators; what is drawn in numpy depends on seed and step alone."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
