"""The architecture `race_resnet`: first layers of a ResNet, convolutions, average pooling and one linear layer.

The logits are a linear function of the last map's average, so CAM applies: a class's map is the head's row times the
activations of `CAM_LAYER`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from mavis.core.errors import BadParameter, ModelError

CAM_LAYER = "tail.1.relu"
"""Dotted name of the module whose output is averaged into the head."""

MAX_SMALL_SIZE = 112
"""Largest image side for which the small form is built."""

RESNET50_PATTERN = "resnet50-*.pth"
"""File name of torchvision's ResNet-50 weights in torch's cache folder."""


class Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """``(B,C,h,w)`` -> ``(B,out,h/stride,w/stride)``."""
        out: Tensor = self.relu(self.norm(self.conv(images)))
        return out


class Residual(nn.Module):
    """The basic block of a ResNet, with a ReLU module of its own at each place.

    Source: He et al. 2016, figure 2 and option B.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = Convolution(in_channels, out_channels, stride=stride)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, images: Tensor) -> Tensor:
        """``(B,C,h,w)`` -> ``(B,out,h/stride,w/stride)``."""
        out: Tensor = self.relu(self.norm(self.conv(self.first(images))) + self.shortcut(images))
        return out


class RaceResNet(nn.Module):
    """Trunk, tail, average pooling, linear head; normalisation inside.

    Args:
        trunk: the first layers of a ResNet.
        tail: convolutions; the last module's output is the last map.
        channels: of the last map.
        classes: number of logits.
        mean: per colour, subtracted from the image.
        deviation: per colour, divides the image.

    Attributes:
        pretrained: name of the file of the trunk's weights; None for random ones.
    """

    pretrained: str | None = None
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        tail: nn.Module,
        *,
        channels: int,
        classes: int,
        mean: Sequence[float],
        deviation: Sequence[float],
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1))
        self.trunk = trunk
        self.tail = tail
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B,3,H,W)`` float32 in [0,1] -> logits ``(B,K)``."""
        last = self.tail(self.trunk((images - self.mean) / self.deviation))
        logits: Tensor = self.head(self.pool(last).flatten(1))
        return logits


def build_race_resnet(classes: int, size: int = 64, *, pretrained: Path | str | bool = False) -> RaceResNet:
    """Builds the form that suits the image size.

    Up to 112 px: a stem and two residual blocks (16, 32, 64 channels), two convolutions of 96 channels; the last
    map has an eighth of the image's side. Above: torchvision's ResNet-50 up to ``layer3`` and two convolutions of
    256 channels; the last map has a sixteenth (14 × 14 at 224 px).

    Args:
        classes: number of logits.
        size: side of the images, at least 32.
        pretrained: for the large form: a file of torchvision's ResNet-50 weights, or True for the one in torch's cache
            folder. Nothing is ever downloaded; where there is none, a warning says so and the weights are random.

    Raises:
        BadParameter: too few classes, or too small a size.
        ModelError: the file given cannot be read, or does not fit.
    """
    if classes < 2 or size < 32:
        raise BadParameter(f"race_resnet needs at least 2 classes and 32 pixels; got {classes} and {size}.")
    if size <= MAX_SMALL_SIZE:
        return _build_small(classes)
    net = _build_large(classes)
    if pretrained:
        _load_trunk(net, pretrained)
    return net


ARCHITECTURES: Mapping[str, Callable[..., RaceResNet]] = {"race_resnet": build_race_resnet}
"""Builders by name: ``(classes, size) -> net``."""


def _build_small(classes: int) -> RaceResNet:
    return RaceResNet(
        nn.Sequential(Convolution(3, 16, stride=2), Residual(16, 32, stride=2), Residual(32, 64, stride=2)),
        nn.Sequential(Convolution(64, 96), Convolution(96, 96)),
        channels=96,
        classes=classes,
        mean=(0.5, 0.5, 0.5),
        deviation=(0.25, 0.25, 0.25),
    )


def _build_large(classes: int) -> RaceResNet:
    from torchvision.models.resnet import Bottleneck, ResNet

    class Separate(Bottleneck):  # type: ignore[misc]
        """A bottleneck whose three ReLUs are three modules, so that hooks see each."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.relu1, self.relu2, self.relu = nn.ReLU(), nn.ReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            out = self.relu1(self.bn1(self.conv1(x)))
            out = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(out)))))
            out = out + (x if self.downsample is None else self.downsample(x))
            return self.relu(out)  # type: ignore[no-any-return]

    resnet = ResNet(Separate, [3, 4, 6, 3])
    resnet.relu = nn.ReLU()
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    trunk = nn.Sequential()
    for name in names:
        trunk.add_module(name, getattr(resnet, name))
    return RaceResNet(
        trunk,
        nn.Sequential(Convolution(1024, 256), Convolution(256, 256)),
        channels=256,
        classes=classes,
        mean=(0.485, 0.456, 0.406),
        deviation=(0.229, 0.224, 0.225),
    )


def _load_trunk(net: RaceResNet, pretrained: Path | str | bool) -> None:
    path = _find_cached_weights() if pretrained is True else Path(str(pretrained))
    if path is None:
        warnings.warn(
            f"No pretrained ResNet-50 ({RESNET50_PATTERN}) in torch's cache folder; the trunk starts from random "
            "weights.",
            stacklevel=3,
        )
        return
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        net.trunk.load_state_dict({name: state[name] for name in net.trunk.state_dict()})
    except (OSError, KeyError, TypeError, RuntimeError, EOFError, UnpicklingError) as error:
        raise ModelError(f"'{path}' is not torchvision's ResNet-50: {str(error).splitlines()[0]}") from error
    net.pretrained = path.name


def _find_cached_weights() -> Path | None:
    paths = sorted((Path(torch.hub.get_dir()) / "checkpoints").glob(RESNET50_PATTERN))
    return paths[0] if paths else None
