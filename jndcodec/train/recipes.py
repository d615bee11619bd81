"""Named sets of hyperparameters. What the command line says stands above them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jndcodec.train.settings import Settings

RECIPES: dict[str, dict[str, Any]] = {
    # Pakdaman et al., ICIP 2024, and CompressAI's training example
    "paper": {
        "variant": "paper", "optimizer": "adam", "schedule": "plateau", "lr": 1e-4, "aux_lr": 1e-3, "clip": 1.0,
        "warmup": 0.0, "ema": 0.0, "batch_size": 16, "patch_size": 256, "precision": "float32",
    },
    # Small patches first: steps count most in the beginning.
    "scratch": {"stages": "16x128,8x256@0.6", "lr": 5e-3},
    "finetune": {"lr": 4e-4, "warmup": 0.01},
}  # fmt: skip


def fill_in(settings: Settings) -> Settings:
    """Replace what was left open: optimiser, schedule, learning rate and features, by the model and where it starts."""
    optimizer = settings.optimizer or ("muon" if settings.native else "adam")
    if settings.lr is not None:
        lr = settings.lr
    elif optimizer == "muon":
        lr = 4e-4 if settings.init else 5e-3
    else:
        lr = 4e-4 if settings.native else 1e-4
    features = settings.features or ("vgg16" if settings.variant == "paper" else "alexnet")
    return replace(settings, optimizer=optimizer, lr=lr, schedule=settings.schedule or "cosine", features=features)
