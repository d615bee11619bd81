"""SSIMULACRA2 (version 2.1) in torch: batched and differentiable, on any device.

After Jon Sneyers, github.com/cloudinary/ssimulacra2 (BSD-3-Clause), file src/ssimulacra2.cc, from which the constants
and the 108 weights are taken. Up to six scales of XYB; in each, three error maps per channel: SSIM, artifacts (edges
that the original has not) and lost detail; of each map the mean and the 4-norm.

90 is about visually lossless, 100 identical, and there is no lower end.

Two changes in the arithmetic, none in the value: the maps are computed from the difference of the pictures, so that
they are exact (and zero) near identity in float32; and one blur fewer is needed. Borders: see `blur`.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from jndcodec.metrics.blur import blur
from jndcodec.metrics.light import linear_light

SCALES = 6
SMALLEST = 8  # pixels: scales with a shorter side are left out, smaller pictures are widened by their edge
SPLIT = 2**19  # pixels a batch: above, one channel at a time, so that a 2 Mpx picture takes about 250 MB
OPSIN = ((0.30, 0.622, 0.078), (0.23, 0.692, 0.078), (0.24342268924547819, 0.20476744424496821, 0.5518098665095536))
BIAS = 0.0037930732552754493
C2 = 0.0009
POWER = 0.6276336467831387

# Per channel (X, Y, B) and scale (full size first): mean of (SSIM, artifacts, lost detail), then their 4-norms.
WEIGHTS = (
    (
        (0.0, 0.0007376606707406586, 0.0, 0.0, 0.0007793481682867309, 0.0),
        (0.0, 0.0004371155730107379, 0.0, 1.1041726426657346, 0.00066284834129271, 0.00015231632783718752),
        (0.0, 0.0016406437456599754, 0.0, 1.8422455520539298, 11.441172603757666, 0.0),
        (0.0007989109436015163, 0.000176816438078653, 0.0, 1.8787594979546387, 10.94906990605142, 0.0),
        (
            0.0007289346991508072,
            0.9677937080626833,
            0.0,
            0.00014003424285435884,
            0.9981766977854967,
            0.00031949755934435053,
        ),
        (0.0004550992113792063, 0.0, 0.0, 0.0013648766163243398, 0.0, 0.0),
    ),
    (
        (0.0, 0.0, 0.0, 7.466890328078848, 0.0, 17.445833984131262),
        (0.0006235601634041466, 0.0, 0.0, 6.683678146179332, 0.00037724407979611296, 1.027889937768264),
        (225.20515300849274, 0.0, 0.0, 19.213238186143016, 0.0011401524586618361, 0.001237755635509985),
        (176.39317598450694, 0.0, 0.0, 24.43300999870476, 0.28520802612117757, 0.0004485436923833408),
        (0.0, 0.0, 0.0, 34.77906344483772, 44.835625328877896, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ),
    (
        (0.0, 0.0008680556573291698, 0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0005313191874358747, 0.0, 0.00016533814161379112, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0004179171803251336, 0.0017290828234722833, 0.0),
        (0.0020827005846636437, 0.0, 0.0, 8.826982764996862, 23.19243343998926, 0.0),
        (
            95.1080498811086,
            0.9863978034400682,
            0.9834382792465353,
            0.0012286405048278493,
            171.2667255897307,
            0.9807858872435379,
        ),
        (0.0, 0.0, 0.0, 0.0005130064588990679, 0.0, 0.00010854057858411537),
    ),
)


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """The opsin matrix (3, 3) and the weights (108,) on a device."""
    with torch.inference_mode(False):
        return torch.tensor(OPSIN, device=device), torch.tensor(WEIGHTS, device=device).flatten()


def _xyb(light: Tensor) -> Tensor:
    """Linear RGB to XYB, scaled and shifted to be positive; (N, 3, H, W)."""
    matrix, _ = _constants(light.device)
    mixed = (matrix @ light.flatten(2)).view(light.shape) + BIAS
    root = mixed.clamp_min(1e-6) ** (1 / 3) - BIAS ** (1 / 3)
    x, y, b = 0.5 * (root[:, 0] - root[:, 1]), 0.5 * (root[:, 0] + root[:, 1]), root[:, 2]
    return torch.stack([x * 14 + 0.42, y + 0.01, b - y + 0.55], 1)


def _half(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _fourth_norm(error: Tensor) -> Tensor:
    """(mean of error^4)^(1/4) over the last two axes; linear below 1e-5: a finite slope at 0."""
    mean = error.square().square().mean((-2, -1))
    tiny = 1e-20
    return torch.where(mean > tiny, mean.clamp_min(tiny) ** 0.25, mean * tiny**-0.75)


def _errors(p: Tensor, q: Tensor) -> Tensor:
    """Means and 4-norms of the three error maps for planes of reference p and distorted q: (N, C, 6)."""
    e = q - p
    mean_p, mean_e, power, power_e = blur(torch.cat([p, e, p * p + q * q, e * e], 1)).chunk(4, 1)
    mean_q = mean_p + mean_e
    # SSIM without its luminance denominator, 1 - (1 - mean_e^2)(2 cov + C2)/(var_p + var_q + C2), in terms of e
    luminance = mean_e * mean_e
    structure = (power_e - luminance) / (power - mean_p * mean_p - mean_q * mean_q + C2)
    ssim = (luminance + (1 - luminance) * structure).clamp_min(0)
    edge_p = (p - mean_p).abs()
    edge = ((q - mean_q).abs() - edge_p) / (1 + edge_p)
    maps = (ssim, edge.clamp_min(0), (-edge).clamp_min(0))
    return torch.stack([m.mean((-2, -1)) for m in maps] + [_fourth_norm(m) for m in maps], -1)


def raw(ref: Tensor, dist: Tensor) -> Tensor:
    """Weighted sum of the error maps, before the final power: 0 at identity, about 1 at score 90; shape (N,).

    `ref` and `dist` are (N, 3, H, W) sRGB in [0, 1]. The score is 100 - 10 raw^0.63: its slope is infinite at identity,
    so train on this. Computed in float32 also under autocast; no host synchronisation.
    """
    with torch.autocast(ref.device.type, enabled=False):
        ref, dist = ref.float(), dist.float()
        short = SMALLEST - min(ref.shape[-2:])
        if short > 0:
            pad = (0, max(0, SMALLEST - ref.shape[-1]), 0, max(0, SMALLEST - ref.shape[-2]))
            ref, dist = F.pad(ref, pad, mode="replicate"), F.pad(dist, pad, mode="replicate")
        a, b = linear_light(ref), linear_light(dist)
        scales = []
        for scale in range(SCALES):
            if scale:
                a, b = _half(a), _half(b)
            if min(a.shape[-2:]) < SMALLEST:
                break
            p, q = _xyb(a), _xyb(b)
            parts = 3 if p.numel() > 3 * SPLIT else 1
            pairs = zip(p.chunk(parts, 1), q.chunk(parts, 1), strict=True)
            scales.append(torch.cat([_errors(*pair) for pair in pairs], 1))
        terms = torch.stack(scales, 2).flatten(1)  # channel, scale, term; with fewer scales the weights close ranks
        v = (terms * _constants(terms.device)[1][: terms.shape[1]]).sum(1) * 0.9562382616834844
        return v * (2.326765642916932 + v * (-0.020884521182843837 + v * 6.248496625763138e-05))


def score(ref: Tensor, dist: Tensor) -> Tensor:
    """SSIMULACRA2 of (N, 3, H, W) sRGB in [0, 1]: (N,), 100 for identical pictures."""
    v = raw(ref, dist)
    return torch.where(v > 0, 100 - 10 * v.clamp_min(1e-9) ** POWER, torch.full_like(v, 100.0))
