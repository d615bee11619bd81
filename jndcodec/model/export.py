"""From a trained float model to a weights file: integer scale network, its proof, integer tables, float16 kernels."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from jndcodec.entropy.scale_network import ScaleNetwork
from jndcodec.entropy.tables import Tables, gaussian_tables
from jndcodec.errors import ModelError
from jndcodec.model.integer_twin import quantise_log_scale, quantise_network
from jndcodec.model.vbr import JlcVbr
from jndcodec.weights import (
    ARCHITECTURE,
    FLOAT_PREFIX,
    FORMAT,
    METADATA_KEY,
    SCALE_NET,
    ModelInfo,
    load_tensors,
    model_id,
    read_info,
)

BASIS = "basis"  # W is as large as kernels are
ORTHONORMAL = 0.01  # how far W Wᵀ may be from 1; float16 leaves 0.0003


def export_weights(
    model: JlcVbr,
    path: str | Path,
    *,
    name: str,
    loss: str,
    calibration: dict[str, Any],
    record: dict[str, Any],
    tables: Tables | None = None,
) -> ModelInfo:
    """Write `model` as a weights file, in one atomic step.

    calibration: {"t_1jnd": float, "points": [{"t", "bpp", "psnr", "ssimulacra2"}, …]}; record: anything JSON can
    hold about the training; tables: Gaussian where there are none. Raises ModelError where the scale network's sums
    could leave float64's exact range, and where detail could not make up for all that g_s misses.
    """
    rows = model.basis
    if (rows @ rows.T - torch.eye(len(rows), device=rows.device)).abs().max() > ORTHONORMAL:
        raise ModelError(
            "the rows of W are not orthonormal, as of an average of models whose channels of detail stand in different "
            "orders: average what began from one weights file"
        )
    tensors = portable_tensors(model, tables or gaussian_tables())
    config = asdict(model.config)
    about = {
        "format": FORMAT,
        "architecture": ARCHITECTURE,
        "name": name,
        "id": model_id(config, {key: tensor.numpy() for key, tensor in tensors.items()}),
        "loss": loss,
        "config": config,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "kmac_per_px": kmac_per_px(model),
        "calibration": calibration,
        "record": record | {"scale_network_bound_log2": _scale_network(model).bound},
    }
    return _write(Path(path), save(tensors, metadata={METADATA_KEY: json.dumps(about)}))


def rewrite_calibration(path: str | Path, calibration: dict[str, Any]) -> ModelInfo:
    """Give a weights file another calibration, in one atomic step; its tensors and its id stay."""
    from safetensors.numpy import save as save_arrays

    info = read_info(path)
    about = {key: value for key, value in vars(info).items() if key != "path"}
    about |= {"format": FORMAT, "architecture": ARCHITECTURE, "calibration": calibration}
    return _write(Path(path), save_arrays(load_tensors(info), metadata={METADATA_KEY: json.dumps(about)}))


def _write(path: Path, data: bytes) -> ModelInfo:
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return read_info(path)


def portable_tensors(model: JlcVbr, tables: Tables) -> dict[str, Tensor]:
    """What a weights file holds: float16 kernels, float32 gains and biases (small, and they multiply), integers."""
    tensors = {}
    for key, value in model.state_dict().items():
        if not key.startswith(SCALE_NET):
            dtype = torch.float16 if value.ndim == 4 or key == BASIS else torch.float32
            tensors[FLOAT_PREFIX + key] = value.detach().cpu().to(dtype).contiguous()
    network = _scale_network(model)
    for i, layer in enumerate(network.layers):
        tensors[f"{SCALE_NET}{i}.weight"] = torch.from_numpy(layer.weight).to(torch.int16)
        tensors[f"{SCALE_NET}{i}.bias"] = torch.from_numpy(layer.bias).to(torch.int64)
    form = [[layer.shift, int(layer.upsample), int(layer.relu)] for layer in network.layers]
    tensors[f"{SCALE_NET}form"] = torch.tensor(form, dtype=torch.int32)
    tensors[f"{SCALE_NET}index_y"] = torch.from_numpy(network.index_y).to(torch.int32)
    tensors[f"{SCALE_NET}index_z"] = torch.from_numpy(network.index_z).to(torch.int32)
    for part in ("cdf", "size", "offset"):
        tensors[f"tables.{part}"] = torch.from_numpy(getattr(tables, part))
    return tensors


def _scale_network(model: JlcVbr) -> ScaleNetwork:
    return ScaleNetwork(
        quantise_network(model.scale_net),
        quantise_log_scale(model.scale_y.log_gain),
        quantise_log_scale(model.scale_z.log_gain),
    )


@torch.no_grad()
def kmac_per_px(model: JlcVbr, side: int = 256) -> dict[str, float]:
    """Thousands of multiply-accumulates per pixel: {"encode": …, "decode": …}, counted on a square picture."""
    counts: dict[str, float] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):

            def count(module: nn.Conv2d, _: Any, output: Tensor, part: str = name.split(".")[0]) -> None:
                macs = output.shape[2] * output.shape[3] * module.weight.numel()
                counts[part] = counts.get(part, 0.0) + macs / side**2 / 1000

            hooks.append(module.register_forward_hook(count))
    device = next(model.parameters()).device
    model(torch.zeros(1, 3, side, side, device=device), torch.zeros(1, device=device))
    for hook in hooks:
        hook.remove()
    analysis = sum(value for part, value in counts.items() if part.startswith(("g_a", "h_a")))
    synthesis = sum(value for part, value in counts.items() if part.startswith("g_s"))
    hyper = sum(counts.values()) - analysis - synthesis
    return {"encode": round(analysis + hyper, 2), "decode": round(synthesis + hyper, 2)}
