"""Explainers of other libraries are registered unchanged and give what those libraries give."""

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import mavis
from mavis.cli import app
from mavis.core import registry, user_plugins
from mavis.core.attribution_maps import upsample
from mavis.core.errors import BadParameter, MavisError, ModelError
from mavis.core.traits import ExplainerTraits
from mavis.explainers.external import adapters
from mavis.models.loading.architectures import build_race_resnet

from ...toys import Clamped, Linear, Pooled, explain, make_model, make_pass, random_images, targets

WEIGHT = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(7))

MINE = """
import numpy as np
import torch
from captum.attr import NoiseTunnel, Saliency


def like_quantus(model, inputs, targets, **kwargs):
    "The gradient, in arrays."
    images = torch.tensor(inputs, device=kwargs["device"], requires_grad=True)
    model(images).gather(1, torch.tensor(targets)[:, None]).sum().backward()
    return images.grad.numpy().sum(1) * kwargs.get("times", 1)


def plain(model, images, targets):
    "The gradient, in tensors."
    images.requires_grad_()
    return torch.autograd.grad(model(images).gather(1, targets[:, None]).sum(), images)[0]


def smooth(model, images, targets, samples=2):
    "Another method's tunnel."
    return NoiseTunnel(Saliency(model)).attribute(images, target=targets, nt_samples=samples, abs=False)


class TinyCAM:
    "Activations, summed."

    def __init__(self, model, target_layers, power=1):
        self.model, self.power = model, power
        self.handle = target_layers[0].register_forward_hook(self.keep)

    def keep(self, module, inputs, output):
        self.kept = output

    def __call__(self, input_tensor, targets=None):
        logits = self.model(input_tensor)
        assert [target(row).item() for target, row in zip(targets, logits)]
        small = self.kept.detach().sum(1, keepdim=True) ** self.power
        large = torch.nn.functional.interpolate(small, size=input_tensor.shape[2:])
        return large[:, 0].double().numpy()
"""

MAVIS_TOML = """
[explainer.captum_saliency]
factory = "captum.attr:Saliency"
needs = ["gradient"]

[explainer.captum_gradcam]
factory = "captum.attr:LayerGradCam"
needs = ["gradient", "activations"]

[explainer.quantus_saliency]
factory = "mine:like_quantus"

[explainer.plain]
factory = "mine:plain"

[explainer.smooth]
factory = "mine:smooth"
stochastic = true

[explainer.tiny_cam]
factory = "mine:TinyCAM"
needs = ["activations"]
signed = false
"""


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working folder with a file of explainers; what a test registers or imports is forgotten after it."""
    registry.load_plugins()
    entries = {kind: dict(plugins.entries) for kind, plugins in registry.REGISTRIES.items()}
    monkeypatch.setattr(registry, "_loaded", set(registry._loaded))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    yield
    for kind, plugins in registry.REGISTRIES.items():
        plugins.entries.clear()
        plugins.entries.update(entries[kind])
    sys.modules.pop("mine", None)


@pytest.fixture
def mine() -> SimpleNamespace:
    """The file's objects."""
    names = ("like_quantus", "plain", "smooth", "TinyCAM")
    return SimpleNamespace(**{name: user_plugins.import_factory(f"mine:{name}") for name in names})


def map_of(registered: object, model_pass: object, target: int | Tensor = 0, **params: object) -> Tensor:
    """The map of an object as if it were registered."""
    entry = registry.Entry("adapted", adapters.as_explainer_factory(registered), ExplainerTraits("a test"), "here")
    return entry.create(params)(model_pass, targets(model_pass, target))


def captum_s(kind: str, model_pass: object, target: int | Tensor = 0, **params: object) -> Tensor:
    """Captum's own map of all images at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = [model_pass.model.net.relu] if kind == "GuidedGradCam" else []
        method = getattr(captum.attr, kind)(model_pass.model.net, *layer)
        return method.attribute(model_pass.images.clone(), target=targets(model_pass, target), **params).detach()


def run_of(net: nn.Module | None = None, count: int = 5, **settings: object) -> object:
    """A pass of a net with a CAM layer."""
    cam = {"cam_layer": "relu"} if net is None else {}
    return make_pass(make_model(Pooled() if net is None else net, **cam), random_images(count), **settings)


# From registration to a run.


def test_every_kind_runs_from_a_mavis_toml(tmp_path: Path) -> None:
    """Six objects that know nothing of MAVIS are ranked on the shipped model; equal methods have equal scores."""
    (tmp_path / "mavis.toml").write_text(MAVIS_TOML, encoding="utf-8")
    names = ["captum_saliency", "captum_gradcam", "quantus_saliency", "plain", "smooth", "tiny_cam", "gradcam"]
    actual = mavis.evaluate(
        "race_resnet", explainers=names, metrics=["gini", "valid"], groups=["race"], limit=8, device="cpu"
    )
    assert not actual.findings.failures
    table = actual.to_frame()
    scores = table[table["metric"] == "gini"].groupby("explainer")["value"].mean()
    assert set(names) <= set(scores.index)
    assert scores["plain"] == pytest.approx(scores["quantus_saliency"], rel=1e-5)
    assert len({round(scores[name], 6) for name in names}) >= 5


def test_a_class_is_registered_by_command(tmp_path: Path) -> None:
    """The command takes a Captum class as it is, shows it, and it runs on a toy."""
    line = ["register", "explainer", "borrowed", "--factory", "captum.attr:Saliency", "--trait", "needs=gradient"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(app, ["list", "explainers"], env={"COLUMNS": "200"})
    assert "borrowed" in shown.output
    actual = mavis.evaluate(
        "mask_mean",
        "planted_square",
        explainers=["borrowed", "saliency"],
        metrics=["gini"],
        groups=["shade"],
        limit=8,
        device="cpu",
    )
    assert not actual.findings.failures
    scores = actual.to_frame().query("metric == 'gini'").groupby("explainer")["value"].mean()
    assert scores["borrowed"] == pytest.approx(scores["saliency"], rel=1e-5)


def test_a_package_registers_a_class_with_a_decorator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in package may decorate another library's class; the class itself is unchanged."""

    def load() -> None:
        decorated = mavis.explainer("packaged", source="a package", needs={"gradient"})(captum.attr.Saliency)
        assert decorated is captum.attr.Saliency

    points = [SimpleNamespace(name="package", value="package.module", load=load)]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "mavis.plugins" else [])
    registry._loaded.discard("built-in")
    model_pass = run_of()
    torch.testing.assert_close(explain("packaged", model_pass, 1), captum_s("Saliency", model_pass, 1))
    assert registry.explainers["packaged"].origin == "entry point package.module"


def test_the_same_class_again_does_nothing() -> None:
    """A name keeps its object, and refuses another one."""
    for _ in range(2):
        registry.register_plugin("explainer", "borrowed", "captum.attr:Saliency")
    with pytest.raises(MavisError, match="'borrowed' is taken"):
        registry.register_plugin("explainer", "borrowed", "captum.attr:Deconvolution")


def test_parameters_are_checked_and_described() -> None:
    """A wrapped class has the parameters and the description of what it wraps."""
    registry.register_plugin("explainer", "borrowed", "captum.attr:Occlusion")
    entry = registry.explainers["borrowed"]
    assert "perturbation based" in entry.summary
    assert {"sliding_window_shapes", "strides", "baselines"} <= set(entry.parameters())
    with pytest.raises(BadParameter, match="needs the parameter 'sliding_window_shapes'"):
        entry.create()
    with pytest.raises(BadParameter, match="has no parameter 'window'"):
        entry.create({"sliding_window_shapes": [3, 4, 4], "window": 3})


def test_our_own_explainers_are_not_wrapped() -> None:
    """A factory of explainers is registered as it is."""
    assert all(adapters.as_explainer_factory(entry.factory) is entry.factory for entry in registry.explainers)

    def factory(model: str, steps: int = 3) -> object:
        return model, steps

    assert adapters.as_explainer_factory(factory) is factory
    once = adapters.as_explainer_factory(captum.attr.Saliency)
    assert adapters.as_explainer_factory(once) is once


# Captum.


def test_captum_gives_what_captum_gives() -> None:
    """A wrapped class makes Captum's own map, its parameters passed on, on any batch."""
    model_pass = make_pass(build_race_resnet(7), random_images(5, 32), chunk=2)
    classes = torch.arange(5)
    for kind, params in (("Saliency", {"abs": False}), ("InputXGradient", {}), ("GuidedBackprop", {})):
        maps = map_of(getattr(captum.attr, kind), model_pass, classes, **params)
        torch.testing.assert_close(maps, captum_s(kind, model_pass, classes, **params), rtol=1e-4, atol=1e-6)


def test_captum_s_gradient_is_ours() -> None:
    """Captum's signed saliency is the explainer ``saliency``."""
    model_pass = run_of()
    torch.testing.assert_close(
        map_of(captum.attr.Saliency, model_pass, 1, abs=False), explain("saliency", model_pass, 1)
    )


def test_captum_s_paths_begin_at_the_mean_colour() -> None:
    """By default integrated gradients of a linear model are w·(x − mean)."""
    mean = torch.tensor([0.2, 0.5, 0.7])
    model_pass = make_pass(Linear(WEIGHT), random_images(3), mean=mean)
    expected = WEIGHT[1] * (model_pass.images - mean.view(1, 3, 1, 1))
    torch.testing.assert_close(map_of(captum.attr.IntegratedGradients, model_pass, 1), expected, rtol=1e-4, atol=1e-5)
    black = map_of(captum.attr.IntegratedGradients, model_pass, 1, baselines=0, n_steps=4)
    torch.testing.assert_close(black, WEIGHT[1] * model_pass.images, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["DeepLift", "DeepLiftShap", "GradientShap"])
def test_methods_that_need_baselines_get_the_mean_colour(kind: str) -> None:
    """A linear model's w·(x − mean), also where a set of baselines is demanded, in odd batches."""
    model_pass = make_pass(Linear(WEIGHT), random_images(5), mean=torch.full((3,), 0.3), chunk=3)
    maps = map_of(getattr(captum.attr, kind), model_pass, 1)
    torch.testing.assert_close(maps, WEIGHT[1] * (model_pass.images - 0.3), rtol=1e-4, atol=1e-5)


def test_deeplift_is_complete_in_any_batch() -> None:
    """The network is handed over bare: filled-up batches would pair each image with another's baseline."""
    model_pass = run_of(count=5)
    change = model_pass.model.net(model_pass.images) - model_pass.model.net(torch.full_like(model_pass.images, 0.5))
    maps = map_of(captum.attr.DeepLift, model_pass, 2)
    torch.testing.assert_close(maps.sum((1, 2, 3)), change[:, 2], rtol=1e-4, atol=1e-4)


def test_a_method_of_a_layer_reads_the_cam_layer() -> None:
    """Captum's layer Grad-CAM, cut at zero, is the explainer ``gradcam``; channels are summed and enlarged."""
    model_pass = run_of()
    torch.testing.assert_close(
        map_of(captum.attr.LayerGradCam, model_pass, 1, relu_attributions=True), explain("gradcam", model_pass, 1)
    )
    gradient = model_pass.activation_gradients(targets(model_pass, 1))
    expected = upsample((gradient * model_pass.activations).sum(1, keepdim=True), (8, 8))
    torch.testing.assert_close(map_of(captum.attr.LayerGradientXActivation, model_pass, 1), expected)


def test_guided_gradcam_keeps_its_colours() -> None:
    """It reads a layer, and its map is of the image."""
    model_pass = run_of()
    torch.testing.assert_close(
        map_of(captum.attr.GuidedGradCam, model_pass, 1), captum_s("GuidedGradCam", model_pass, 1)
    )


def test_lists_of_a_protocol_become_tuples() -> None:
    """Occlusion of a linear model with one-pixel windows is w·(x − mean), whatever is sent at a time."""
    model_pass = make_pass(Linear(WEIGHT), random_images(3), chunk=7)
    maps = map_of(captum.attr.Occlusion, model_pass, 1, sliding_window_shapes=[1, 1, 1])
    torch.testing.assert_close(maps, WEIGHT[1] * (model_pass.images - 0.5), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["NoiseTunnel", "DataLoaderAttribution"])
def test_what_is_made_of_another_method_is_refused(kind: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(MavisError, match=rf"{kind} is not made of a model alone\. Write a function"):
        adapters.as_explainer_factory(getattr(captum.attr, kind))


def test_a_model_without_cam_layer_is_named() -> None:
    """A method of a layer needs one."""
    model_pass = make_pass(Linear(WEIGHT), random_images(2))
    with pytest.raises(ModelError, match="'Linear' has no CAM layer"):
        map_of(captum.attr.LayerGradCam, model_pass)


# Functions.


def test_a_function_in_arrays_by_hand(mine: SimpleNamespace) -> None:
    """The gradient of a linear model, summed over its colours; keywords and the device are passed on."""
    model_pass = make_pass(Linear(WEIGHT), random_images(3), chunk=2)
    assert adapters.as_explainer_factory(mine.like_quantus).__name__ == "like_quantus"
    expected = WEIGHT[1].sum(0).expand(3, 1, 8, 8)
    torch.testing.assert_close(map_of(mine.like_quantus, model_pass, 1), expected)
    torch.testing.assert_close(map_of(mine.like_quantus, model_pass, 1, times=3), 3 * expected)


def test_a_function_in_tensors_by_hand(mine: SimpleNamespace) -> None:
    """The gradient of a linear model, each image's own class."""
    model_pass = make_pass(Linear(WEIGHT), random_images(4), chunk=3)
    classes = torch.tensor([0, 1, 1, 0])
    torch.testing.assert_close(map_of(mine.plain, model_pass, classes), WEIGHT[classes])


def test_quantus_s_own_function_is_taken_unchanged() -> None:
    """``quantus.explain`` with a method of its own: the absolute gradient, summed over the colours."""
    quantus = pytest.importorskip("quantus")
    model_pass = run_of()
    expected = captum_s("Saliency", model_pass, 1)
    maps = map_of(quantus.explain, model_pass, 1, method="Saliency")
    torch.testing.assert_close(maps, expected.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


def _two(model, images):
    return images


def _unclear(model, inputs, targets):
    return inputs


def _tensors(model, inputs: Tensor, targets):
    return inputs[:, 0].clone()


def _arrays(net, x: np.ndarray, y):
    assert isinstance(x, np.ndarray)
    return x[:, 0]


class _OfAModel:
    def __init__(self, model):
        self.model = model


@pytest.mark.parametrize(
    ("registered", "message"),
    [
        (_two, r"'_two' takes \(model, images\); an explainer that is a function takes \(model, images, targets\)"),
        (_unclear, r"'_unclear' may want tensors or, as Quantus has it, arrays\. Annotate 'inputs'"),
        (_OfAModel, r"'_OfAModel' is made of a model, but is no class of Captum"),
    ],
)
def test_what_is_not_clear_is_refused(registered: object, message: str) -> None:
    """An object that takes a model in a way that is not known is an error when it is registered."""
    with pytest.raises(MavisError, match=message):
        adapters.as_explainer_factory(registered)


def test_annotations_decide() -> None:
    """A function whose annotation says what it wants gets that; so does one that is named outright."""
    model_pass = make_pass(Linear(WEIGHT), random_images(3))
    for function in (_tensors, _arrays, adapters.function(_unclear), adapters.quantus(_unclear)):
        assert map_of(function, model_pass)[:, :1].equal(model_pass.images[:, :1])


# Classes in the manner of pytorch-grad-cam.


def test_a_cam_class_by_hand(mine: SimpleNamespace) -> None:
    """Made of the network and its CAM layer, called with one target per image; its parameters are passed on."""
    model_pass = run_of()
    small = model_pass.activations.sum(1, keepdim=True)
    expected = nn.functional.interpolate(small, size=(8, 8))
    torch.testing.assert_close(map_of(mine.TinyCAM, model_pass), expected)
    torch.testing.assert_close(map_of(mine.TinyCAM, model_pass, power=2), expected**2)


@pytest.mark.parametrize("kind", ["GradCAM", "HiResCAM", "LayerCAM", "EigenCAM", "ScoreCAM"])
def test_pytorch_grad_cam_gives_what_it_gives(kind: str) -> None:
    """A wrapped class makes the library's own map."""
    library = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model_pass = run_of()
    with getattr(library, kind)(model_pass.model.net, [model_pass.model.net.relu]) as cam:
        expected = cam(model_pass.images.clone().requires_grad_(), [ClassifierOutputTarget(1)] * 5)
    maps = map_of(getattr(library, kind), model_pass, 1)
    torch.testing.assert_close(maps[:, 0], torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


# zennit.


def test_a_zennit_composite_is_our_rule() -> None:
    """Zennit's composite of the same rules gives our map, on torchvision's ResNet, whose sums it knows."""
    composites = pytest.importorskip("zennit.composites", reason="zennit is not installed")
    from torchvision.models import resnet18

    torch.manual_seed(0)
    net = resnet18(num_classes=3)
    with torch.no_grad():
        net(random_images(8, 32))
    model_pass = make_pass(net.double(), random_images(3, 32).double())
    expected = explain("lrp", model_pass, 1, rule="epsilon_plus").float()
    maps = map_of(composites.EpsilonPlus, model_pass, 1)
    assert (maps - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("kind", ["GuidedBackprop", "Deconvolution", "GuidedGradCam", "DeepLift"])
def test_a_captum_method_with_rules_for_modules_refuses_other_relus(kind: str) -> None:
    """Captum is silent and gives a map that is half the plain gradient."""

    torch.manual_seed(0)
    model_pass = make_pass(make_model(Clamped(), cam_layer="first"), random_images(2))
    with pytest.raises(ModelError, match=rf"\(Clamp\), for which {kind} has no rule"):
        map_of(getattr(captum.attr, kind), model_pass)
