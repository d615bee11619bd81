"""The losses of the source paper and their balanced versions, as small pure functions.

Pakdaman, Nami, Gabbouj, "Perceptual Learned Image Compression via End-to-End JND-Based Optimization", ICIP 2024
(arXiv 2402.02836), with x the picture, x_J its JND1 version, R in bits per pixel and d a distortion:

    PWL   R + λ d(x_hat, x_J)
    IWL   R + λ (d(x_hat, x) - d(x_J, x))
    FWL   R + λ (0.9 d(x_hat, x) + 0.1 MSE(φ(x_hat), φ(x_J)))

Every argument and result is (N,), one value per picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def rd(rate: Tensor, d: Tensor, lmbda: Tensor) -> Tensor:
    """Plain rate and distortion."""
    return rate + lmbda * d


def pwl_paper(rate: Tensor, d_to_jnd: Tensor, lmbda: Tensor) -> Tensor:
    """The JND1 picture alone is the target."""
    return rate + lmbda * d_to_jnd


def pwl_balanced(rate: Tensor, d: Tensor, d_to_jnd: Tensor, lmbda: Tensor, weight: float) -> Tensor:
    """Both pictures are targets: `weight` on the original."""
    return rate + lmbda * (weight * d + (1 - weight) * d_to_jnd)


def iwl_paper(rate: Tensor, d: Tensor, d_jnd: Tensor, lmbda: Tensor) -> Tensor:
    """`d_jnd` = d(x_J, x) is constant, so the gradient is plain RD's."""
    return rate + lmbda * (d - d_jnd)


def iwl_balanced(rate: Tensor, d: Tensor, d_jnd: Tensor, lmbda: Tensor, weight: float) -> Tensor:
    """A hinge at the JND level: below it nothing is gained, so the bits go elsewhere. (1 - weight) stays plain."""
    return rate + lmbda * (weight * F.relu(d - d_jnd) + (1 - weight) * d)


def fwl(rate: Tensor, d: Tensor, d_features: Tensor, lmbda: Tensor, weight: float) -> Tensor:
    """`weight` on the original's distortion, the rest on the distance of features to the JND1 picture's."""
    return rate + lmbda * (weight * d + (1 - weight) * d_features)


def feature_mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of one layer's output (N, C, h, w), as the paper takes it."""
    return (a - b).square().flatten(1).mean(1)


def feature_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Mean over layers and positions of the squared difference of feature vectors scaled to unit length.

    After LPIPS (Zhang et al., CVPR 2018) without its learned weights: every layer counts the same, whatever its range.
    """
    distances = [
        (F.normalize(p.float(), dim=1) - F.normalize(q.float(), dim=1)).square().sum(1).flatten(1).mean(1)
        for p, q in zip(a, b, strict=True)
    ]
    return torch.stack(distances).mean(0)
