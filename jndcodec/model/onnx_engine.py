"""The networks of a weights file in ONNX Runtime on the CPU, in float32."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime

from jndcodec.entropy.scale_network import T_MAX
from jndcodec.errors import ModelError
from jndcodec.model.onnx_graphs import Networks, block_kernel
from jndcodec.weights import FLOAT_PREFIX, ModelInfo

ERRORS_ONLY = 3  # of ONNX Runtime's log


class OnnxEngine:
    """A graph is made and opened when it is first needed, so a decoder never opens the encoder's.

    Arrays are float32 and channels last, (h, w, C), a picture or a window of one; t is the rate knob, 0 … 65535.
    Features and predictions, which pass from one graph to the next, are (1, C, h, w).
    """

    def __init__(self, info: ModelInfo, tensors: dict[str, np.ndarray], threads: int | None = None) -> None:
        """threads: that a network runs on; None for all cores."""
        floats = {
            key.removeprefix(FLOAT_PREFIX): value for key, value in tensors.items() if key.startswith(FLOAT_PREFIX)
        }
        self.networks = Networks(floats, info.config)
        self._log_gains = {key.removesuffix(".log_gain"): value for key, value in floats.items() if "log_gain" in key}
        self._basis = block_kernel(floats["basis"])
        self._m, self._threads = info.config["m"], threads or 0
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._left_behind: list[dict[str, onnxruntime.InferenceSession]] = []
        self._path, self._process = info.path, os.getpid()

    def analyse(self, rgb: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        """g_a: uint8 (H, W, 3) -> y (h, w, m) in quantisation steps, and the detail's energies."""
        units = self._log("gain_y", t)[self._m :] - self._log("scale_y", t)[self._m :]
        y, energies = self._run(
            "analyse",
            rgb=rgb[None],
            gain_a=_second(np.exp(self._log("gain_a", t))),
            gain_y=_last(np.exp(self._log("gain_y", t)[: self._m])),
            units=_second(np.exp(units)),
        )
        return y[0], energies[0]

    def hyper_analyse(self, y: np.ndarray, energies: np.ndarray, t: int) -> np.ndarray:
        """h_a: z (ceil(h / 4), ceil(w / 4), cz) before rounding."""
        return self._run("hyper_analyse", y=y[None], energies=energies[None], sigma=self._sigma(t))[0][0]

    def features(self, z_hat: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """h_s, of the first rows and columns of y."""
        features = self._run("features", z=z_hat.astype(np.float32)[None])[0]
        return np.ascontiguousarray(features[:, :, :rows, :columns])

    def mean(self, step: int, y_hat: np.ndarray, features: np.ndarray, t: int) -> np.ndarray:
        """Means (h, w, m) as one step sees them, in quantisation steps; y_hat is zero where it is not known yet."""
        state = {"y_hat": y_hat[None]} if step else {}
        return self._run(f"mean_{step}", features=features, sigma=self._sigma(t), **state)[0][0]

    def predict(self, y_hat: np.ndarray, t: int) -> np.ndarray:
        """g_s: the DCT coefficients (1, 192, 2h, 2w) that y_hat promises."""
        gain_y = self._log("gain_y_inverse", t) - self._log("gain_y", t)
        gain_s = self._log("gain_s", t) - self._log("gain_a", t)
        gains = {"gain_y": _last(np.exp(gain_y[: self._m])), "gain_s": _second(np.exp(gain_s))}
        return self._run("predict", y_hat=y_hat[None], **gains)[0]

    def detail(self, rgb: np.ndarray, predicted: np.ndarray, t: int, count: int) -> np.ndarray:
        """What a prediction misses of a picture: the first `count` channels of detail, in quantisation steps."""
        gain = np.exp(self._log("gain_y", t)[self._m :][:count])
        inputs = {"rgb": rgb[None], "predicted": predicted, "basis": self._basis[:count], "gain": _last(gain)}
        return self._run("detail", **inputs)[0][0]

    def finish(self, predicted: np.ndarray, detail: np.ndarray, t: int) -> np.ndarray:
        """The picture, uint8 (H, W, 3), from a prediction and (h, w, count) of detail, count ≥ 0."""
        count = detail.shape[2]
        if not count:  # ONNX Runtime takes no empty arrays
            count, detail = 1, np.zeros((*detail.shape[:2], 1), np.float32)
        gain = np.exp((self._log("gain_y_inverse", t) - self._log("gain_y", t))[self._m :][:count])
        inputs = {"detail": detail[None], "predicted": predicted, "basis": self._basis[:count], "gain": _last(gain)}
        return self._run("finish", **inputs)[0][0]

    def _sigma(self, t: int) -> np.ndarray:
        return _last(np.exp(self._log("scale_y", t)[: self._m]))

    def _log(self, name: str, t: int) -> np.ndarray:
        """Natural logarithm of a gain at rate t of T_MAX, linear between anchors: (C,)."""
        anchors = self._log_gains[name]
        position = t / T_MAX * (len(anchors) - 1)
        left = min(int(position), len(anchors) - 2)
        return anchors[left] + (anchors[left + 1] - anchors[left]) * np.float32(position - left)

    def _run(self, name: str, **inputs: np.ndarray) -> list[Any]:
        if self._process != os.getpid():  # a fork has none of the threads, and would wait for them, to end them too
            self._left_behind.append(self._sessions)
            self._sessions, self._process, self._threads = {}, os.getpid(), 1
        if name not in self._sessions:
            self._sessions[name] = self._open(name)
        return self._sessions[name].run(None, {key: np.ascontiguousarray(value) for key, value in inputs.items()})

    def _open(self, name: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = ERRORS_ONLY
        # the level above arranges weights anew for kernels that are no faster here, and takes as long again to open
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # each session would keep its largest window
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see jndcodec.threads
        try:
            graph = self.networks.build(name)
            constants = {key: onnxruntime.OrtValue.ortvalue_from_numpy(value) for key, value in graph.constants.items()}
            options.add_external_initializers(list(constants), list(constants.values()))
            return onnxruntime.InferenceSession(graph.serialize(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's have no common base
            raise ModelError(f"{self._path}: its tensors do not fit its config: {error}") from error


def _last(gain: np.ndarray) -> np.ndarray:
    return gain.astype(np.float32).reshape(1, 1, 1, -1)


def _second(gain: np.ndarray) -> np.ndarray:
    return gain.astype(np.float32).reshape(1, -1, 1, 1)
