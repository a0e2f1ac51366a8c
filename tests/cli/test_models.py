"""Any model by its spec: a run goes to the end, and every pair of explainer and metric has a score or a reason."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mavis.cli import app
from mavis.core import registry
from mavis.engine.store import Store

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
TINY_VIT = """
import torch
from torchvision.models import VisionTransformer
from mavis.models.loading.weights import random_network

def net():
    def make():
        return VisionTransformer(image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
                                 num_classes=7)
    return random_network(make, 64)
"""


def call(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A working folder with a small transformer and a cheap protocol."""
    from mavis.protocol import loading

    (tmp_path / "my_vit.py").write_text(TINY_VIT, encoding="utf-8")
    rules = loading.load_protocol("quick").model_dump(mode="json", by_alias=True)
    rules |= {"protocol": "cheap", "agreement": None, "reliability": None, "sensitivity": None}
    rules["explainers"]["settings"] = LIGHT
    rules["metrics"] |= {"deletion": {"imputer": "mean", "points": 3}, "nsrg": {"imputers": ["mean"], "points": 3}}
    (tmp_path / "cheap.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("my_vit", None)


def whole_run(spec: str, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Runs every method on seven images; per explainer whether it is supported, unsupported or degenerate."""
    names = [e.name for e in registry.explainers if e.traits.role == "method" and e.name not in without]
    settings = ["--metrics", ",".join(METRICS), "--protocol", "cheap.yaml", "--limit", 7, "--out", "out"]
    result = call("run", "--model", spec, "--explainers", ",".join(names), *settings)
    assert result.exit_code == 0, result.output
    identity, scores = Store.open_existing(Path("out")).identity(), Store.open_existing(Path("out")).scores()
    model = next(iter(identity["models"]))
    reasons = {(explainer, metric): why for explainer, metric, why in identity["skipped"][model]}
    assert all(reasons.values())
    counts = scores[scores["status"].isin(["ok", "undefined"])].groupby(["explainer", "metric"])["image"].nunique()
    for explainer in identity["explainers"]:
        for metric in METRICS:
            assert ((explainer, metric) in reasons) != (counts.get((explainer, metric), 0) == 7), (explainer, metric)
    return {name: found["status"] for name, found in identity["support"][model]["explainers"].items()}


def test_a_model_of_torchvision_is_run_to_the_end() -> None:
    """A convolutional network without a linear head: all but CAM and what reads attention works."""
    found = whole_run("torchvision:squeezenet1_1", without=frozenset(PER_CHANNEL))
    unfit = {name for name, status in found.items() if status != "supported"}
    assert unfit == {"attention_rollout", "attention_x_gradient", "cam", "gradient_rollout"}


def test_a_transformer_is_run_to_the_end() -> None:
    """Attention is read, CAM methods read the patches; without a ReLU guided backpropagation is the gradient."""
    found = whole_run("my_vit:net")
    assert {found[name] for name in ("attention_rollout", "gradient_rollout", "hirescam", "saliency")} == {"supported"}
    assert {found[name] for name in ("guided_backprop", "deconvnet")} == {"degenerate"}


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
def test_eight_architectures_are_run_to_the_end(name: str) -> None:
    """Residual, dense, squeezed, branching, separable, modern convolutional, transformer with and without windows."""
    found = whole_run(f"torchvision:{name}")
    assert {found[n] for n in ("saliency", "integrated_gradients", "occlusion")} == {"supported"}


def test_doctor_says_what_was_changed_and_what_works() -> None:
    """Preflight's lines, the check's cost, and a table of all explainers."""
    text = call("doctor", "--model", "my_vit:net").stdout
    words = " ".join(text.split())
    assert "my_vit:net: 7 classes" in words
    assert "CAM layer chosen: encoder.layers.encoder_layer_1.ln_1 (tokens)" in words
    assert "explainers tried with" in words
    assert "guided_backprop degenerate equals saliency" in words
    assert "Everything is in order." in words


def test_doctor_says_what_is_wrong_with_a_model() -> None:
    """One that does not answer."""
    Path("my_bad.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(5, 7)\n", encoding="utf-8")
    result = call("doctor", "--model", "my_bad:net")
    assert result.exit_code == 1
    assert "wrong: 'my_bad:net' cannot be evaluated on images" in " ".join(result.output.split())


def test_explainers_are_listed_by_whether_they_work_on_a_model() -> None:
    """As a table and as JSON, with the reason and with the error of what claims to add up."""
    table = " ".join(call("list", "explainers", "--model", "my_vit:net").stdout.split())
    assert "attention_rollout supported" in table
    assert "lrp" in table
    found = json.loads(call("list", "explainers", "--model", "my_vit:net", "--json").stdout)
    assert found["explainers"]["guided_backprop"]["reason"] == "equals saliency here, since the model has no ReLU"
    assert 0 <= found["explainers"]["integrated_gradients"]["figures"]["completeness"] < 1
    assert set(found["explainers"]) >= {e.name for e in registry.explainers if e.traits.role == "method"}


def test_only_explainers_are_tried_on_a_model() -> None:
    """--model says nothing about metrics."""
    result = call("list", "metrics", "--model", "race_resnet")
    assert result.exit_code == 2
    assert "--model goes with explainers: mavis list explainers --model race_resnet" in result.stderr


def test_a_spec_with_a_typing_error_is_one_line() -> None:
    """Exit code 2, and nothing is written."""
    result = call("run", "--model", "torchvison:resnet18")
    assert result.exit_code == 2
    assert "did you mean 'torchvision'?" in result.stderr
    assert not Path("mavis-runs").exists()
