"""The layer that CAM methods read: which one is chosen, and which named ones are refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.models.preparation import cam_layer
from mavis.models.preparation.cam_layer import CamLayer
from mavis.models.preparation.graph_rewriting import disable_in_place

from .networks import noise_images, seeded, small_network


def frozen(build: Callable[[], nn.Module]) -> nn.Module:
    """A network as `prepare` hands it over: nothing in place, no gradient of a weight."""
    network = seeded(build)
    disable_in_place(network)
    return network.requires_grad_(requires_grad=False)


def choose_layer(net: nn.Module) -> CamLayer | None:
    """The layer that is chosen on noise, for two classes."""
    images = noise_images()
    return cam_layer.choose_layer(net, images, cam_layer.layer_outputs(net, images), 2)


def check_layer(net: nn.Module, name: str) -> CamLayer:
    """The named layer of 'tiny'."""
    return cam_layer.check_layer(net, cam_layer.layer_outputs(net, noise_images()), name, "tiny")


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
    assert choose_layer(frozen(build)) == layer


def test_without_positions_no_layer_is_chosen() -> None:
    """A network of linear layers has none."""
    network = frozen(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)))
    assert choose_layer(network) is None


def test_the_outermost_module_of_a_tensor_is_chosen() -> None:
    """A block and its last activation return the same tensor; the block is named."""
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network = frozen(
        lambda: nn.Sequential(nn.Sequential(block), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    )
    assert choose_layer(network) == CamLayer("0", "maps")


def test_parts_of_torch_s_own_layers_are_not_chosen() -> None:
    """An encoder layer of torch may compute without calling its parts; the layer itself is chosen, or one outside."""
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    class Encoded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.encoder, self.head = nn.Conv2d(3, 8, 8, 8), encoder, nn.Linear(8, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.encoder(self.patches(images).flatten(2).transpose(1, 2)).mean(1))

    assert choose_layer(frozen(Encoded)) == CamLayer("encoder", "tokens")


def test_a_named_layer_is_described() -> None:
    """Its layout, and how many tokens stand before the patches."""
    assert check_layer(small_network(), "2") == CamLayer("2", "maps")
    assert check_layer(seeded(Tokens), "last") == CamLayer("last", "tokens", n_prefix_tokens=1)


def test_a_missing_layer_is_named() -> None:
    """With the last modules there are."""
    with pytest.raises(ModelError, match=r"'tiny' has no module 'layer9' for CAM; its last ones: \['6', '7', '8'\]"):
        check_layer(small_network(), "layer9")


@pytest.mark.parametrize("layer", ["6", "8"])
def test_a_named_layer_without_positions_is_refused(layer: str) -> None:
    """After the pooling there is one position, after the head none."""
    with pytest.raises(ModelError, match=f"The CAM layer '{layer}' of 'tiny' must be called once"):
        check_layer(small_network(), layer)


def test_a_layer_that_is_called_twice_is_refused() -> None:
    """Its output would be two maps."""

    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.conv(self.conv(images)).mean((2, 3)))

    with pytest.raises(ModelError, match="must be called once"):
        check_layer(seeded(Repeated), "conv")


def test_no_hook_is_left_behind() -> None:
    """Neither by the choice nor by the check."""
    network = small_network()
    choose_layer(network)
    check_layer(network, "4")
    assert not any(module._forward_hooks for module in network.modules())


class Branches(nn.Module):
    """A transformer whose attention weights pass a dropout: a matrix per head, of the shape of maps."""

    def __init__(self, *, as_pair: bool = False) -> None:
        super().__init__()
        self.patches, self.token, self.as_pair = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 1, 8)), as_pair
        self.blocks = nn.ModuleList([Attention(as_pair=as_pair) for _ in range(3)])
        self.head = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)[0] if self.as_pair else block(x)
        return self.head(x[:, 0])


class Attention(nn.Module):
    """A step of attention, which returns its weights too if asked."""

    def __init__(self, *, as_pair: bool) -> None:
        super().__init__()
        self.mix, self.drop, self.as_pair = nn.Linear(8, 24), nn.Dropout(0.1), as_pair

    def forward(self, tokens: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        query, key, value = self.mix(tokens).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        weights = self.drop((query @ key.transpose(2, 3)).softmax(3))
        tokens = tokens + (weights @ value).transpose(1, 2).flatten(2)
        return (tokens, weights) if self.as_pair else tokens


def test_attention_weights_are_no_maps() -> None:
    """The last tokens that the class token still reads are chosen, not the matrix after them."""
    network = frozen(Branches)
    assert choose_layer(network) == CamLayer("blocks.1", "tokens", n_prefix_tokens=1)
    with pytest.raises(ModelError, match="answer to the same places of the image"):
        check_layer(network, "blocks.2.drop")


def test_a_block_that_returns_several_things_is_chosen_as_one_that_returns_one() -> None:
    """Its first tensor gets a module that a hook can read; the logits stay."""
    network = frozen(lambda: Branches(as_pair=True))
    layer = choose_layer(network)
    assert layer == CamLayer("blocks.1", "tokens", n_prefix_tokens=1, is_item=True)
    before = network(noise_images())
    name = cam_layer.tap_layer(network, layer)
    shapes = []
    network.get_submodule(name).register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape)))
    assert name == "blocks.1.tap"
    assert torch.equal(network(noise_images()), before)
    assert shapes == [(3, 17, 8)]
