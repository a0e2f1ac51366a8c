"""A model."""

import torch
from torch import nn

from mavis import Model, digest, model


@model("two_shades", about="one convolution that tells bright from dark")
def two_shades() -> Model:
    """How far the image is brighter, or darker, than medium grey."""
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    weights = {
        "0.weight": torch.tensor([1.0, -1.0]).view(2, 1, 1, 1).repeat(1, 3, 1, 1),
        "0.bias": torch.tensor([-1.5, 1.5]),
    }
    net.load_state_dict(weights)
    return Model(
        name="two_shades",
        net=net,
        classes=("bright", "dark"),
        revision=digest("two_shades", *(tensor.numpy().tobytes() for tensor in weights.values())),
        cam_layer="1",
        card={"target": "shade"},
    )
