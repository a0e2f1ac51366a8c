"""Any model by its spec: a run goes to the end, and every pair of explainer and metric has a score or a reason."""

from pathlib import Path

import pytest
import yaml

from mavis.core import registry
from mavis.engine.store import Store
from mavis.protocol import loading

from .commands import call

LIGHT = {
    "anti_oracle": {"draws": 1},
    "blur_ig": {"steps": 2},
    "deeplift_shap": {"baselines": 2},
    "expected_gradients": {"samples": 2},
    "feature_ablation": {"cells": 2},
    "guided_ig": {"steps": 2},
    "integrated_gradients": {"steps": 2},
    "kernel_shap": {"samples": 16, "cells": 2},
    "lime": {"samples": 16, "cells": 2},
    "occlusion": {"window": 0.5, "stride": 0.5},
    "oracle": {"draws": 1},
    "rise": {"masks": 4},
    "shapley_sampling": {"permutations": 2, "cells": 2},
    "smoothgrad": {"samples": 2},
    "smoothgrad_squared": {"samples": 2},
    "vargrad": {"samples": 2},
}
METRICS = ["valid", "gini", "deletion", "completeness"]
PER_CHANNEL = {"ablationcam", "scorecam"}
"""As many forwards as the layer has channels: with the big models only."""

BIG = [
    "densenet121",
    "inception_v3",
    "mobilenet_v3_small",
    "convnext_tiny",
    "resnet18",
    "squeezenet1_1",
    "swin_t",
    "vit_b_16",
]


@pytest.fixture(autouse=True)
def cheap_protocol(tiny_vit: str) -> None:
    """A protocol with the least of everything, beside a small transformer, in the working folder."""
    protocol = loading.load_protocol("quick").model_dump(mode="json", by_alias=True)
    protocol |= {"protocol": "cheap", "agreement": None, "reliability": None, "sensitivity": None}
    protocol |= {"reliance": {"draws": 1}, "variants": {"per_group": 1}}
    protocol["explainers"] |= {"settings": LIGHT, "controls": ["random"]}
    protocol["gates"]["controls"]["against"] = ["random"]
    protocol["aggregate"] |= {"bootstrap": 100, "permutations": 100}
    protocol["metrics"] |= {"deletion": {"imputer": "mean", "points": 3}, "nsrg": {"imputers": ["mean"], "points": 3}}
    Path("cheap.yaml").write_text(yaml.safe_dump(protocol), encoding="utf-8")


def whole_run(spec: str, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Runs every method on seven images; per explainer whether it is supported, unsupported or degenerate."""
    names = [e.name for e in registry.explainers if e.traits.role == "method" and e.name not in without]
    settings = ["--metrics", ",".join(METRICS), "--protocol", "cheap.yaml", "--limit", 7, "--out", "out"]
    result = call("run", "--model", spec, "--explainers", ",".join(names), *settings)
    assert result.exit_code == 0, result.output
    identity, scores = Store.open_existing(Path("out")).identity(), Store.open_existing(Path("out")).scores()
    model = next(iter(identity["models"]))
    reasons = {(explainer, metric): reason for explainer, metric, reason in identity["skipped"][model]}
    assert all(reasons.values())
    counts = scores[scores["status"].isin(["ok", "undefined"])].groupby(["explainer", "metric"])["image"].nunique()
    for explainer in identity["explainers"]:
        for metric in METRICS:
            assert ((explainer, metric) in reasons) != (counts.get((explainer, metric), 0) == 7), (explainer, metric)
    return {name: report["status"] for name, report in identity["support"][model]["explainers"].items()}


def test_a_model_of_torchvision_is_run_to_the_end() -> None:
    """A convolutional network without a linear head: all but CAM and what reads attention works."""
    statuses = whole_run("torchvision:squeezenet1_1", without=frozenset(PER_CHANNEL))
    unsupported = {name for name, status in statuses.items() if status != "supported"}
    assert unsupported == {"attention_rollout", "attention_x_gradient", "cam", "gradient_rollout"}


def test_a_transformer_is_run_to_the_end() -> None:
    """Attention is read, CAM methods read the patches; without a ReLU guided backpropagation is the gradient."""
    statuses = whole_run("my_vit:net")
    assert {statuses[name] for name in ("attention_rollout", "gradient_rollout", "hirescam", "saliency")} == {
        "supported"
    }
    assert {statuses[name] for name in ("guided_backprop", "deconvnet")} == {"degenerate"}


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
def test_eight_architectures_are_run_to_the_end(name: str) -> None:
    """Residual, dense, squeezed, branching, separable, modern convolutional, transformer with and without windows."""
    statuses = whole_run(f"torchvision:{name}")
    assert {statuses[n] for n in ("saliency", "integrated_gradients", "occlusion")} == {"supported"}


def test_a_spec_with_a_typing_error_is_one_line() -> None:
    """Exit code 2, and nothing is written."""
    result = call("run", "--model", "torchvison:resnet18")
    assert result.exit_code == 2
    assert "did you mean 'torchvision'?" in result.stderr
    assert not Path("mavis-runs").exists()
