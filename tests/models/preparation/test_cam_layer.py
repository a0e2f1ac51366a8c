"""The layer that CAM methods read: which one is chosen, and which named ones are refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.models.preparation.cam_layer import CamLayer, check_layer, choose_layer
from mavis.models.preparation.graph_rewriting import disable_in_place

from .networks import noise_images, seeded, small_network


def frozen(build: Callable[[], nn.Module]) -> nn.Module:
    """A network as `prepare` hands it over: nothing in place, no gradient of a weight."""
    network = seeded(build)
    disable_in_place(network)
    return network.requires_grad_(requires_grad=False)


class Inception(nn.Module):
    """Two branches after the last layer that everything passes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.left, self.right = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        return self.head(torch.cat([self.left(x).mean((2, 3)), self.right(x).mean((2, 3))], 1))


class Tokens(nn.Module):
    """Patches and a class token, one step of attention, an answer read from the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 1, 8))
        self.norm, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.last, self.head = nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head(self.last(x)[:, 0])


class Swin(nn.Module):
    """Maps with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.head = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.patches(images).permute(0, 2, 3, 1)).relu().mean((1, 2)))


def conv_head() -> nn.Module:
    """Features, and a last convolution with a channel for each class."""
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(features, classifier)


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (small_network, CamLayer("4", "maps")),
        (Inception, CamLayer("stem", "maps")),
        (Tokens, CamLayer("norm", "tokens", n_prefix_tokens=1)),
        (Swin, CamLayer("norm", "channels last")),
        (conv_head, CamLayer("0", "maps")),
    ],
    ids=["pooled", "branches", "class token", "channels last", "convolution as head"],
)
def test_the_last_layer_with_positions_is_chosen(build: Callable[[], nn.Module], layer: CamLayer) -> None:
    """The last one that all dependence on the image passes, before the map of class scores."""
    assert choose_layer(frozen(build), noise_images(), n_classes=2) == layer


def test_without_positions_no_layer_is_chosen() -> None:
    """A network of linear layers has none."""
    network = frozen(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)))
    assert choose_layer(network, noise_images(), n_classes=2) is None


def test_the_outermost_module_of_a_tensor_is_chosen() -> None:
    """A block and its last activation return the same tensor; the block is named."""
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network = frozen(
        lambda: nn.Sequential(nn.Sequential(block), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    )
    assert choose_layer(network, noise_images(), n_classes=2) == CamLayer("0", "maps")


def test_parts_of_torch_s_own_layers_are_not_chosen() -> None:
    """An encoder layer of torch may compute without calling its parts; the layer itself is chosen, or one outside."""
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    class Encoded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.encoder, self.head = nn.Conv2d(3, 8, 8, 8), encoder, nn.Linear(8, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.encoder(self.patches(images).flatten(2).transpose(1, 2)).mean(1))

    assert choose_layer(frozen(Encoded), noise_images(), n_classes=2) == CamLayer("encoder", "tokens")


def test_a_named_layer_is_described() -> None:
    """Its layout, and how many tokens stand before the patches."""
    assert check_layer(small_network(), noise_images(), "2", "tiny") == CamLayer("2", "maps")
    assert check_layer(seeded(Tokens), noise_images(), "last", "tiny") == CamLayer("last", "tokens", n_prefix_tokens=1)


def test_a_missing_layer_is_named() -> None:
    """With the last modules there are."""
    with pytest.raises(ModelError, match=r"'tiny' has no module 'layer9' for CAM; its last ones: \['6', '7', '8'\]"):
        check_layer(small_network(), noise_images(), "layer9", "tiny")


@pytest.mark.parametrize("layer", ["6", "8"])
def test_a_named_layer_without_positions_is_refused(layer: str) -> None:
    """After the pooling there is one position, after the head none."""
    with pytest.raises(ModelError, match=f"The CAM layer '{layer}' of 'tiny' must be called once"):
        check_layer(small_network(), noise_images(), layer, "tiny")


def test_a_layer_that_is_called_twice_is_refused() -> None:
    """Its output would be two maps."""

    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.conv(self.conv(images)).mean((2, 3)))

    with pytest.raises(ModelError, match="must be called once"):
        check_layer(seeded(Repeated), noise_images(), "conv", "tiny")


def test_no_hook_is_left_behind() -> None:
    """Neither by the choice nor by the check."""
    network = small_network()
    choose_layer(network, noise_images(), n_classes=2)
    check_layer(network, noise_images(), "4", "tiny")
    assert not any(module._forward_hooks for module in network.modules())
