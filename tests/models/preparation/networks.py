"""Networks with one difficulty each, and ways to look at what they call."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mavis.core.types import Model


def small_network(n_classes: int = 2) -> nn.Sequential:
    """A small network with in-place ReLUs, dropout and batch normalisation."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True),
        nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, n_classes),
    )  # fmt: skip
    return network.eval()


def as_model(network: nn.Module, cam_layer: str | None = "4") -> Model:
    """A model of two classes around a network."""
    return Model("tiny", network, ("a", "b"), "r1", cam_layer=cam_layer, size=32)


def called_modules(network: nn.Module, images: Tensor, kind: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
    """The modules of a kind that one forward calls, once for each call."""
    called: list[nn.Module] = []
    modules = [module for module in network.modules() if isinstance(module, kind)]
    handles = [module.register_forward_hook(lambda module, _, __: called.append(module)) for module in modules]
    network(images)
    for handle in handles:
        handle.remove()
    return called


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """A network with random weights that are always the same."""
    torch.manual_seed(0)
    return build().eval()


def noise_images() -> Tensor:
    """Three images of noise."""
    return torch.rand((3, 3, 32, 32), generator=torch.Generator().manual_seed(1))


class Shared(nn.Module):
    """One ReLU at two places, a sum in place, and the ReLU as a function, a method and in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.first(images))
        y = self.second(x)
        y += x
        y = F.relu(self.relu(y) - 0.1, inplace=True)
        return self.head((torch.relu(y - 0.1) + (y - 0.2).relu_()).mean((2, 3)))


class Branching(Shared):
    """Shared activations in a forward that looks at values, which cannot be traced."""

    def forward(self, images: Tensor) -> Tensor:
        if images.mean() > 2:
            return self.head(images.mean((2, 3)))
        return super().forward(images)


class Aliased(nn.Module):
    """Reads a tensor after it was changed in place under another name: without the change its answer is another."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        F.relu(x, inplace=True)
        return self.head(x.mean((2, 3)))


class Probable(nn.Module):
    """A linear layer ``logits``, and a function of its output."""

    def __init__(self, end: Callable[[Tensor], Tensor], n_classes: int = 2) -> None:
        super().__init__()
        self.pool, self.head, self.end = nn.AdaptiveAvgPool2d(4), nn.Linear(48, n_classes), end

    def logits(self, images: Tensor) -> Tensor:
        return self.head(self.pool(images).flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.logits(images))


class Nested(nn.Module):
    """A module that holds a softmax."""

    def __init__(self, end: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Identity(), end)

    def forward(self, logits: Tensor) -> Tensor:
        return self.inner(logits)


class Functional(nn.Module):
    """A module whose forward ends in a softmax."""

    def forward(self, logits: Tensor) -> Tensor:
        return F.softmax(logits * 1.0, dim=1)
