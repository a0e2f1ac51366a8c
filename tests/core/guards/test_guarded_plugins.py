"""What a foreign explainer or metric writes into is its own; what it returns is nobody's memory."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from mavis.core import metric_types
from mavis.core.compute import Cost, Meter
from mavis.core.errors import ContractError
from mavis.core.guards.guarded_plugins import GuardedExplainer, guard_metric
from mavis.core.types import ReferenceImages
from tests.toys import Pooled, make_batch, make_model, make_pass, maps_from_cells, random_images, targets


@pytest.fixture
def model_pass():
    parts = torch.zeros(3, 8, 8, dtype=torch.uint8)
    redrawn = random_images(3, seed=1)
    batch = make_batch(random_images(3), parts=parts, regions=parts.bool(), rerender=lambda part, draw: redrawn)
    made = make_pass(make_model(Pooled(), cam_layer="relu"), batch)
    return replace(made, reference=ReferenceImages(random_images(2, seed=2), ("r0", "r1")))


def fingerprint(model_pass) -> list[object]:
    """Everything that others will read."""
    batch, net = model_pass.batch, model_pass.model.net
    tensors = [batch.images, batch.labels, batch.parts, batch.regions, batch.rerender("eyes", 0), model_pass.mean]
    tensors += [model_pass.reference.images, *net.state_dict().values()]
    hooks = [len(module._forward_hooks) + len(module._backward_hooks) for module in net.modules()]
    modes = [(module.training, *(p.requires_grad for p in module.parameters())) for module in net.modules()]
    return [*(tensor.tolist() for tensor in tensors), hooks, modes, dict(batch.groups), dict(model_pass.model.card)]


def write_labels(model_pass, wanted) -> None:
    model_pass.batch.labels.fill_(9)
    wanted.fill_(1)


def write_parts(model_pass, wanted) -> None:
    model_pass.batch.parts.fill_(3)
    model_pass.batch.regions.fill_(True)
    model_pass.batch.rerender("eyes", 0).zero_()


def write_constants(model_pass, wanted) -> None:
    model_pass.mean.zero_()
    model_pass.reference.images.zero_()
    model_pass.batch.groups["race"] = ()
    model_pass.model.card["name"] = "other"


def write_weights(model_pass, wanted) -> None:
    for parameter in model_pass.model.net.parameters():
        parameter.data.zero_()


def replace_layer(model_pass, wanted) -> None:
    model_pass.model.net.head = torch.nn.Identity()


def leave_hooks(model_pass, wanted) -> None:
    model_pass.model.net.relu.register_forward_hook(lambda module, inputs, output: output * 2)
    model_pass.model.net.train().requires_grad_(True)


@pytest.mark.parametrize(
    "meddle", [write_labels, write_parts, write_constants, write_weights, replace_layer, leave_hooks]
)
def test_an_explainer_writes_into_copies(model_pass, meddle: Callable[..., None]) -> None:
    """Images, classes, parts, constants, weights, layers, hooks and modes that others see are as before."""

    def explain(model_pass, wanted):
        meddle(model_pass, wanted)
        return model_pass.images.mean(1, keepdim=True)

    before, wanted = fingerprint(model_pass), targets(model_pass)
    raw = GuardedExplainer("mine", explain)(model_pass, wanted)
    assert raw.equal(model_pass.images.mean(1, keepdim=True))
    assert fingerprint(model_pass) == before
    assert wanted.eq(0).all()


@pytest.mark.parametrize("write", [lambda x: x.zero_(), lambda x: x.data.zero_(), lambda x: x.numpy().fill(0)])
def test_an_explainer_that_changes_the_images_is_told_so(model_pass, write) -> None:
    """However it writes; the images of the others are as before."""
    images = model_pass.images.clone()

    def explain(model_pass, wanted):
        write(model_pass.images)
        return model_pass.images

    with pytest.raises(ContractError, match="'mine' changed the images it was given; work on a copy"):
        GuardedExplainer("mine", explain)(model_pass, targets(model_pass))
    assert model_pass.images.equal(images)


def test_what_a_pass_has_computed_for_others_is_not_handed_out(model_pass) -> None:
    """Logits that others will read cannot be written into, and the cost is that of a pass of its own."""
    meter = Meter()
    model_pass = replace(model_pass, meter=meter)
    with meter.attach(model_pass.model.net):
        logits = model_pass.logits.clone()
        forwards = meter.forwards

        def explain(model_pass, wanted):
            model_pass.logits.zero_()
            return model_pass.input_gradient(wanted)

        with model_pass.measure_cost() as cost:
            GuardedExplainer("mine", explain)(model_pass, targets(model_pass))
        assert model_pass.logits.equal(logits)
    assert (meter.forwards - forwards, meter.backwards) == (3, 3)
    assert (cost.forwards, cost.backwards) == (3, 3)


def test_returned_maps_are_copied(model_pass) -> None:
    """A buffer that the plug-in keeps, a graph and a class of its own stay with it."""
    buffer = torch.zeros(3, 1, 8, 8)

    class Odd(torch.Tensor):
        pass

    def explain(model_pass, wanted):
        buffer.fill_(float(wanted[0]))
        return buffer.as_subclass(Odd).requires_grad_()

    explainer = GuardedExplainer("mine", explain)
    first = explainer(model_pass, targets(model_pass, 1))
    explainer(model_pass, targets(model_pass, 2))
    assert first.eq(1).all()
    assert type(first) is torch.Tensor
    assert not first.requires_grad


def test_global_random_numbers_belong_to_the_image(model_pass) -> None:
    """A plug-in that draws from torch's generator repeats itself, whatever was drawn before."""
    explainer = GuardedExplainer("mine", lambda model_pass, wanted: torch.rand(3, 1, 8, 8))
    first = explainer(model_pass, targets(model_pass))
    torch.rand(5)
    assert explainer(model_pass, targets(model_pass)).equal(first)


def zeroed(*tensors: torch.Tensor) -> torch.Tensor:
    for tensor in tensors:
        tensor.zero_()
    return torch.ones(3)


def test_metrics_of_every_kind_write_into_copies(model_pass) -> None:
    """Maps, curves, outputs of probes, explanations and costs that the next metric reads are as before."""
    maps = maps_from_cells(torch.arange(12.0).view(3, 4), size=8)
    explanation = metric_types.Explanation(maps, model_pass, targets(model_pass))
    curve, probe = metric_types.Curve("mean", "mif", (0.0, 1.0)), metric_types.PartProbe(1)
    curves = {curve: metric_types.CurveValues(*torch.ones(4, 3, 2))}
    outputs = {probe: metric_types.ProbeOutputs(torch.ones(3, 1, 4), *torch.ones(3, 3, 1), torch.ones(3))}
    cost = Cost(1, 2)

    def write_cost(cost, mib, n):
        cost.forwards = 0
        return 1.0

    of_maps = guard_metric("m", metric_types.MapMetric(lambda maps, batch: zeroed(maps.values, batch.images)))
    of_curves = guard_metric("m", metric_types.SweepMetric((curve,), lambda curves: zeroed(curves[curve].y)))
    of_probes = guard_metric(
        "m", metric_types.ProbeMetric((probe,), lambda maps, out: zeroed(maps.values, out[probe].drops))
    )
    of_variants = guard_metric(
        "m",
        metric_types.VariantMetric(
            (), lambda a, b: zeroed(a.maps.values, b.model_pass.images, b.model_pass.model.net.head.weight)
        ),
    )
    custom = guard_metric("m", metric_types.CustomMetric(lambda e, explain: zeroed(e.maps.values, e.targets)))
    of_cost = guard_metric("m", metric_types.CostMetric(write_cost))
    before, values = fingerprint(model_pass), maps.values.clone()
    assert of_maps.score(maps, model_pass.batch).eq(1).all()
    assert of_curves.score(curves).eq(1).all()
    assert of_probes.score(maps, outputs).eq(1).all()
    assert of_variants.compare(explanation, explanation).eq(1).all()
    assert custom.score(explanation, lambda *_: None).eq(1).all()
    assert of_cost.score(cost, None, 3) == 1
    assert fingerprint(model_pass) == before
    assert maps.values.equal(values)
    assert curves[curve].y.eq(1).all()
    assert outputs[probe].drops.eq(1).all()
    assert cost.forwards == 1


def test_what_is_no_metric_is_refused() -> None:
    """A factory that returns the function itself is the likeliest mistake."""
    with pytest.raises(ContractError, match=r"'mine' must be a metric, e.g. mavis.MapMetric\(score\), got function"):
        guard_metric("mine", lambda maps, batch: maps)


def test_a_metric_s_random_numbers_do_not_depend_on_what_was_drawn_before(model_pass) -> None:
    """One that draws from the global generators repeats itself."""
    metric = guard_metric("mine", metric_types.MapMetric(lambda maps, batch: torch.rand(3) + np.random.rand()))
    maps = maps_from_cells(torch.arange(12.0).view(3, 4), size=8)
    first = metric.score(maps, model_pass.batch)
    torch.rand(5)
    np.random.rand(5)
    assert metric.score(maps, model_pass.batch).equal(first)
