"""Explainers of other libraries are registered unchanged and give what those libraries give."""

import random
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
from mavis.core import registry
from mavis.core.attribution_maps import upsample
from mavis.core.compute import Meter
from mavis.core.errors import BadParameter, ContractError, MavisError, ModelError
from mavis.core.traits import ExplainerTraits
from mavis.explainers.external import adapters
from mavis.models.loading.architectures import build_race_resnet

from ...toys import Linear, Pooled, explain, make_model, make_pass, random_images, targets

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
    kept = {kind: dict(found.entries) for kind, found in registry.REGISTRIES.items()}
    monkeypatch.setattr(registry, "_loaded", set(registry._loaded))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    yield
    for kind, found in registry.REGISTRIES.items():
        found.entries.clear()
        found.entries.update(kept[kind])
    sys.modules.pop("mine", None)


@pytest.fixture
def mine() -> SimpleNamespace:
    """The file's objects."""
    names = ("like_quantus", "plain", "smooth", "TinyCAM")
    return SimpleNamespace(**{name: registry.import_factory(f"mine:{name}") for name in names})


def made(found: object, run: object, target: int | Tensor = 0, **params: object) -> Tensor:
    """The map of anything that can be registered, as a registration makes it."""
    entry = registry.Entry("made", adapters.as_explainer_factory(found), ExplainerTraits("a test"), "here")
    return entry.create(params)(run, targets(run, target))


def captum_s(kind: str, run: object, target: int | Tensor = 0, **params: object) -> Tensor:
    """Captum's own map of all images at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = [run.model.net.relu] if kind == "GuidedGradCam" else []
        method = getattr(captum.attr, kind)(run.model.net, *layer)
        return method.attribute(run.images.clone(), target=targets(run, target), **params).detach()


def run_of(net: nn.Module | None = None, count: int = 5, **settings: object) -> object:
    """A pass of a net with a CAM layer."""
    cam = {"cam_layer": "relu"} if net is None else {}
    return make_pass(make_model(Pooled() if net is None else net, **cam), random_images(count), **settings)


# The whole way: registered, found, run.


def test_every_kind_runs_from_a_mavis_toml(tmp_path: Path) -> None:
    """Six objects that know nothing of MAVIS are ranked on the shipped model; equal methods have equal scores."""
    (tmp_path / "mavis.toml").write_text(MAVIS_TOML, encoding="utf-8")
    names = ["captum_saliency", "captum_gradcam", "quantus_saliency", "plain", "smooth", "tiny_cam", "gradcam"]
    found = mavis.evaluate(
        "race_resnet", explainers=names, metrics=["gini", "valid"], groups=["race"], limit=8, device="cpu"
    )
    assert not found.findings.failures
    table = found.to_frame()
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
    found = mavis.evaluate(
        "mask_mean",
        "planted_square",
        explainers=["borrowed", "saliency"],
        metrics=["gini"],
        groups=["shade"],
        limit=8,
        device="cpu",
    )
    assert not found.findings.failures
    scores = found.to_frame().query("metric == 'gini'").groupby("explainer")["value"].mean()
    assert scores["borrowed"] == pytest.approx(scores["saliency"], rel=1e-5)


def test_a_package_registers_a_class_with_a_decorator(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an entry point imports may decorate another library's class; the class itself stays what it was."""

    def load() -> None:
        again = mavis.explainer("packaged", source="a package", needs={"gradient"})(captum.attr.Saliency)
        assert again is captum.attr.Saliency

    points = [SimpleNamespace(name="package", value="package.module", load=load)]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "mavis.plugins" else [])
    registry._loaded.discard("built-in")
    run = run_of()
    torch.testing.assert_close(explain("packaged", run, 1), captum_s("Saliency", run, 1))
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
    run = make_pass(build_race_resnet(7), random_images(5, 32), chunk=2)
    classes = torch.arange(5)
    for kind, params in (("Saliency", {"abs": False}), ("InputXGradient", {}), ("GuidedBackprop", {})):
        found = made(getattr(captum.attr, kind), run, classes, **params)
        torch.testing.assert_close(found, captum_s(kind, run, classes, **params), rtol=1e-4, atol=1e-6)


def test_captum_s_gradient_is_ours() -> None:
    """Captum's signed saliency is the explainer ``saliency``."""
    run = run_of()
    torch.testing.assert_close(made(captum.attr.Saliency, run, 1, abs=False), explain("saliency", run, 1))


def test_captum_s_paths_begin_at_the_mean_colour() -> None:
    """Where nothing else is said: integrated gradients of a linear model are w·(x − mean)."""
    mean = torch.tensor([0.2, 0.5, 0.7])
    run = make_pass(Linear(WEIGHT), random_images(3), mean=mean)
    expected = WEIGHT[1] * (run.images - mean.view(1, 3, 1, 1))
    torch.testing.assert_close(made(captum.attr.IntegratedGradients, run, 1), expected, rtol=1e-4, atol=1e-5)
    black = made(captum.attr.IntegratedGradients, run, 1, baselines=0, n_steps=4)
    torch.testing.assert_close(black, WEIGHT[1] * run.images, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["DeepLift", "DeepLiftShap", "GradientShap"])
def test_methods_that_need_baselines_get_the_mean_colour(kind: str) -> None:
    """A linear model's w·(x − mean), also where a set of baselines is demanded, in odd batches."""
    run = make_pass(Linear(WEIGHT), random_images(5), mean=torch.full((3,), 0.3), chunk=3)
    found = made(getattr(captum.attr, kind), run, 1)
    torch.testing.assert_close(found, WEIGHT[1] * (run.images - 0.3), rtol=1e-4, atol=1e-5)


def test_deeplift_is_complete_in_any_batch() -> None:
    """The network is handed over bare: filled-up batches would pair each image with another's baseline."""
    run = run_of(count=5)
    change = run.model.net(run.images) - run.model.net(torch.full_like(run.images, 0.5))
    found = made(captum.attr.DeepLift, run, 2)
    torch.testing.assert_close(found.sum((1, 2, 3)), change[:, 2], rtol=1e-4, atol=1e-4)


def test_a_method_of_a_layer_reads_the_cam_layer() -> None:
    """Captum's layer Grad-CAM, cut at zero, is the explainer ``gradcam``; channels are summed and enlarged."""
    run = run_of()
    torch.testing.assert_close(
        made(captum.attr.LayerGradCam, run, 1, relu_attributions=True), explain("gradcam", run, 1)
    )
    gradient = run.activation_gradients(targets(run, 1))
    expected = upsample((gradient * run.activations).sum(1, keepdim=True), (8, 8))
    torch.testing.assert_close(made(captum.attr.LayerGradientXActivation, run, 1), expected)


def test_guided_gradcam_keeps_its_colours() -> None:
    """It reads a layer, and its map is of the image."""
    run = run_of()
    torch.testing.assert_close(made(captum.attr.GuidedGradCam, run, 1), captum_s("GuidedGradCam", run, 1))


def test_lists_of_a_protocol_become_tuples() -> None:
    """Occlusion of a linear model with one-pixel windows is w·(x − mean), whatever is sent at a time."""
    run = make_pass(Linear(WEIGHT), random_images(3), chunk=7)
    found = made(captum.attr.Occlusion, run, 1, sliding_window_shapes=[1, 1, 1])
    torch.testing.assert_close(found, WEIGHT[1] * (run.images - 0.5), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["NoiseTunnel", "DataLoaderAttribution"])
def test_what_is_made_of_another_method_is_refused(kind: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(MavisError, match=rf"{kind} is not made of a model alone\. Write a function"):
        adapters.as_explainer_factory(getattr(captum.attr, kind))


def test_a_model_without_cam_layer_is_named() -> None:
    """A method of a layer needs one."""
    run = make_pass(Linear(WEIGHT), random_images(2))
    with pytest.raises(ModelError, match="'Linear' has no CAM layer"):
        made(captum.attr.LayerGradCam, run)


# Functions.


def test_a_function_in_arrays_by_hand(mine: SimpleNamespace) -> None:
    """The gradient of a linear model, summed over its colours; keywords and the device are passed on."""
    run = make_pass(Linear(WEIGHT), random_images(3), chunk=2)
    assert adapters.as_explainer_factory(mine.like_quantus).__name__ == "like_quantus"
    expected = WEIGHT[1].sum(0).expand(3, 1, 8, 8)
    torch.testing.assert_close(made(mine.like_quantus, run, 1), expected)
    torch.testing.assert_close(made(mine.like_quantus, run, 1, times=3), 3 * expected)


def test_a_function_in_tensors_by_hand(mine: SimpleNamespace) -> None:
    """The gradient of a linear model, each image's own class."""
    run = make_pass(Linear(WEIGHT), random_images(4), chunk=3)
    classes = torch.tensor([0, 1, 1, 0])
    torch.testing.assert_close(made(mine.plain, run, classes), WEIGHT[classes])


def test_quantus_s_own_function_is_taken_unchanged() -> None:
    """``quantus.explain`` with a method of its own: the absolute gradient, summed over the colours."""
    quantus = pytest.importorskip("quantus")
    run = run_of()
    expected = captum_s("Saliency", run, 1)
    found = made(quantus.explain, run, 1, method="Saliency")
    torch.testing.assert_close(found, expected.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


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
    ("found", "said"),
    [
        (_two, r"'_two' takes \(model, images\); an explainer that is a function takes \(model, images, targets\)"),
        (_unclear, r"'_unclear' may want tensors or, as Quantus has it, arrays\. Annotate 'inputs'"),
        (_OfAModel, r"'_OfAModel' is made of a model, but is no class of Captum"),
    ],
)
def test_what_is_not_clear_is_refused(found: object, said: str) -> None:
    """An object that takes a model in a way that is not known is an error when it is registered."""
    with pytest.raises(MavisError, match=said):
        adapters.as_explainer_factory(found)


def test_annotations_decide() -> None:
    """A function whose annotation says what it wants gets that; so does one that is named outright."""
    run = make_pass(Linear(WEIGHT), random_images(3))
    for found in (_tensors, _arrays, adapters.function(_unclear), adapters.quantus(_unclear)):
        assert made(found, run)[:, :1].equal(run.images[:, :1])


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda images: images[0], r"must return \(3, 8, 8\) or \(3, 3, 8, 8\), got \(3, 1, 8, 8\)"),
        (lambda images: images[:2], r"must return .*, got \(2, 3, 8, 8\)"),
        (lambda images: images.mean((1, 2, 3)), r"must return .*, got \(3,\)"),
        (lambda images: "a map", "must return a tensor or an array, got str"),
        (lambda images: (images, images), "must return a tensor or an array, got tuple"),
    ],
)
def test_what_is_no_map_is_refused(returned: object, said: str) -> None:
    """Another shape or type is named with the function's own name."""

    def wrong(model: nn.Module, images: Tensor, targets: Tensor) -> object:
        return returned(images.expand(3, -1, -1, -1) if len(images) == 1 else images)

    run = make_pass(Linear(WEIGHT), random_images(1).expand(3, -1, -1, -1).contiguous())
    with pytest.raises(ContractError, match=f"'wrong' {said}|'wrong' must return"):
        made(wrong, run)


# Classes in the manner of pytorch-grad-cam.


def test_a_cam_class_by_hand(mine: SimpleNamespace) -> None:
    """Made of the network and its CAM layer, called with one target per image; its parameters are passed on."""
    run = run_of()
    small = run.activations.sum(1, keepdim=True)
    expected = nn.functional.interpolate(small, size=(8, 8))
    torch.testing.assert_close(made(mine.TinyCAM, run), expected)
    torch.testing.assert_close(made(mine.TinyCAM, run, power=2), expected**2)


@pytest.mark.parametrize("kind", ["GradCAM", "HiResCAM", "LayerCAM", "EigenCAM", "ScoreCAM"])
def test_pytorch_grad_cam_gives_what_it_gives(kind: str) -> None:
    """A wrapped class makes the library's own map."""
    library = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    run = run_of()
    with getattr(library, kind)(run.model.net, [run.model.net.relu]) as cam:
        expected = cam(run.images.clone().requires_grad_(), [ClassifierOutputTarget(1)] * 5)
    found = made(getattr(library, kind), run, 1)
    torch.testing.assert_close(found[:, 0], torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


# zennit.


def test_a_zennit_composite_is_our_rule() -> None:
    """Zennit's composite of the same rules gives our map, on torchvision's ResNet, whose sums it knows."""
    composites = pytest.importorskip("zennit.composites", reason="zennit is not installed")
    from torchvision.models import resnet18

    torch.manual_seed(0)
    net = resnet18(num_classes=3)
    with torch.no_grad():
        net(random_images(8, 32))
    run = make_pass(net.double(), random_images(3, 32).double())
    expected = explain("lrp", run, 1, rule="epsilon_plus").float()
    found = made(composites.EpsilonPlus, run, 1)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


# What borrowed code may do.


def test_the_model_and_the_images_are_out_of_reach() -> None:
    """Code that ruins what it is given ruins a copy, each time anew: every image gets the model as it is."""

    def ruinous(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        found = model(images).sum(1)[:, None, None].expand(-1, 8, 8).clone()
        model.register_forward_hook(lambda *_: torch.zeros(1, 3))
        model.train()
        with torch.no_grad():
            model.conv.weight.zero_()
        images.zero_()
        targets.zero_()
        return found

    run = run_of(chunk=2)
    images, classes = run.images.clone(), targets(run, 1)
    state = {name: tensor.clone() for name, tensor in run.model.net.state_dict().items()}
    found = made(ruinous, run, classes)
    torch.testing.assert_close(found[:, 0, 0, 0], run.model.net(images).sum(1))
    assert run.images.equal(images)
    assert classes.tolist() == [1] * 5
    assert not run.model.net.training
    assert not run.model.net._forward_hooks
    assert all(tensor.equal(state[name]) for name, tensor in run.model.net.state_dict().items())


def test_samples_are_counted_and_bounded_by_the_chunk() -> None:
    """Each image costs what the method asks for, and no call holds more images than the chunk."""
    sizes = []

    def twice(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        sizes.append(len(images))
        images.requires_grad_()
        (model(images).sum() + model(images).sum()).backward()
        return images.grad

    meter = Meter()
    run = run_of(count=7, chunk=3, meter=meter)
    with meter.attach(run.model.net):
        made(twice, run)
    assert (meter.forwards, meter.backwards) == (14, 14)
    assert sum(sizes) == 7
    assert max(sizes) == 3


def drawing(source: str) -> object:
    """A function that draws from one of the three generators."""

    def drawn(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        numbers = {
            "torch": lambda: torch.rand(images.shape),
            "numpy": lambda: torch.from_numpy(np.random.rand(*images.shape)),
            "python": lambda: torch.full(images.shape, random.random()),
        }
        return numbers[source]()

    return drawn


@pytest.mark.parametrize("source", ["torch", "numpy", "python"])
def test_random_numbers_belong_to_the_image(source: str) -> None:
    """They follow the run's seed and the image, not the batch, the chunk or what was drawn before."""
    whole = made(drawing(source), run_of(chunk=64))
    torch.rand(3), np.random.rand(3), random.random()
    assert made(drawing(source), run_of(chunk=2)).equal(whole)
    assert made(drawing(source), run_of(chunk=1)).equal(whole)
    assert not made(drawing(source), run_of(seed=1)).equal(whole)
    assert not whole[0].equal(whole[1])


def test_numbers_drawn_late_are_noticed() -> None:
    """Code that draws for some images only is asked image by image from there on."""

    def sometimes(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        return images + (torch.rand(images.shape) if (targets > 0).any() else 0)

    classes = torch.tensor([0, 0, 1, 0, 1])
    found = [made(sometimes, run_of(chunk=chunk), classes) for chunk in (1, 64)]
    assert found[0].equal(found[1])
    assert found[0][[0, 1, 3]].equal(run_of().images[[0, 1, 3]])


def test_the_generators_go_on_as_if_nothing_had_been() -> None:
    """Neither the seeds nor the draws of borrowed code show in those of the caller."""

    def numbers() -> tuple:
        return torch.rand(1).item(), np.random.rand(), random.random()

    run = run_of()
    for seeding in (torch.manual_seed, np.random.seed, random.seed):
        seeding(3)
    expected = numbers()
    for seeding in (torch.manual_seed, np.random.seed, random.seed):
        seeding(3)
    for source in ("torch", "numpy", "python"):
        made(drawing(source), run)
    assert numbers() == expected


def test_borrowed_code_is_silent(capfd: pytest.CaptureFixture) -> None:
    """Prints, bars and warnings of other libraries do not disturb the run's own."""

    def loud(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        sys.stdout.write("look")
        sys.stderr.write("here")
        warnings.warn("careful", stacklevel=1)
        return images

    made(loud, run_of())
    assert capfd.readouterr() == ("", "")


def test_its_errors_are_not_hidden() -> None:
    """What borrowed code raises comes through, for the run to record."""

    def broken(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError):
        made(broken, run_of())
