"""Foreign plug-ins with drawn misdeeds: others' scores are bit-equal, their own are right or refused in one line."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO, TextIOWrapper
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from mavis.core import metric_types
from mavis.core.guards.guarded_plugins import GuardedExplainer, guard_metric
from mavis.core.perturbation.variants import Flip, Repeated, Variant
from mavis.core.registry import Entry, imputers, metrics
from mavis.core.traits import PlainTraits
from mavis.engine.execution.explain import ModelTask
from mavis.engine.execution.isolation import IsolatingExecutor
from mavis.engine.planning.plan import Block, Cell, Component, Components
from tests.generated.misdeeds import DEEDS, ERRORS, HARMLESS, KEPT, PATCHES, VALUES
from tests.generated.process_settings import SETTINGS, read_settings, write_settings
from tests.toys import GREY, Pooled, StoredBatch, make_batch, make_explainer, make_model, random_images

KEY = ["explainer", "metric", "image"]
COLUMNS = ["value", "status", "reason", "forwards", "backwards"]
KINDS = ("explainer", "map", "sweep", "probe", "variant", "custom", "cost", "own variant", "imputer")
STATES = [(name, value) for name, setting in SETTINGS.items() for value in range(len(setting.values))]
COMPUTING = ("default dtype", "grad mode", "autocast", "denormals", "matmul precision", "mkldnn", "einsum")
"""Settings that change what a plug-in itself computes under them."""


@dataclass
class HostilePlugin:
    """Right work with misdeeds around it.

    Attributes:
        before: deeds, settings and patches ahead of the work.
        after: those that come after it.
        value: form or fault of what is returned.
        error: what is raised.
        calls: calls in which the value or the error is another one.
    """

    before: tuple[Any, ...] = ()
    after: tuple[Any, ...] = ()
    value: str | None = None
    error: str | None = None
    calls: frozenset[int] | None = None
    n_calls: int = field(default=0, compare=False)

    def wrap(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def misbehave(*arguments: Any) -> Any:
            self.n_calls += 1
            is_due = self.calls is None or self.n_calls in self.calls
            for deed in self.before:
                do(deed, arguments)
            result = work(*arguments)
            if is_due and self.value and isinstance(result, torch.Tensor):
                result = (HARMLESS | VALUES)[self.value](result)
            for deed in self.after:
                do(deed, arguments)
            if is_due and self.error:
                raise ERRORS[self.error]()
            return result

        return misbehave


def do(deed: Any, arguments: tuple[Any, ...]) -> None:
    """A setting changed, a function patched, or a deed done."""
    if isinstance(deed, tuple):
        name, number = deed
        SETTINGS[name].write(SETTINGS[name].values[number])
    elif deed in PATCHES:
        owner, name, instead = PATCHES[deed]
        setattr(owner, name, instead)
    else:
        DEEDS[deed](arguments)


def work_of_explainer(model_pass, targets):
    return model_pass.images * model_pass.input_gradient(targets).abs()


CURVE = metric_types.Curve("mean", "mif", (0.0, 0.5, 1.0))


def make_metric(kind: str, wrap: Callable[..., Any]) -> metric_types.Metric:
    """A right metric of a kind; its functions are wrapped."""
    probe = metric_types.MaskProbe("corners", "mean", wrap(lambda model_pass, n: torch.eye(n, dtype=torch.bool)[:2]))
    return {
        "map": lambda: metric_types.MapMetric(
            wrap(lambda maps, batch: maps.norm.float() + batch.images.mean((1, 2, 3)))
        ),
        "sweep": lambda: metric_types.SweepMetric((CURVE,), wrap(lambda curves: curves[CURVE].area())),
        "probe": lambda: metric_types.ProbeMetric(
            (probe,), wrap(lambda maps, outputs: outputs[probe].drops.mean(1) + maps.norm.float())
        ),
        "variant": lambda: metric_types.VariantMetric(
            wrap(lambda model: (Flip(), Repeated())),
            wrap(lambda before, after: before.maps.distance(after.maps).float()),
        ),
        "own variant": lambda: metric_types.VariantMetric(
            (OwnVariant(wrap),), lambda before, after: before.maps.distance(after.maps).float()
        ),
        "custom": lambda: metric_types.CustomMetric(wrap(distance_from_own_map)),
        "cost": lambda: metric_types.CostMetric(wrap(lambda cost, mib, n: torch.tensor(cost.forwards / n))),
    }[kind]()


@dataclass(frozen=True)
class OwnVariant(Variant):
    """Darker images, whose colours are wrapped; the model and the classes are handed back as they came."""

    wrap: Callable[..., Any] = field(repr=False)

    def batches(self, model_pass):
        darker = self.wrap(lambda batch: batch.images / 4)
        yield replace(model_pass.batch, images=darker(model_pass.batch))

    def mean(self, mean):
        return self.wrap(lambda mean: mean / 2)(mean)

    def targets(self, model_pass, targets):
        return self.wrap(lambda model_pass, targets: targets.clone())(model_pass, targets)


def make_imputer(wrap: Callable[..., Any]) -> Callable[..., Any]:
    """Fills with twice the mean colour."""

    def prepare(model_pass):
        def fill(rows, removed):
            colour = model_pass.mean[:, None, None] * 2
            return torch.where(removed[:, :, None], colour, model_pass.images[rows][:, None])

        return wrap(fill)

    return prepare


def distance_from_own_map(explanation, explain):
    model_pass = explanation.model_pass
    again = explain(model_pass.model, model_pass.images, explanation.targets)
    return (again * 2 - explanation.maps.values).abs().mean((1, 2))


GINI = Component("gini", {}, metrics["gini"].traits, metrics["gini"].create({}))
SALIENCY = make_explainer("saliency")


def make_plugin(kind: str, hostile: HostilePlugin) -> Component:
    if kind == "explainer":
        plugin: Any = GuardedExplainer("hostile", hostile.wrap(work_of_explainer))
        return Component("hostile", {}, SALIENCY.traits, plugin, "this program")
    if kind == "imputer":
        entry = Entry("hostile", lambda: make_imputer(hostile.wrap), PlainTraits(), "this program")
        imputers.entries["hostile"] = entry
        curve = replace(CURVE, imputer="hostile")
        own = metric_types.SweepMetric((curve,), lambda curves: curves[curve].area())
        return Component("hostile", {}, GINI.traits, own)
    return Component("hostile", {}, GINI.traits, guard_metric("hostile", make_metric(kind, hostile.wrap)), "a program")


BATCH = make_batch(random_images(3))
MODEL = make_model(Pooled(), cam_layer="relu")


def run(kind: str, hostile: HostilePlugin | None) -> pd.DataFrame:
    """All scores of a block with the plug-in beside MAVIS's own, or without it."""
    foreign = [] if hostile is None else [make_plugin(kind, hostile)]
    explainers = [SALIENCY, *(foreign if kind == "explainer" else [])]
    parts = [GINI, *(foreign if kind != "explainer" else [])]
    task = ModelTask(
        model=MODEL,
        data=StoredBatch(BATCH),  # type: ignore[arg-type]
        components=Components(tuple(explainers), tuple(parts)),
        targets=dict.fromkeys(BATCH.ids, 0),
        mean_colour=GREY,
        seed=0,
        grid=4,
        chunk=64,
        gallery_ids=frozenset(BATCH.ids),
    )
    cells = tuple(Cell(f"{e.name} {m.name}", e.name, m.name, None) for e in explainers for m in parts)
    block = Block("block", MODEL.name, BATCH.ids, cells, has_variants=True)
    executor = IsolatingExecutor({MODEL.name: task}, by_name=False, timeout=60)
    ((_, result),) = executor([block], {}, lambda _: None)
    return result.scores.set_index(KEY).sort_index()[COLUMNS]


def read_surroundings() -> dict[str, Any]:
    """Everything that a plug-in must leave as it was."""
    net = MODEL.net
    tensors = [BATCH.images, BATCH.labels, GREY, *net.state_dict().values()]
    layers = [(type(m), m.training, len(m._forward_hooks)) for m in net.modules()]
    return read_settings() | {
        "tensors": [tensor.tolist() for tensor in tensors],
        "layers": layers,
        "weights": [p.requires_grad for p in net.parameters()],
        "inference mode": torch.is_inference_mode_enabled(),
        "function modes": len(torch.overrides._get_current_function_mode_stack()),
        "saved tensors": torch._C._autograd._top_saved_tensors_default_hooks(True) is None,
        "closed": [stream.closed or stream.buffer.closed for stream in (sys.stdout, sys.stderr)],
        "profile": sys.getprofile(),
        "functions": [[vars(owner).get(attribute)] for owner, attribute, _ in PATCHES.values()],
    }


@pytest.fixture(scope="module")
def twins() -> dict[str, pd.DataFrame]:
    """Scores with a plug-in of each kind that does nothing but its work."""
    return {kind: run(kind, HostilePlugin()) for kind in KINDS}


@st.composite
def hostile_plugins(draw: st.DrawFn) -> tuple[str, HostilePlugin]:
    """A kind of plug-in, and one to three misdeeds."""
    kind = draw(st.sampled_from(KINDS))
    settings = st.sampled_from(STATES)
    deeds = st.one_of(settings, st.sampled_from(sorted(DEEDS)), st.sampled_from(sorted(PATCHES)))
    before = draw(st.lists(settings.filter(lambda state: state[0] not in COMPUTING), max_size=1))
    after = draw(st.lists(deeds, max_size=2))
    value = draw(st.none() | st.sampled_from(sorted(HARMLESS)) | st.sampled_from(values_to_draw(kind)))
    error = draw(st.none() | st.sampled_from(sorted(ERRORS)))
    every_call = value in VALUES and not error
    calls = None if every_call else draw(st.none() | st.frozensets(st.integers(1, 8), min_size=1, max_size=2))
    return kind, HostilePlugin(tuple(before), tuple(after), value, error, calls)


def values_to_draw(kind: str) -> list[str]:
    """Faults of values that can be told from right values of a kind: a cost belongs to a batch, not to an image."""
    right = {"cost": {"order", "scale of the batch", "mean of the batch", "random", "one too few", "empty", "bool"}}
    return sorted(VALUES.keys() - (set() if kind == "explainer" else right.get(kind, {"bool"})))


@given(hostile_plugins())
def test_a_hostile_plug_in_costs_its_own_cells_at_most(twins: dict[str, pd.DataFrame], monkeypatch, case) -> None:
    """Scores of others and the process are as without it; its own scores are its twin's, or none with a reason."""
    kind, hostile = case
    KEPT.clear()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO()))
    monkeypatch.setattr(sys, "stderr", TextIOWrapper(BytesIO()))
    before = read_surroundings()
    try:
        scores = run(kind, hostile)
        changed = [name for name, value in read_surroundings().items() if value != before[name]]
    finally:
        imputers.entries.pop("hostile", None)
        put_back(before)
    assert changed == [], changed
    twin = twins[kind]
    is_own = np.array(["hostile" in (explainer, metric) for explainer, metric, _ in scores.index])
    assert scores.index.equals(twin.index)
    assert scores[~is_own].equals(twin[~is_own])
    own, right = scores[is_own], twin[is_own]
    differing = own[(own["value"] != right["value"]) & (own["status"] == "ok")]
    assert differing.empty, f"{differing} instead of {right}"
    for reason in own.loc[own["status"] != "ok", "reason"]:
        assert reason
        assert len(reason.splitlines()) == 1
        assert len(reason) < 2000
    event(f"{kind}: {', '.join(sorted(set(own['status'])))}")


def put_back(surroundings: dict[str, Any]) -> None:
    """The test's own way back, so that one failing case is not the end of all others."""
    for (owner, attribute, _), (original,) in zip(PATCHES.values(), surroundings["functions"], strict=True):
        if original is not None:
            setattr(owner, attribute, original)
        elif attribute in vars(owner):
            delattr(owner, attribute)
    write_settings({name: surroundings[name] for name in SETTINGS})
