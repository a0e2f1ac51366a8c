"""Hand-wired models: their use of the image is known exactly, because it was written down and not trained.

Every network has ``contributions(images, targets) -> (B,1,H,W)``: what each pixel adds to the target's logit beyond
that of a grey image (0.5 everywhere). This is the true attribution map.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mavis.core import hashing
from mavis.core.registry import model
from mavis.core.types import Model


class MaskMean(nn.Module):
    """Logits ``(m, 1 − m)``, m the mean over a square in the middle with half the image's side: a quarter of it."""

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        mean = (images * _middle_mask(images)).sum((1, 2, 3)) / (3 * _middle_mask(images).sum())
        return torch.stack([mean, 1 - mean], dim=1)

    def contributions(self, images: Tensor, targets: Tensor) -> Tensor:
        """The model is linear: weight times distance from grey."""
        mask = _middle_mask(images)
        return _sign_for_targets(_brightness(images) * mask / mask.sum(), targets)


class PartSum(nn.Module):
    """Logits ``(s, −s)``, s = 3 e + 2 n + m of the evidence of eyes, nose and mouth: three parts that add up."""

    WEIGHTS: ClassVar = {"eyes": 3.0, "nose": 2.0, "mouth": 1.0}

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        parts = [weight * _evidence(images, part) for part, weight in self.WEIGHTS.items()]
        return _bright_and_dark(torch.stack(parts).sum(0))

    def contributions(self, images: Tensor, targets: Tensor) -> Tensor:
        """The model is linear: weight times distance from grey."""
        weights = torch.stack([w * _part_weights(images, part) for part, w in self.WEIGHTS.items()]).sum(0)
        return _sign_for_targets(2 * _brightness(images) * weights, targets)


class BothParts(nn.Module):
    """Logits ``(e n, e′ n′)``: the bright evidence of eyes AND nose, and the dark; a missing part makes it zero."""

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        logits: Tensor = (
            _bright_and_dark(_evidence(images, "eyes")).relu() * _bright_and_dark(_evidence(images, "nose")).relu()
        )
        return logits

    def contributions(self, images: Tensor, targets: Tensor) -> Tensor:
        """Each part has half of the product (Shapley), divided among its pixels by their share of its evidence."""
        half: Tensor = self(images).gather(1, targets[:, None])[:, :, None, None] / 2
        return half * (_evidence_shares(images, "eyes") + _evidence_shares(images, "nose"))


class DisconnectedHalves(nn.Module):
    """Logits of the left and of the right half, each computed from its own half alone: no path joins them."""

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        middle = images.shape[3] // 2
        sides = {"left": images[..., :middle], "right": images[..., middle:]}
        return torch.stack([self._half_logits(sides[side], parts) for side, parts in SIDE_PARTS.items()], dim=1)

    def contributions(self, images: Tensor, targets: Tensor) -> Tensor:
        """Each part of the target's half has its bright evidence, pixel by pixel; the other half has none."""
        maps = [
            sum((self._part_contributions(images, part) for part in parts), images.new_zeros(()))
            for parts in SIDE_PARTS.values()
        ]
        return torch.cat(maps, dim=1)[torch.arange(len(images)), targets][:, None]

    @staticmethod
    def _part_contributions(images: Tensor, part: str) -> Tensor:
        """``(B,1,H,W)``: a part's evidence where it is bright, else nothing."""
        return _evidence(images, part).relu()[:, None, None, None] * _evidence_shares(images, part)

    @staticmethod
    def _half_logits(half: Tensor, parts: tuple[str, ...]) -> Tensor:
        """``(B,)``: bright evidence of the two squares, one above the other, of half an image ``(B,3,H,W/2)``."""
        H, W = half.shape[2:]
        rows = [PART_POSITIONS[part][0] * H // 2 + H // 8 for part in parts]
        squares = [half[:, :, top : top + H // 4, W // 4 : W - W // 4] for top in rows]
        return sum(((2 * square.mean((1, 2, 3)) - 1).relu() for square in squares), half.new_zeros(()))


class SingleLogit(nn.Module):
    """One logit z, for the second of two classes: darkness minus brightness of the eyes, each a ReLU channel.

    Preparation makes it two, −z/2 and z/2; the contributions are to these.
    """

    SCALE = 8.0

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,1)``."""
        bright = images.mean(1, keepdim=True) - 0.5
        channels = self.relu(torch.cat([bright, -bright], dim=1))
        logit: Tensor = self.SCALE * ((channels[:, 1:] - channels[:, :1]) * _part_weights(images, "eyes")).sum((2, 3))
        return logit

    def contributions(self, images: Tensor, targets: Tensor) -> Tensor:
        """Together the two channels are linear; the first class's map is the second's with its sign turned."""
        return _sign_for_targets(self.SCALE / 2 * _brightness(images) * _part_weights(images, "eyes"), targets)


PART_POSITIONS = {"eyes": (0, 0), "nose": (0, 1), "mouth": (1, 0), "ears": (1, 1)}
"""Per part of `planted_parts` the quarter of the image (row, column) in whose middle its square lies."""

SIDE_PARTS = {"left": ("eyes", "mouth"), "right": ("nose", "ears")}


def _part_weights(images: Tensor, part: str) -> Tensor:
    """``(H,W)``: 1/n on the n pixels of a part's square, a quarter of the image's side; 0 elsewhere."""
    H, W = images.shape[2:]
    row, column = PART_POSITIONS[part]
    mask = torch.zeros(H, W, device=images.device, dtype=images.dtype)
    top, left = row * H // 2 + H // 8, column * W // 2 + W // 8
    mask[top : top + H // 4, left : left + W // 4] = 1
    return mask / mask.sum()


def _brightness(images: Tensor) -> Tensor:
    """``(B,1,H,W)``: brightness above grey, in [−0.5,0.5]."""
    return images.mean(1, keepdim=True) - 0.5


def _evidence(images: Tensor, part: str) -> Tensor:
    """``(B,)`` in [−1,1]: brightness of a part, −1 for black, 1 for white, 0 for grey."""
    return 2 * (_brightness(images)[:, 0] * _part_weights(images, part)).sum((1, 2))


def _evidence_shares(images: Tensor, part: str) -> Tensor:
    """``(B,1,H,W)``: share of each pixel in its square's evidence; sums to 1, zero for a grey square."""
    pixels, total = 2 * _brightness(images) * _part_weights(images, part), _evidence(images, part)[:, None, None, None]
    return torch.where(total == 0, 0.0, pixels / total.where(total != 0, torch.ones_like(total)))


def _bright_and_dark(evidence: Tensor) -> Tensor:
    """``(B,)`` -> ``(B,2)``: for bright and for dark."""
    return torch.stack([evidence, -evidence], dim=1)


def _sign_for_targets(values: Tensor, targets: Tensor) -> Tensor:
    """Maps ``(B,1,H,W)`` of the first class as those of the targets; the second class's have the other sign."""
    return values * (1 - 2 * targets)[:, None, None, None]


def _middle_mask(images: Tensor) -> Tensor:
    """``(H,W)``, 1 in the square between a quarter and three quarters of each side."""
    H, W = images.shape[2:]
    mask = torch.zeros(H, W, device=images.device, dtype=images.dtype)
    mask[H // 4 : H - H // 4, W // 4 : W - W // 4] = 1
    return mask


@model("mask_mean", about="hand-wired: the mean over the middle quarter of the image")
def mask_mean() -> Model:
    """Logit: the mean over a known region, share p = 1/4 of the image; for the data set ``planted_square``.

    Its curves are taken on the output itself, so the symmetric relevance gain of the oracle is (1 − p) times the
    headroom, and the headroom-normalised one is 1 − p.
    """
    return Model(
        name="mask_mean",
        net=MaskMean(),
        classes=("bright", "dark"),
        revision=hashing.digest("mask_mean", "mean over the middle quarter", "1"),
        capabilities=frozenset({"forward", "gradient"}),
        output="logit",
        card={"target": "shade", "about": "hand-wired, no training"},
    )


def _hand_wired_model(name: str, net: nn.Module, classes: tuple[str, ...], about: str, **traits: Any) -> Model:
    """A model for `planted_parts`; its curves are taken on the logit unless ``traits`` name another output."""
    traits = {"output": "logit", **traits}
    return Model(
        name=name,
        net=net,
        classes=classes,
        revision=hashing.digest(name, about, "1"),
        capabilities=frozenset({"forward", "gradient", *traits.pop("can", ())}),
        card={"target": "shade" if "bright" in classes else "side", "about": f"hand-wired, no training; {about}"},
        **traits,
    )


@model("part_sum", about="hand-wired: three squares that add up, 3 : 2 : 1")
def part_sum() -> Model:
    """Three squares of known weight; for the data set ``planted_parts``. Linear, so the exact map is weight × value."""
    return _hand_wired_model("part_sum", PartSum(), ("bright", "dark"), "3 eyes + 2 nose + mouth")


@model("both_parts", about="hand-wired: two squares, both needed (AND)")
def both_parts() -> Model:
    """The product of two squares' evidence, each a share p = 1/16 of the image; for the data set ``planted_parts``.

    Any order that removes both squares before the remaining cells, in any order within them, has the normalised gain
    1 − 2p under the mean colour: the loss of one order within the squares is the gain of its reverse.
    """
    return _hand_wired_model("both_parts", BothParts(), ("bright", "dark"), "eyes × nose")


@model("disconnected_halves", about="hand-wired: each class sees its own half only (DiFull)")
def disconnected_halves() -> Model:
    """Each logit is computed from one half of the image; for ``planted_parts`` with the target ``side``.

    Source: Rao, Böhle and Schiele 2022, arXiv 2205.10435 (DiFull): no map of a class may reach into the other half.
    Differs: two halves and fixed weights, where the paper puts trained classifiers on a grid.
    """
    return _hand_wired_model("disconnected_halves", DisconnectedHalves(), ("left", "right"), "a half for each class")


@model("single_logit", about="hand-wired: one logit for two classes")
def single_logit() -> Model:
    """A binary head with one output; for the data set ``planted_parts``.

    Gradients of the two classes are each other's negatives; CAM maps, which pass a ReLU, are not.
    """
    about = "one logit: eyes dark"
    traits = {"cam_layer": "relu", "can": {"activations"}, "output": "softmax"}
    return _hand_wired_model("single_logit", SingleLogit(), ("bright", "dark"), about, **traits)
