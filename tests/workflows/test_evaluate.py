"""The notebook's way in: the same run from Python."""

import pytest
import torch
from torch import nn

import mavis
from mavis.core.errors import MavisError, ModelError

SMALL = {"explainers": ["saliency"], "metrics": ["nsrg", "gini", "valid"], "groups": ["race"], "limit": 14}


def test_public_names_are_what_they_say():
    """Everything that mavis offers is there, and nothing else is listed."""
    assert dir(mavis) == mavis.__all__ == sorted(mavis.__all__)
    assert all(getattr(mavis, name) is not None for name in mavis.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mavis.nothing


def test_a_registered_model_gives_tables_summary_and_a_page(tmp_path):
    """The result has one row per image, explainer and metric with its groups, a text and an HTML view."""
    result = mavis.evaluate("race_resnet", **SMALL, out=tmp_path / "run")
    frame = result.to_frame()
    assert {"image", "explainer", "metric", "value", "status", "race", "predicted"} <= set(frame.columns)
    assert len(frame) == 14 * 6 * 3
    assert "saliency" in result.summary()
    assert result._repr_html_().startswith("<iframe")
    assert result.findings.protocol.overrides


def test_a_bare_network_is_evaluated_on_the_data_s_classes():
    """A torch module of seven logits is wrapped; what it lacks is said, and its copy alone is changed."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, 4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7)
    )
    result = mavis.evaluate(net, "synthetic_faces", **SMALL)
    assert result.findings.models[0].model == "Sequential"
    assert result.findings.models[0].recommendation.status == "refused"
    assert net[1].inplace
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_network_of_other_classes_is_refused():
    """Two logits do not answer a question with seven answers."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(ModelError, match=r"must return logits .* got"):
        mavis.evaluate(net, "synthetic_faces", **SMALL)
    with pytest.raises(MavisError, match="at least one model"):
        mavis.evaluate([])
