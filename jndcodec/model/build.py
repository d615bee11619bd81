"""The float model out of a weights file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from jndcodec.entropy.tables import COUNT
from jndcodec.errors import ModelError
from jndcodec.model.integer_twin import dequantised_parameters
from jndcodec.model.vbr import JlcVbr, VbrConfig
from jndcodec.weights import FLOAT_PREFIX, SCALE_NET, ModelInfo, load_tensors, read_info, read_scale_network


def load_model(path: str | Path) -> JlcVbr:
    """The float model of a weights file, for fine-tuning: its scale network is read back from the integers."""
    info = read_info(path)
    return build_model(info, load_tensors(info))


def build_model(info: ModelInfo, tensors: dict[str, np.ndarray]) -> JlcVbr:
    """Float model in evaluation mode from the tensors of a file; ModelError where shapes do not fit the config."""
    try:
        with torch.device("meta"):  # no memory and no random numbers before the shapes are known to fit
            model = JlcVbr(VbrConfig(**info.config))
        state = {
            key.removeprefix(FLOAT_PREFIX): _parameter(value)
            for key, value in tensors.items()
            if key.startswith(FLOAT_PREFIX)
        }
        state.setdefault("recon_shift", torch.zeros(COUNT))  # weights of before there were any
        twin = dequantised_parameters(read_scale_network(tensors), model.scale_net)
        model.load_state_dict(state | {SCALE_NET + key: value for key, value in twin.items()}, assign=True)
    except (TypeError, KeyError, RuntimeError, ValueError) as error:
        raise ModelError(f"{info.path}: its tensors do not fit its config: {error}") from error
    return model.eval()


def _parameter(value: np.ndarray) -> torch.Tensor:
    """float32; kernels channels last."""
    parameter = torch.from_numpy(value).float()
    return parameter.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else parameter
