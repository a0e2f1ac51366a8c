"""Weights: read from files that hold tensors only, or random ones with which a network tells images apart."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.models.loading import weights
from mavis.models.loading.weights import load_weights, random_network
from mavis.models.preparation import probe_images


def linear(value: float = 0.0) -> nn.Linear:
    """A layer with the same number everywhere."""
    layer = nn.Linear(3, 2)
    nn.init.constant_(layer.weight, value)
    nn.init.constant_(layer.bias, value)
    return layer


def save_as(path: Path, state: dict[str, Tensor]) -> Path:
    """Writes a state dict in the format of the file's ending."""
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.pth"])
def test_a_state_dict_fills_the_network(tmp_path: Path, name: str) -> None:
    """From either format."""
    layer = linear()
    load_weights(layer, save_as(tmp_path / name, linear(7.0).state_dict()))
    assert layer.weight.eq(7).all()
    assert layer.bias.eq(7).all()


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_state_dict_under_a_usual_key_is_found(tmp_path: Path, key: str) -> None:
    """Checkpoints of Lightning and timm put it there, beside other things."""
    torch.save({key: linear(7.0).state_dict(), "epoch": 3}, tmp_path / "a.pt")
    layer = linear()
    load_weights(layer, tmp_path / "a.pt")
    assert layer.weight.eq(7).all()


def test_tensors_of_ignored_names_are_left_out(tmp_path: Path) -> None:
    """Heads that only training uses; without the prefix they are an error that names the first."""
    path = save_as(tmp_path / "a.pt", {**linear(7.0).state_dict(), "aux.weight": torch.zeros(1)})
    load_weights(linear(), path, ignored_prefixes=("aux.",))
    with pytest.raises(ModelError, match=r"'aux\.weight' has no place in the architecture"):
        load_weights(linear(), path)


def test_tied_weights_can_be_loaded(tmp_path: Path) -> None:
    """Two names of one tensor, which safetensors would refuse to write."""
    tensor = torch.ones(2, 2)
    torch.save({"0.weight": tensor, "1.weight": tensor}, tmp_path / "a.pt")
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    load_weights(net, tmp_path / "a.pt")
    assert net[0].weight.eq(1).all()
    assert net[1].weight.eq(1).all()


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    """A file that is not there, one that is damaged, one that would run code, one of other things."""
    with pytest.raises(ModelError, match=r"The weights 'none.pt' are not there; write NAME:FILE"):
        load_weights(linear(), Path("none.pt"))
    for name, message in (("a.safetensors", "is not a safetensors file"), ("a.pt", "cannot be read as tensors only")):
        (tmp_path / name).write_bytes(b"x" * 20)
        with pytest.raises(ModelError, match=message):
            load_weights(linear(), tmp_path / name)
    torch.save(nn.Linear(2, 2), tmp_path / "code.pt")
    with pytest.raises(ModelError, match="cannot be read as tensors only"):
        load_weights(linear(), tmp_path / "code.pt")
    for content, got in (([1, 2], "a list"), ({"weight": 3}, r"a dict with 'weight \(int\)'"), ({}, "an empty dict")):
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(ModelError, match=rf"must be a state dict, names to tensors, got {got}; write torch.save"):
            load_weights(linear(), tmp_path / "other.pt")


def with_zero_head() -> nn.Module:
    """A flat network whose head is all zeros."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))
    nn.init.zeros_(net[1].weight)
    return net


def test_a_head_of_zeros_is_drawn() -> None:
    """Vision transformers come with one; with it every map would be zero."""
    logits = random_network(with_zero_head, 8)(weights._calibration_images(8)[::5])
    torch.testing.assert_close(logits.std(0).mean(), torch.tensor(1.0))
    torch.testing.assert_close(logits.mean(0), torch.zeros(3), rtol=0, atol=1e-5)


def test_random_weights_depend_on_nothing_else() -> None:
    """Torch's generator decides nothing and is left as it was."""
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = random_network(with_zero_head, 8)
    assert torch.equal(torch.rand(1), expected)
    torch.manual_seed(2)
    assert torch.equal(first[1].weight, random_network(with_zero_head, 8)[1].weight)


def test_batch_normalisation_has_the_statistics_of_the_calibration_images() -> None:
    """Mean and variance per channel, by hand; its mode and momentum are as they were."""
    net = random_network(
        lambda: nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)), 8
    )
    images = weights._calibration_images(8)
    torch.testing.assert_close(net[0].running_mean, images.mean((0, 2, 3)))
    torch.testing.assert_close(net[0].running_var, images.transpose(0, 1).flatten(1).var(1))
    assert net[0].momentum == 0.1
    assert not net[0].training


class Gated(nn.Module):
    """A convolution and a normalisation whose scale is that of the image: nearly nothing for a flat one."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.pool, self.head = nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.norm(1 / images.std((2, 3), keepdim=True) * images)).flatten(1))


def test_a_flat_image_has_no_logits_far_beyond_those_of_others() -> None:
    """With statistics of lively images only, they were a thousand times as large, and mostly rounding."""
    net = random_network(Gated, 8)
    logits = net(probe_images.varied_images(8)).abs().amax(1)
    assert logits.max() < 30


@pytest.mark.parametrize("layers", [[nn.Conv2d(3, 2, 9)], [nn.Flatten(), nn.Linear(5, 2)], [nn.Unflatten(1, (2, 2))]])
def test_a_size_that_the_network_does_not_take_is_one_line(layers: list[nn.Module]) -> None:
    """Whatever it raises, with what to write."""
    with pytest.raises(ModelError, match=r"no images of 8 × 8 px \(.*\); write the size .* NAME@SIZE\.$") as caught:
        random_network(lambda: nn.Sequential(*layers), 8)
    assert "\n" not in str(caught.value)
