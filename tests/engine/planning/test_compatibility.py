"""Each explainer is tried on the model before anything is scored; what does not work there is left out."""

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import mavis
from mavis.core import registry
from mavis.core.compute import Cost
from mavis.core.devices import batch_multiple
from mavis.core.errors import ModelError
from mavis.core.model_pass import Pass
from mavis.core.traits import ExplainerTraits
from mavis.core.types import Model
from mavis.engine.planning import compatibility, cost_estimate, setup
from mavis.engine.planning import request as request_
from mavis.engine.planning.plan import Component, Components, ModelUnderTest, make_cells
from mavis.models.loading.open import open_models
from mavis.protocol import loading

from ...toys import GREY, Linear, Pooled, make_batch, make_explainer, make_model, random_images

HIDES = "there is nothing behind it"


def own(explain: Callable[[Pass, Tensor], object], **traits: object) -> Component:
    """An explainer of a test's own, named ``own``."""
    return Component("own", {}, ExplainerTraits("a test", **traits), explain)  # type: ignore[arg-type]


def tried(on: nn.Module | Model, *parts: Component, images: Tensor | None = None) -> compatibility.CompatibilityReport:
    """Tried on two images of noise."""
    made = on if isinstance(on, Model) else make_model(on)
    batch = make_batch(random_images(2) if images is None else images)
    return compatibility.check_explainers(parts, made, batch, GREY, seed=0, chunk=64)


def alone(on: nn.Module | Model, one: Component) -> compatibility.Compatibility:
    """What is found for a single explainer."""
    return tried(on, one).explainers[one.name]


def test_what_works_is_supported_and_what_it_costs_is_known() -> None:
    """A saliency map is one forward and one backward, counted apart from the check's own."""
    found = tried(Pooled(), make_explainer("saliency"))
    assert found.explainers["saliency"] == compatibility.Compatibility("supported", cost=Cost(1, 1))
    assert (found.cost.forwards, found.cost.backwards) == (2 + 2, 2)
    assert found.costs == {"saliency": Cost(1, 1)}
    assert found.incompatible == {}


def test_an_explainer_that_asks_for_predictions_is_not_run() -> None:
    """It works on whatever answers."""
    found = alone(Pooled(), own(lambda *_: pytest.fail("it was run"), needs=frozenset({"forward"})))
    assert found == compatibility.Compatibility("supported")


def test_an_explainer_that_reads_activations_alone_is_run_on_one_image() -> None:
    """One may ask the model as often as its layer has channels."""
    seen: list[int] = []

    def explain(run: Pass, targets: Tensor) -> Tensor:
        seen.append(len(targets))
        return run.images * run.activations.sum()

    found = alone(make_model(Pooled(), cam_layer="relu"), own(explain, needs=frozenset({"activations"})))
    assert (found.status, found.cost, seen) == ("supported", Cost(1, 0), [1])


def test_what_a_model_does_not_give_is_named() -> None:
    """Without any run."""
    found = alone(make_model(Pooled(), capabilities=frozenset({"forward"})), make_explainer("gradcam"))
    assert (found.status, found.cost) == ("unsupported", None)
    assert found.reason == "needs activations, gradient, which Pooled does not give"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelError("it has no attention layers."), "does not work here: it has no attention layers."),
        (RuntimeError("a\nb"), "fails here: RuntimeError: a b"),
    ],
)
def test_an_explainer_that_fails_is_unsupported(error: Exception, reason: str) -> None:
    """With its own words where they were meant for the user, else with what was raised."""

    def explain(*_: object) -> Tensor:
        raise error

    found = alone(Pooled(), own(explain))
    assert (found.status, found.reason) == ("unsupported", reason)
    assert ("raise error" in found.traceback) == reason.startswith("fails here")


def test_what_a_failed_explainer_leaves_behind_hurts_nobody() -> None:
    """Neither the model nor those that are tried after it see its hooks."""
    made = make_model(Pooled())

    def explain(run: Pass, _: Tensor) -> Tensor:
        run.model.net.register_forward_hook(lambda *_: None)
        run.model.net.conv.register_forward_hook(lambda _, __, output: output * torch.nan)
        raise RuntimeError

    found = tried(made, own(explain), make_explainer("saliency"))
    assert found.explainers["saliency"].status == "supported"
    assert not any(module._forward_hooks for module in made.net.modules())


def test_full_memory_is_no_fault_of_the_explainer() -> None:
    """The check begins again with smaller chunks."""
    chunks: list[int] = []

    def explain(run: Pass, _: Tensor) -> Tensor:
        chunks.append(run.chunk)
        if run.chunk > 16:
            raise torch.OutOfMemoryError
        return run.images

    assert alone(Pooled(), own(explain)).status == "supported"
    assert chunks == [64, 32, 16]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_map_that_is_not_finite_is_none(value: float) -> None:
    """One pixel is enough."""

    def explain(run: Pass, _: Tensor) -> Tensor:
        values = run.images.clone()
        values[1, 0, 3, 3] = value
        return values

    found = alone(Pooled(), own(explain))
    assert (found.status, found.reason) == ("unsupported", "gives NaN or infinite values")


def test_something_else_than_a_map_is_none() -> None:
    """The contract's own words."""
    found = alone(Pooled(), own(lambda run, _: run.images[:, :, 0]))
    assert found.status == "unsupported"
    assert found.reason.startswith("does not work here: An explainer must return (B,3,H,W) or (B,1,H,W)")


def test_a_map_that_is_the_same_everywhere_says_nothing() -> None:
    """On all images: where one of them has a map, the explainer works."""
    flat = own(lambda run, _: torch.full_like(run.images, 3.0))
    found = alone(Pooled(), flat)
    assert (found.status, found.reason) == ("degenerate", "gives the same value everywhere (2 images tried)")
    once = own(lambda run, _: run.images * torch.tensor([0.0, 1.0])[:, None, None, None])
    assert alone(Pooled(), once).status == "supported"


def test_a_map_that_is_the_same_everywhere_is_no_proof() -> None:
    """The next images are tried one by one until one has another map, which is then compared with what it may equal."""
    seen: list[tuple[str, ...]] = []

    def late(run: Pass, targets: Tensor) -> Tensor:
        seen.append(run.ids)
        there = torch.tensor([name == "toy/3" for name in run.ids])[:, None, None, None]
        return run.input_gradient(targets) * there

    images = random_images(6)
    found = tried(Pooled(), own(late), images=images).explainers["own"]
    assert (found.status, found.cost) == ("supported", Cost(1, 1))
    assert seen == [("toy/0", "toy/1"), ("toy/2",), ("toy/3",)]
    same = own(late, same_as="saliency", pooling="l2")
    assert tried(Pooled(), same, images=images).explainers["own"].reason == "equals saliency here"
    zero = own(lambda run, _: torch.zeros_like(run.images), same_as="saliency")
    assert tried(Pooled(), zero, images=images).explainers["own"].reason.endswith("(6 images tried)")


def test_guided_backprop_of_a_model_without_relu_is_its_gradient() -> None:
    """It is called what it is; with a ReLU it is a method of its own."""
    smooth = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 3))
    found = tried(smooth, make_explainer("saliency"), make_explainer("guided_backprop")).explainers
    assert found["saliency"].status == "supported"
    assert found["guided_backprop"].status == "degenerate"
    assert found["guided_backprop"].reason == "equals saliency here, since the model has no ReLU"
    rough = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    assert alone(rough, make_explainer("guided_backprop")).status == "supported"


def test_only_guided_methods_miss_a_relu() -> None:
    """XGrad-CAM equals Grad-CAM before global average pooling, whatever the activations are."""
    for seed in range(12):
        torch.manual_seed(seed)
        layers = (nn.Conv2d(3, 4, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        net = make_model(nn.Sequential(*layers), cam_layer="1")
        found = tried(net, make_explainer("xgradcam"), images=random_images(8)).explainers["xgradcam"]
        assert (found.status, found.reason) == ("degenerate", "equals gradcam here")


@pytest.mark.parametrize(("factor", "status"), [(1 + 1e-8, "degenerate"), (1 + 1e-4, "supported"), (-1, "supported")])
def test_equal_means_to_the_fifth_digit_and_with_the_sign(factor: float, status: str) -> None:
    """A map of the other sign is another map."""
    same = own(
        lambda run, targets: factor * (run.images - 0.5) * run.input_gradient(targets), same_as="input_x_gradient"
    )
    assert alone(Linear(random_images(3, seed=1)), same).status == status


@pytest.mark.parametrize(("factor", "error"), [(1.0, 0.0), (1.25, 0.25), (-1.0, 2.0)])
def test_completeness_is_measured(factor: float, error: float) -> None:
    """For a linear model gradient times (image − mean colour) adds up exactly; c times it misses by |c − 1|."""
    explain = own(lambda run, targets: factor * (run.images - 0.5) * run.input_gradient(targets), complete=True)
    found = alone(Linear(random_images(3, seed=1)), explain)
    assert found.status == "supported"
    assert found.figures["completeness"] == pytest.approx(error, abs=1e-5)


def test_only_what_claims_to_add_up_is_measured() -> None:
    """A saliency map claims nothing."""
    assert alone(Linear(random_images(3, seed=1)), make_explainer("saliency")).figures == {}


@pytest.mark.skipif(batch_multiple() != 8, reason="the batch is filled up to another size with more threads")
def test_maps_are_made_for_the_predicted_class() -> None:
    """The class with the highest logit of each image."""
    seen: list[Tensor] = []

    def explain(run: Pass, targets: Tensor) -> Tensor:
        seen.append(targets)
        return run.images

    made, images = make_model(Pooled()), random_images(2, seed=3)
    tried(made, own(explain), images=images)
    assert torch.equal(seen[0], made.net(images).argmax(1))


def test_cells_of_an_explainer_that_does_not_work_are_skipped() -> None:
    """All of them, with the reason; what the model does not give comes first."""
    subject = ModelUnderTest(
        "m",
        "r",
        "d",
        frozenset({"forward", "gradient"}),
        has_truth=True,
        incompatible={"saliency": HIDES, "cam": HIDES},
    )
    rules = loading.with_overrides(loading.load_protocol("quick"), metrics={"gini": {}, "mprt": {}})
    parts = (make_explainer("saliency"), make_explainer("cam"), make_explainer("rise"))
    entries = [registry.metrics[name] for name in ("gini", "mprt")]
    line = Components(parts, tuple(Component(e.name, {}, e.traits, e.create()) for e in entries))
    found = {(cell.explainer, cell.metric): cell.skipped for cell in make_cells(subject, line, rules)}
    assert found["saliency", "gini"] == found["saliency", "mprt"] == HIDES
    assert found["cam", "gini"] == "needs activations, weights, which m does not give"
    assert found["rise", "gini"] is None


def test_a_run_leaves_out_what_does_not_work_and_says_why(tmp_path) -> None:
    """No score, no failure; run.json holds what was found, and the same command continues the run."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Tanh(), nn.Flatten(), nn.Linear(256, 7))
    asked = {"explainers": ["saliency", "guided_backprop", "attention_rollout"], "metrics": ["gini", "valid"]}
    for _ in range(2):
        result = mavis.evaluate(net, **asked, groups=["race"], limit=7, device="cpu", out=tmp_path / "run")
    scores = result.to_frame()
    assert not result.findings.failures
    assert {"saliency", "random"} <= set(scores["explainer"])
    assert not {"guided_backprop", "attention_rollout"} & set(scores["explainer"])
    assert any(
        "guided_backprop" in s.explainers and "equals saliency here" in s.reason for s in result.findings.skipped
    )
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["support"]["Sequential"]
    assert kept["explainers"]["guided_backprop"]["status"] == "degenerate"
    assert kept["explainers"]["attention_rollout"]["status"] == "unsupported"
    assert kept["explainers"]["saliency"]["cost"] == {"forwards": 1, "backwards": 1}
    assert kept["forwards"] >= 4


def test_what_a_map_costs_is_read_off_the_model_itself() -> None:
    """Score-CAM asks once for each channel of this model's layer, not of the stand-in's, and once more."""
    net = nn.Sequential(nn.Conv2d(3, 12, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 7))
    opened = open_models([net], torch.device("cpu"), "synthetic_faces", target=None, split=None)
    request = request_.Request(
        ("net",), explainers=("scorecam", "saliency"), metrics=("gini",), groups=("race",), limit=7
    )
    planned = setup.plan_run(request, opened)
    estimate: cost_estimate.CostEstimate = planned.by_model["Sequential"].cost
    assert estimate.maps["scorecam"] == Cost(13, 0)
    assert estimate.maps["saliency"] == Cost(1, 1)


def test_a_named_model_is_tried_with_every_explainer() -> None:
    """Methods, controls and oracles; what preflight did comes along."""
    found = compatibility.compatibility_matrix("mask_mean", "planted_square", device=torch.device("cpu"))
    assert set(found.report.explainers) >= {e.name for e in registry.explainers if e.traits.role == "method"}
    assert found.report.explainers["saliency"].status == "supported"
    assert found.report.explainers["gradcam"].reason == "needs activations, which mask_mean does not give"
    assert found.preparation == ("put into evaluation mode",)
