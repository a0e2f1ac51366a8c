"""Quantus metrics as plug-ins: registration, the contract, and the values of those that are not refused."""

import random
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import quantus
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from mavis.core.attribution_maps import Maps
from mavis.core.errors import BadParameter, MavisError
from mavis.core.metric_types import Explanation
from mavis.core.registry import metrics
from mavis.core.seeding import derive_seed
from mavis.engine.execution.explain import MapProducer, ModelTask
from mavis.engine.planning.plan import Components
from mavis.metrics.quantus_catalogue import QUANTUS_METRICS

from .. import toys

NAMES = [entry.name for entry in QUANTUS_METRICS]
SEED = 3
FEW = {"nr_samples": 2}
LIGHT = {
    "Continuity": {"nr_steps": 3},
    "FaithfulnessCorrelation": {"subset_size": 8, "nr_runs": 9},
    "RandomLogit": {"num_classes": 3},
    "TopKIntersection": {"k": 5},
    **dict.fromkeys(["MonotonicityCorrelation", "LocalLipschitzEstimate", "MaxSensitivity", "AvgSensitivity"], FEW),
    **dict.fromkeys([f"Relative{kind}Stability" for kind in ("Input", "Output", "Representation")], FEW),
    "SmoothMPRT": FEW,
}
RAISING = {"SensitivityN": ValueError, "IROF": AssertionError, "ROAD": IndexError, "Focus": TypeError}
REGION = torch.zeros(8, 8, dtype=torch.bool)
REGION[2:5, 2:6] = True


def a_net():
    return toys.make_model(toys.Pooled(), cam_layer="relu")


def linear():
    """A linear net with a layer, whose saliency does not depend on the image."""
    layer = nn.Linear(3 * 8 * 8, 2)
    layer.weight.data = torch.randn(2, 3 * 8 * 8, generator=torch.Generator().manual_seed(1))
    return toys.make_model(nn.Sequential(nn.Flatten(), layer))


def a_batch(images=None):
    images = toys.random_images(3) if images is None else images
    return toys.make_batch(images, regions=REGION.expand(len(images), 8, 8))


def score(name, model_pass, explain=None, values=None, explainer="input_x_gradient", target=0, **params):
    """A Quantus metric's scores ``(B,)`` of an explainer, or of maps and a function of one's own."""
    part, targets = toys.make_explainer(explainer), toys.targets(model_pass, target)
    explaining = MapProducer(
        ModelTask(
            model_pass.model, None, Components((part,), ()), {}, model_pass.mean, model_pass.seed, 2, model_pass.chunk
        )
    )
    values = explaining.pixel_values(part, model_pass, targets) if values is None else values
    explained = Explanation(Maps.from_values(values, 2), model_pass, targets)
    return metrics[f"quantus:{name}"].create(params).score(explained, explain or explaining.as_function(part))


@cache
def lightly(name, rows=(0, 1, 2)):
    """Scores of some rows of one batch, by image."""
    images = toys.random_images(3)[list(rows)]
    batch = replace(a_batch(images), ids=tuple(f"toy/{row}" for row in rows))
    model_pass = toys.make_pass(a_net(), batch, seed=SEED)
    return dict(zip(batch.ids, score(name, model_pass, **LIGHT.get(name, {})).tolist(), strict=True))


WORKING = [name for name in NAMES if name not in RAISING]

# Registration.


def test_registering_does_not_import_quantus():
    """The names are there without the seconds that the import takes."""
    code = (
        "import sys; from mavis.core import registry as r; print('quantus:AUC' in r.metrics, 'quantus' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["True", "False"]


# The contract.


@pytest.mark.parametrize("name", WORKING)
def test_values_are_in_range_or_none(name):
    """On 3 images each metric has a number within its range, or none."""
    low, high = metrics[f"quantus:{name}"].traits.range
    values = np.array(list(lightly(name).values()))
    assert np.isfinite(values).any()
    assert low is None or np.nanmin(values) >= low - 1e-6
    assert high is None or np.nanmax(values) <= high + 1e-6


@pytest.mark.parametrize("name", WORKING)
def test_no_value_depends_on_the_batch(name):
    """An image has the same score alone, in any order, and whatever was scored before."""
    expected = lightly(name)
    assert lightly(name, (2, 1, 0)) == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
    assert lightly(name, (1,))["toy/1"] == pytest.approx(expected["toy/1"], rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("name", WORKING)
def test_nothing_is_left_behind(name, capfd):
    """Images, maps, weights, hooks and all generators are as before; nothing is printed, no model is kept."""
    model, values = a_net(), torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(2))
    model_pass = toys.make_pass(model, a_batch(toys.random_images(1)), seed=SEED)
    before = [t.clone() for t in (model_pass.images, values, *model.net.state_dict().values())]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    score(name, model_pass, values=values, **LIGHT.get(name, {}))
    assert all(map(torch.equal, before, (model_pass.images, values, *model.net.state_dict().values())))
    assert not any(m._forward_hooks or m._backward_hooks for m in model.net.modules())
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])
    assert capfd.readouterr() == ("", "")
    assert quantus.PyTorchModel._get_last_softmax_layer_index.cache_info().currsize == 0


def test_what_quantus_prints_and_writes_stays_with_it(capfd):
    """Raw signed maps make it print a warning, and Complexity divides them in place; nobody sees either."""
    maps = Maps.from_values(torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)), 2)
    before = maps.values.clone()
    model_pass = toys.make_pass(a_net(), a_batch(toys.random_images(1)))
    metric = metrics["quantus:Complexity"].create({"abs": False, "normalise": False})
    assert metric.score(Explanation(maps, model_pass, toys.targets(model_pass)), None).isfinite().all()
    assert torch.equal(maps.values, before)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "error"), RAISING.items())
def test_what_raises_for_every_image_is_a_failure(name, error):
    """Where Quantus has no value for any image, its own exception is passed on."""
    with pytest.raises(error):
        lightly(name)


# Maps, regions, parameters and errors.


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, float("nan"), float("inf")])
def test_maps_that_quantus_does_not_take_have_no_value(value):
    """A constant, zero, NaN or infinite map has no value, be it alone or beside another."""
    good = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    for values in (torch.full((1, 8, 8), value), torch.cat([torch.full((1, 8, 8), value), good])):
        scores = score("Sparseness", toys.make_pass(a_net(), a_batch(toys.random_images(len(values)))), values=values)
        assert scores.isnan().tolist() == [True, False][: len(values)]


def test_a_draw_whose_map_has_a_nan_is_not_passed_over():
    """Quantus would take the mean of the other draws."""
    model_pass, calls = toys.make_pass(a_net(), a_batch(toys.random_images(1))), []

    def explain(model, images, targets):
        calls.append(1)
        actual = images[:, 0].clone()
        actual[:, 0, 0] = float("nan") if len(calls) == 2 else 1.0
        return actual

    assert score("AvgSensitivity", model_pass, explain=explain, values=model_pass.images[:, 0], **FEW).isnan().all()


def test_a_map_below_zero_everywhere_has_no_value():
    """Quantus refuses it, although its order says something."""
    values = -1 - torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert score("AUC", toys.make_pass(a_net(), a_batch(toys.random_images(1))), values=values).isnan().all()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", [entry.name for entry in QUANTUS_METRICS if entry.truth])
def test_an_empty_or_full_region_has_no_value(name, full):
    """Where the region is nothing or everything there is nothing to find."""
    model_pass = toys.make_pass(a_net(), toys.make_batch(toys.random_images(1), regions=torch.full((1, 8, 8), full)))
    assert score(name, model_pass, **LIGHT.get(name, {})).isnan().all()


def test_an_oracle_has_no_value_where_images_change():
    """Changed images have no planted truth: that is no failure, and metrics of the map alone have a value."""
    model_pass = toys.make_pass(a_net(), a_batch(toys.random_images(2)))
    assert score("MaxSensitivity", model_pass, explainer="oracle", **FEW).isnan().all()
    assert score("AUC", model_pass, explainer="oracle").tolist() == [1, 1]


def test_an_explainer_s_own_draws_are_not_taken_for_a_change():
    """A random map that does not depend on the image is perfectly stable."""
    model_pass = toys.make_pass(a_net(), a_batch(toys.random_images(2)))
    assert score("MaxSensitivity", model_pass, explainer="random", **FEW).tolist() == [0, 0]


def refusing(error):
    """An explainer that fails on bright images."""

    def explain(model, images, targets):
        if images.mean() > 1:
            raise error
        return images[:, 0]

    return explain


def test_an_image_on_which_quantus_raises_costs_only_itself():
    """The others have the values that they have alone."""
    images = toys.random_images(3)
    images[1] += 5
    model_pass = toys.make_pass(a_net(), a_batch(images))
    scores = score("MaxSensitivity", model_pass, explain=refusing(ValueError("no")), values=images[:, 0], nr_samples=2)
    assert scores.isnan().tolist() == [False, True, False]


def test_where_all_images_raise_the_first_exception_is_passed_on():
    """So that the cell is a failure, with its reason, and not undefined."""
    images = toys.random_images(2) + 5
    with pytest.raises(ValueError, match="no"):
        score(
            "MaxSensitivity",
            toys.make_pass(a_net(), a_batch(images)),
            explain=refusing(ValueError("no")),
            values=images[:, 0],
            nr_samples=2,
        )


def test_a_full_memory_is_not_an_undefined_value():
    """It is passed on, so that the block is begun again with less."""
    images = toys.random_images(2)
    images[1] += 5
    with pytest.raises(torch.OutOfMemoryError):
        score(
            "MaxSensitivity",
            toys.make_pass(a_net(), a_batch(images)),
            explain=refusing(torch.OutOfMemoryError("full")),
            values=images[:, 0],
            nr_samples=2,
        )


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("AUC", {"kk": 3}, "'quantus:AUC' has no parameter 'kk'; it takes: abs, normalise, normalise_func"),
        ("AUC", {"display_progressbar": True}, "has no parameter 'display_progressbar'"),
        ("AUC", {"return_aggregate": True}, "has no parameter 'return_aggregate'"),
        ("RegionPerturbation", {"order": "lerf"}, "has no parameter 'order'"),
        ("AttributionLocalisation", {"weighted": True}, "has no parameter 'weighted'"),
        ("Continuity", {"perturb_baseline": "white"}, "has no parameter 'perturb_baseline'"),
        ("MPRT", {"layer_order": "sideways"}, "does not accept layer_order='sideways'"),
        ("Infidelity", {"loss_func": "mae"}, "loss_func must be in"),
        ("MaxSensitivity", {"perturb_func": "gaussian"}, "perturb_func names a function of Quantus, got 'gaussian'"),
    ],
)
def test_parameters_are_checked_before_any_work(name, params, message):
    """What the class does not take, or Quantus refuses, ends with one line that says so."""
    with pytest.raises(BadParameter, match=re.escape(message)):
        metrics[f"quantus:{name}"].create(params)


def test_a_class_that_this_quantus_lacks_is_named(monkeypatch):
    """Another version of Quantus may have fewer metrics."""
    monkeypatch.delattr(quantus, "AUC")
    with pytest.raises(MavisError, match=r"Quantus .* has no metric 'AUC'; install"):
        metrics["quantus:AUC"].create()


def test_a_function_of_quantus_is_given_by_its_name():
    """Uniform noise by name is the default; Gaussian noise gives other values."""
    model_pass = toys.make_pass(a_net(), a_batch(toys.random_images(1)), seed=SEED)
    usual = score("MaxSensitivity", model_pass, nr_samples=2)
    assert torch.equal(usual, score("MaxSensitivity", model_pass, nr_samples=2, perturb_func="batch_uniform_noise"))
    assert not torch.equal(
        usual, score("MaxSensitivity", model_pass, nr_samples=2, perturb_func="batch_gaussian_noise")
    )


# What the explainer is asked.


def test_the_explainer_gets_the_model_quantus_hands_over():
    """First the model itself, then copies whose weights differ but for the name; images and targets as tensors."""
    model_pass, seen = toys.make_pass(a_net(), a_batch(toys.random_images(1))), []

    def explain(model, images, targets):
        seen.append((model, images, targets))
        return images[:, 0] if model is model_pass.model else 0.5 - images[:, 0]

    scores = score(
        "MPRT", model_pass, explain=explain, values=model_pass.images[:, 0], target=2, abs=False, normalise=False
    )
    assert seen[0][0] is model_pass.model
    assert [model.cam_layer for model, _, _ in seen] == ["relu"] * 4
    assert [torch.equal(m.net.head.weight, model_pass.model.net.head.weight) for m, _, _ in seen] == [True] * 2 + [
        False
    ] * 2
    assert all(torch.equal(images, model_pass.images) and targets.tolist() == [2] for _, images, targets in seen)
    assert scores.tolist() == pytest.approx([-1])  # the mean over layers, without the 1 of the model as it was


def test_draws_come_from_the_run_s_seed_and_the_image():
    """Max-sensitivity of the red channel is that of the noise drawn by hand from the documented seed."""
    model_pass = toys.make_pass(a_net(), a_batch(toys.random_images(2)), seed=SEED)
    scores = score(
        "MaxSensitivity", model_pass, explain=lambda model, x, t: x[:, 0], values=model_pass.images[:, 0], nr_samples=4
    )
    for row, image in enumerate(model_pass.ids):
        draws = np.random.RandomState(derive_seed(SEED, image, "quantus:MaxSensitivity") % 2**32)
        red = model_pass.images[row, 0].numpy().ravel()
        longest = max(np.linalg.norm(draws.uniform(-0.2, 0.2, 192)[:64]) for _ in range(4))
        assert scores[row].item() == pytest.approx(longest / np.linalg.norm(red), rel=1e-5)


def test_another_seed_gives_other_draws():
    """The run's seed decides."""
    first, second = (toys.make_pass(a_net(), a_batch(toys.random_images(1)), seed=seed) for seed in (1, 2))
    assert score("AvgSensitivity", first, **FEW).item() != score("AvgSensitivity", second, **FEW).item()


# Those that are not refused, on closed forms.


def on_map(name, values, **params):
    return score(name, toys.make_pass(a_net(), a_batch(toys.random_images(1))), values=values[None], **params).item()


def test_auc_is_scikit_learn_s():
    """Ties count half."""
    values = torch.randint(0, 4, (8, 8), generator=torch.Generator().manual_seed(0)).float()
    assert on_map("AUC", values) == pytest.approx(roc_auc_score(REGION.ravel(), values.ravel()))


def test_attribution_localisation_is_a_share_of_absolute_values():
    """3 inside and −1 outside are three quarters inside."""
    values = torch.zeros(8, 8)
    values[2, 2], values[7, 7] = 3, -1
    assert on_map("AttributionLocalisation", values) == pytest.approx(0.75)


def test_complexity_metrics_of_four_equal_pixels():
    """Four equal pixels of 64, sign aside: Gini 60/64, entropy ln 4, and four of them."""
    values = torch.zeros(8, 8)
    values[0, :4] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert on_map("Sparseness", values) == pytest.approx(60 / 64, abs=1e-4)
    assert on_map("Complexity", values) == pytest.approx(np.log(4), abs=1e-4)
    assert on_map("EffectiveComplexity", 1e-9 * values) == 4


@pytest.mark.parametrize("name", [k.name for k in QUANTUS_METRICS if k.category == "robustness" and not k.faulty])
def test_the_saliency_of_a_linear_model_does_not_move(name):
    """Its gradient is the same everywhere, so every change is 0."""
    model_pass = toys.make_pass(linear(), a_batch(toys.random_images(1)))
    params = {**LIGHT[name], **({"return_nan_when_prediction_changes": False} if name.startswith("Relative") else {})}
    assert score(name, model_pass, explainer="saliency", **params).item() == pytest.approx(0, abs=1e-6)


def test_a_draw_that_changes_the_prediction_leaves_no_relative_stability():
    """Noise turns the sign of a sum just below 0; Quantus has a value only if it is told not to mind."""
    net = toys.Linear(torch.stack([torch.ones(3, 8, 8), -torch.ones(3, 8, 8)]))
    model_pass = toys.make_pass(toys.make_model(net), a_batch(toys.random_images(1) - 0.52))

    def stability(**params):
        red = model_pass.images[:, 0]
        return score("RelativeInputStability", model_pass, explain=lambda m, x, t: x[:, 0], values=red, **FEW, **params)

    assert stability().isnan().all()
    assert stability(return_nan_when_prediction_changes=False).isfinite().all()
