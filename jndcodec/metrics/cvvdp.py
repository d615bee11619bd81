"""ColorVideoVDP for still pictures in torch: batched and differentiable, on any device, without host synchronisation.

After Mantiuk, Hanji, Ashraf, Asano, Chapiro, "ColorVideoVDP: A visual difference predictor for image, video and display
distortions", ACM Transactions on Graphics 43(4), 2024, and its code, github.com/gfxdisp/ColorVideoVDP (MIT), version
0.5, from which the constants and the table of contrast sensitivity (cvvdp_csf.json) are taken. For the display on which
this project measures, `standard_fhd`: 24 inches, 1920 x 1080, 200 cd/m2, seen from 0.6 m.

`raw` is the visible difference Q that the package maps to JOD: 0 at identity, and 1 is 9.96 JOD. Train on it: JOD falls
less and less in it. What comes from the reference alone has no gradient: its bands, and the sensitivity, which follows
its luminance. Odd numbers of columns are reduced as odd numbers of rows are; the package looks at the rows for both,
which moves it by up to 0.009 JOD.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from jndcodec.metrics.banded import Axis, separable
from jndcodec.metrics.light import linear_light

SMALLEST = 8  # pixels: smaller pictures are widened by their edge
PIXELS_PER_DEGREE = 1 / (2 * math.degrees(math.atan(0.5 * (24 * 0.0254 * 16 / math.hypot(16, 9)) / 1920 / 0.6)))
PEAK, BLACK, AMBIENT = 200.0, 0.2, 250 / math.pi * 0.005  # cd/m2: display and reflected room light
LOWEST_BAND = 0.2  # cycles per degree

RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.072175), (0.0193339, 0.119192, 0.9503041))
XYZ_TO_LMS = (
    (0.187596268556126, 0.585168649077728, -0.026384263306304),
    (-0.133397430663221, 0.405505777260049, 0.034502127690364),
    (0.000244379021663, -0.000542995890619, 0.019406849066323),
)
LMS_TO_DKL = ((1.0, 1.0, 0.0), (1.0, -2.311130179947035, 0.0), (-1.0, -1.0, 50.977571328718781))

SENSITIVITY = 10 ** (-0.2797423303127289 / 20)
GAIN = (1.0, 1.45, 1.0)  # per channel: achromatic, red-green, violet-yellow
EPS = 1e-5
P = 2.264355182647705  # exponent of the difference
Q = (1.302622675895691, 2.8885908126831055, 3.6807713508605957)  # of the masking signal
MASK_SCALE = 10**-0.7954971194267273
MASK_SIGMA, MASK_TAPS = 3.0, 13
# log2 of how much channel k (row) masks channel c
CROSS_MASK = (
    (-0.18950104713439941, -5.962151050567627, -4.31834602355957),
    (2.5655593872070312, 0.34406712651252747, -2.719646453857422),
    (3.8118371963500977, -1.0051705837249756, -0.5193376541137695),
)
CEILING = 10**2.5642454624176025
BASE_WEIGHTS = (0.0036334486212581396, 1.6627724170684814, 4.11874532699585)
IMAGE_SCALE = 0.577918291091919
JOD_SCALE, JOD_EXPONENT, JOD_LINEAR = 0.0439569391310215, 0.9302042722702026, 0.1
REDUCE = (0.05, 0.25, 0.4, 0.25, 0.05)


class _Constants(NamedTuple):
    """to_dkl (3, 3); table (bands + 1, 3, L): log sensitivity over log luminance, whose grid starts at `first` and has
    `step`; cross (3, 3), channel c from k; offset and q (3, 1, 1); base (3,)."""

    to_dkl: Tensor
    table: Tensor
    first: float
    step: float
    cross: Tensor
    offset: Tensor
    q: Tensor
    base: Tensor


@lru_cache(maxsize=16)
def _constants(device: torch.device, bands: int) -> _Constants:
    table, luminance = _sensitivity_table(bands)
    from_rgb = np.array(LMS_TO_DKL) @ np.array(XYZ_TO_LMS) @ np.array(RGB_TO_XYZ)
    mask = np.exp2(np.array(CROSS_MASK)).T
    rest = 1 - mask @ (EPS ** np.array(Q))[:, None]
    values = (from_rgb, table, mask, rest[..., None], np.array(Q)[:, None, None], np.array(BASE_WEIGHTS))
    with torch.inference_mode(False):
        tensors = [torch.from_numpy(np.ascontiguousarray(v, np.float32)).to(device) for v in values]
    to_dkl, sensitivity, cross, offset, q, base = tensors
    step = (luminance[-1] - luminance[0]) / (len(luminance) - 1)
    return _Constants(to_dkl, sensitivity, float(luminance[0]), float(step), cross, offset, q, base)


def _sensitivity_table(bands: int) -> tuple[np.ndarray, np.ndarray]:
    """log sensitivity (bands + 1, 3, L) with all constant factors, the base band last, and log luminance (L,)."""
    stored = json.loads(Path(__file__).with_name("cvvdp_csf.json").read_text())
    frequency, luminance = (np.log(stored[name]) for name in ("rho", "L_bkg"))
    curves = np.array(stored["log10_sensitivity"]) * math.log(10) + math.log(SENSITIVITY)  # (3, L, rho)
    wanted = np.log([*_frequencies()[:bands], 0.1])
    table = np.array([[[np.interp(f, frequency, row) for row in curve] for curve in curves] for f in wanted])
    table[:bands] += np.log(GAIN)[:, None]
    table[1:bands] += math.log(2)  # the package doubles all Laplacian bands but the first
    return table, luminance


def _frequencies() -> list[float]:
    """Peak frequencies of the Laplacian bands in cycles per degree, finest first."""
    return [share * PIXELS_PER_DEGREE / 2 for share in (1.0, *(0.3228 * 2.0**-level for level in range(14)))]


def _bands(side: int) -> int:
    """Laplacian bands of a picture whose shorter side is `side`."""
    seen = next(i for i, frequency in enumerate(_frequencies()) if frequency <= LOWEST_BAND) + 1
    return min(int(math.log2(side)) - 1, seen)


def _mirrored(index: int, size: int) -> int:
    """An index beside the picture, the edge sample repeated."""
    return -index - 1 if index < 0 else 2 * size - 1 - index if index >= size else index


@lru_cache(maxsize=64)
def _reduce(size: int, device: torch.device) -> Axis:
    matrix = np.zeros((-(-size // 2), size), np.float32)
    for i in range(len(matrix)):
        for k, tap in enumerate(REDUCE):
            matrix[i, _mirrored(2 * i + k - 2, size)] += tap
    return Axis(matrix, device)


@lru_cache(maxsize=64)
def _expand(size: int, device: torch.device) -> Axis:
    """(size, ceil(size / 2)): zeros between the samples, the edge samples once more outside, blurred."""
    half = -(-size // 2)
    matrix = np.zeros((size, half), np.float32)
    for i in range(size):
        for k, tap in enumerate(REDUCE):
            at = i + k - 2
            if at % 2 == 0:
                matrix[i, min(max(at // 2, 0), half - 1)] += 2 * tap
    return Axis(matrix, device)


@lru_cache(maxsize=64)
def _mask_blur(size: int, device: torch.device) -> Axis:
    """A Gaussian, mirrored at the edge sample, that carries the square root of the mask's scale."""
    radius = MASK_TAPS // 2
    taps = [math.exp(-0.5 * (k / MASK_SIGMA) ** 2) for k in range(-radius, radius + 1)]
    matrix = np.zeros((size, size), np.float32)
    for i in range(size):
        for k, tap in enumerate(taps):
            at = abs(i + k - radius)
            matrix[i, 2 * (size - 1) - at if at >= size else at] += tap / sum(taps) * math.sqrt(MASK_SCALE)
    return Axis(matrix, device)


def _power(x: Tensor, p: float) -> Tensor:
    """x^p with a finite slope at 0, as the package has it."""
    return (x + EPS) ** p - EPS**p


class _Reference(NamedTuple):
    """One Laplacian band of the reference: response (N, 3, h, w), and the gain that turns luminance into it."""

    response: Tensor
    gain: Tensor


class _Band(torch.autograd.Function):
    """Mean over space of the squared visible difference in one band, (N, 3).

    layer, coarse: (N, 3, h, w), the test picture at this scale and what the next one predicts of it. Forward and
    backward are written out: some 30 passes over memory in place of 100.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, layer: Tensor, coarse: Tensor, ref: Tensor, gain: Tensor, constants: _Constants
    ) -> Tensor:
        height, width = layer.shape[-2:]
        blurs = None
        if min(height, width) > MASK_TAPS // 2:
            blurs = _mask_blur(height, layer.device), _mask_blur(width, layer.device)
        per_unit = gain / coarse[:, :1]
        test = (layer - coarse).mul_(per_unit)
        masker = torch.minimum(test.abs(), ref.abs())
        masker = blurs[1].across(blurs[0].down(masker)) if blurs else masker * MASK_SCALE
        masker = masker.add_(EPS)
        powers = masker**constants.q
        masking = (constants.cross @ powers.flatten(2)).view_as(powers).add_(constants.offset)  # 1 + mask
        excess = (test - ref).abs_().add_(EPS).pow_(P).sub_(EPS**P)
        whole = masking.mul_(CEILING).add_(excess)
        visible = excess * CEILING / whole
        ctx.blurs, ctx.constants = blurs, constants  # type: ignore[attr-defined]
        ctx.save_for_backward(coarse, ref, per_unit, test, masker, powers, whole, visible)  # type: ignore[attr-defined]
        return visible.square().add_(visible, alpha=2 * EPS).mean((-2, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        coarse, ref, per_unit, test, masker, powers, whole, visible = ctx.saved_tensors  # type: ignore[attr-defined]
        blurs, constants = ctx.blurs, ctx.constants  # type: ignore[attr-defined]
        scale = grad[..., None, None] * (2 / (test.shape[-2] * test.shape[-1]))
        shared = (visible + EPS).mul_(scale).div_(whole)
        # through the difference: visible = C e / (C (1 + mask) + e), whose slope in e is (C - visible) / whole
        difference = test - ref
        size = difference.abs().add_(EPS)
        out = difference.sign_().mul_(size.pow(P - 1)).mul_(P).mul_(shared).mul_(CEILING - visible)
        # through the mask
        masking = shared.mul_(visible).mul_(-CEILING)
        slope = (constants.cross.T @ masking.flatten(2)).view_as(masking)
        slope.mul_(powers).mul_(constants.q).div_(masker)
        slope = blurs[0].transposed.down(blurs[1].transposed.across(slope)) if blurs else slope * MASK_SCALE
        out.add_(slope.mul_(test.sign()).mul_(test.abs() < ref.abs()))
        # test = (layer - coarse) gain / coarse[:, :1]
        background = (out * test).sum(1, keepdim=True).div_(coarse[:, :1])
        out.mul_(per_unit)
        down = -out
        down[:, :1] -= background
        return out, down, None, None, None


def _opponent(x: Tensor, constants: _Constants) -> Tensor:
    """sRGB (N, 3, H, W) to what the display shows in DKL: achromatic, red-green, violet-yellow, in cd/m2."""
    light = linear_light(x) * (PEAK - BLACK) + (BLACK + AMBIENT)
    return (constants.to_dkl @ light.flatten(2)).view(x.shape)


def _sensitivity(background: Tensor, band: int, constants: _Constants) -> Tensor:
    """(N, 1, h, w) cd/m2 -> (N, 3, h, w): linear in logarithms between the table's luminances."""
    table = constants.table[band]
    at = background[:, 0].log().sub_(constants.first).div_(constants.step).clamp_(0, table.shape[1] - 1)
    left = at.to(torch.int64).clamp_(max=table.shape[1] - 2)
    slopes = table[:, 1:] - table[:, :-1]
    index = left.flatten()
    value = slopes.index_select(1, index).mul_((at - left).flatten()).add_(table.index_select(1, index))
    return value.exp_().view(3, *at.shape).transpose(0, 1)


def raw(ref: Tensor, dist: Tensor) -> Tensor:
    """Q, the visible difference before it is mapped to JOD: 0 at identity, shape (N,).

    `ref` and `dist` are (N, 3, H, W) sRGB in [0, 1]; the gradient is that of `dist` alone. Computed in float32 also
    under autocast; no host synchronisation.
    """
    with torch.autocast(ref.device.type, enabled=False):
        short = [max(0, SMALLEST - side) for side in ref.shape[-2:]]
        pad = (0, short[1], 0, short[0])
        bands = _bands(max(SMALLEST, min(ref.shape[-2:])))
        constants = _constants(ref.device, bands)
        with torch.no_grad():
            r = _opponent(F.pad(ref.detach().float(), pad, mode="replicate") if any(short) else ref.float(), constants)
        t = _opponent(F.pad(dist.float(), pad, mode="replicate") if any(short) else dist.float(), constants)
        squares = []
        for band in range(bands):
            size = r.shape[-2:]
            reduce, expand = ([axis(n, r.device) for n in size] for axis in (_reduce, _expand))
            with torch.no_grad():
                small = separable(r, *reduce)
                coarse = separable(small, *expand)
                gain = _sensitivity(coarse[:, :1], band, constants).contiguous()
                response = (r - coarse).mul_(gain).div_(coarse[:, :1])
                r = small
            small = separable(t, *reduce)
            squares.append(_Band.apply(t, separable(small, *expand), response, gain, constants))
            t = small
        with torch.no_grad():
            background = r[:, :1].mean((-2, -1), keepdim=True)
            gain = _sensitivity(background, bands, constants)
            response = r / background
        base = (t / t[:, :1].mean((-2, -1), keepdim=True) - response).abs() * gain
        squares.append(_power(base, 2).mean((-2, -1)))
        norms = _power(torch.stack(squares, -1), 0.5)  # (N, 3, bands + 1)
        norms = torch.cat([norms[..., :-1], norms[..., -1:] * constants.base[:, None]], -1)
        over_bands = _power(_power(norms, 4).sum(-1), 0.25)
        return _power(_power(over_bands, 4).sum(-1), 0.25) * IMAGE_SCALE


def jod(q: Tensor) -> Tensor:
    """Q to just-objectionable-differences: 10 at identity, less for what is seen; any shape."""
    slope = JOD_SCALE * JOD_LINEAR ** (JOD_EXPONENT - 1)
    return torch.where(q <= JOD_LINEAR, 10 - slope * q, 10 - JOD_SCALE * q.clamp_min(JOD_LINEAR) ** JOD_EXPONENT)
