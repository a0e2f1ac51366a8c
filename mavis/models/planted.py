"""Hand-wired models: what they use is known exactly, because it was written down and not trained."""

import torch
from torch import Tensor, nn

from mavis import hashing
from mavis.registry import model
from mavis.types import Model


class MaskMean(nn.Module):
    """Logits ``(m, 1 − m)``, m the mean over a square in the middle with half the image's side: a quarter of it."""

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        mean = (images * _middle(images)).sum((1, 2, 3)) / (3 * _middle(images).sum())
        return torch.stack([mean, 1 - mean], dim=1)


def _middle(images: Tensor) -> Tensor:
    """``(H,W)``, 1 in the square between a quarter and three quarters of each side."""
    H, W = images.shape[2:]
    mask = torch.zeros(H, W, device=images.device, dtype=images.dtype)
    mask[H // 4 : H - H // 4, W // 4 : W - W // 4] = 1
    return mask


@model("mask_mean", about="hand-wired: the mean over the middle quarter of the image")
def mask_mean() -> Model:
    """Answers with the mean over a known region, share p = 1/4 of the image; for the data set ``planted_square``.

    Its curves are taken on the output itself, so the symmetric relevance gain of the oracle is (1 − p) times the
    headroom, and the headroom-normalised one is 1 − p.
    """
    return Model(
        name="mask_mean",
        net=MaskMean(),
        classes=("bright", "dark"),
        revision=hashing.digest("mask_mean", "mean over the middle quarter", "1"),
        can=frozenset({"forward", "gradient"}),
        output="logit",
        card={"target": "shade", "about": "hand-wired, no training"},
    )
