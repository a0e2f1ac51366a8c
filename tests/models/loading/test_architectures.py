"""The architecture: sizes, the linear head on averaged activations, ReLUs that hooks can tell apart."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mavis.core.errors import BadParameter, ModelError
from mavis.models.loading.architectures import CAM_LAYER, RaceResNet, build_race_resnet


def activations(net: RaceResNet, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and what the CAM layer put out on the way."""
    caught: list[torch.Tensor] = []
    hook = net.get_submodule(CAM_LAYER).register_forward_hook(lambda _m, _i, out: caught.append(out))
    with torch.no_grad():
        logits = net.eval()(images)
    hook.remove()
    assert len(caught) == 1
    return logits, caught[0]


@pytest.mark.parametrize("size", [64, 112])
def test_logits_are_the_head_on_the_averaged_last_map(size: int) -> None:
    """CAM's identity: averaged activations times the head's weights, plus its bias, are the logits."""
    net = build_race_resnet(7, size)
    logits, last = activations(net, torch.rand(3, 3, size, size))
    torch.testing.assert_close(last.mean((2, 3)) @ net.head.weight.T + net.head.bias, logits)


@pytest.mark.parametrize(("size", "least"), [(64, 8), (112, 8), (224, 7)])
def test_the_last_map_is_large_enough_for_cam(size: int, least: int) -> None:
    """At least 8 × 8 at 64 px and 7 × 7 at 224 px; the large form keeps CAM's identity too."""
    net = build_race_resnet(3, size)
    logits, last = activations(net, torch.rand(1, 3, size, size))
    assert min(last.shape[2:]) >= least
    assert logits.shape == (1, 3)
    torch.testing.assert_close(last.mean((2, 3)) @ net.head.weight.T + net.head.bias, logits)


@pytest.mark.parametrize("size", [64, 224])
def test_every_relu_runs_once_and_not_in_place(size: int) -> None:
    """A hook on a ReLU sees one call, and the tensor it saw is not overwritten."""
    net = build_race_resnet(2, size).eval()
    calls: dict[str, int] = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.ReLU):
            assert not module.inplace
            calls[name] = 0
            module.register_forward_hook(lambda _m, _i, _o, name=name: calls.__setitem__(name, calls[name] + 1))
    with torch.no_grad():
        net(torch.rand(1, 3, size, size))
    assert set(calls.values()) == {1}
    assert calls


def test_the_large_trunk_computes_what_torchvision_computes() -> None:
    """With the weights of a torchvision ResNet-50, the trunk gives its features after layer3."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    reference = resnet50(weights=None).eval()
    net = build_race_resnet(2, 224).eval()
    state = reference.state_dict()
    net.trunk.load_state_dict({name: state[name] for name in net.trunk.state_dict()})
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(images))))
        expected = reference.layer3(reference.layer2(reference.layer1(x)))
        torch.testing.assert_close(net.trunk(images), expected)


def test_normalisation_is_inside() -> None:
    """An image of the mean colour reaches the trunk as zeros."""
    net = build_race_resnet(2, 64).eval()
    seen: list[torch.Tensor] = []
    net.trunk.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    net(net.mean.expand(1, 3, 64, 64).clone())
    assert torch.equal(seen[0], torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(("classes", "size"), [(1, 64), (7, 16)])
def test_too_few_classes_or_pixels_are_refused(classes: int, size: int) -> None:
    """The message names both."""
    with pytest.raises(BadParameter, match=f"got {classes} and {size}"):
        build_race_resnet(classes, size)


def test_pretrained_weights_are_taken_from_a_file(tmp_path: Path) -> None:
    """A ResNet-50 file fills the trunk, and the net says where from."""
    from torchvision.models import resnet50

    state = resnet50(weights=None).state_dict()
    torch.save(state, tmp_path / "resnet50-test.pth")
    net = build_race_resnet(2, 224, pretrained=tmp_path / "resnet50-test.pth")
    assert torch.equal(net.trunk.state_dict()["layer3.5.conv3.weight"], state["layer3.5.conv3.weight"])
    assert net.pretrained == "resnet50-test.pth"


def test_the_cache_folder_is_searched_and_its_lack_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without weights at hand a warning says so, and nothing is fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_a, **_k: pytest.fail("a download was tried"))
    with pytest.warns(UserWarning, match="random weights"):
        net = build_race_resnet(2, 224, pretrained=True)
    assert net.pretrained is None


def test_weights_in_the_cache_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's cache folder follows TORCH_HOME."""
    from torchvision.models import resnet50

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(resnet50(weights=None).state_dict(), tmp_path / "hub" / "checkpoints" / "resnet50-0.pth")
    assert build_race_resnet(2, 224, pretrained=True).pretrained == "resnet50-0.pth"


@pytest.mark.parametrize("content", [None, b"not a checkpoint", {"conv1.weight": torch.zeros(1)}])
def test_a_file_that_is_no_resnet50_is_refused(tmp_path: Path, content: object) -> None:
    """Absent, damaged or of another net: one error that names the file."""
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ModelError, match=r"weights\.pth"):
        build_race_resnet(2, 224, pretrained=path)
