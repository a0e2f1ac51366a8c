"""The notebook's way in: the same run from Python."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import mavis
from mavis.core.errors import MavisError, ModelError

from ..light import write_light_protocol
from ..memory_data import MeanShade, MemoryData

SMALL = {"explainers": ["saliency"], "metrics": ["nsrg", "gini", "valid"], "groups": ["race"], "limit": 7}


def test_public_names_are_what_they_say():
    """Everything that mavis offers is there, and nothing else is listed."""
    assert dir(mavis) == mavis.__all__ == sorted(mavis.__all__)
    assert all(getattr(mavis, name) is not None for name in mavis.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mavis.nothing


def test_a_registered_model_gives_tables_summary_and_a_page(tmp_path):
    """The result has one row per image, explainer and metric with its groups, a text and an HTML view."""
    result = mavis.evaluate("race_resnet", **SMALL, protocol=str(write_light_protocol(tmp_path)), out=tmp_path / "run")
    frame = result.to_frame()
    assert {"image", "explainer", "metric", "value", "status", "race", "predicted"} <= set(frame.columns)
    assert len(frame) == 7 * 3 * 3
    assert "saliency" in result.summary()
    assert result._repr_html_().startswith("<iframe")
    assert result.findings.protocol.overrides


def test_a_bare_network_is_evaluated_on_the_data_s_classes(tmp_path):
    """A torch module of seven logits is wrapped; what it lacks is said, and its copy alone is changed."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, 4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7)
    )
    result = mavis.evaluate(net, "synthetic_faces", **SMALL, protocol=str(write_light_protocol(tmp_path)))
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


def scored(net: nn.Module) -> pd.DataFrame:
    result = mavis.evaluate(net, explainers=["saliency", "gradcam"], metrics=["nsrg", "gini"], groups=["race"], limit=7)
    key = ["image", "explainer", "metric"]
    return result.to_frame().set_index(key)[["value", "status", "probability"]].sort_index()


def small_net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))


def test_the_caller_s_context_changes_nothing_and_is_not_changed(monkeypatch):
    """Under inference mode, autocast, double precision and NumPy's errors the scores are the same."""
    net = small_net()
    plain = scored(net)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu"), torch.device("meta"), np.errstate(all="raise"):
            random_state = torch.get_rng_state()
            assert scored(net).equals(plain)
            assert torch.get_rng_state().equal(random_state)
            assert torch.is_inference_mode_enabled()
            assert torch.is_autocast_enabled("cpu")
            assert np.geterr()["over"] == "raise"
        assert torch.backends.cudnn.benchmark
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_network_made_in_inference_mode_is_explained():
    """Its copy has ordinary weights, so that gradients are found."""
    plain = scored(small_net())
    with torch.inference_mode():
        net = small_net()
    assert scored(net).equals(plain)


def test_attributes_of_any_name_and_groups_of_any_name_are_reported(tmp_path):
    """Named like own columns, with stars in groups, of equal group names, and with holes: all of it in one run."""
    columns = {
        "brightness": ["x", "x*y"] * 16,
        "status": ["y*z", "y*z", "z", "z"] * 8,
        "hat": ["yes", "no", None, "yes"] * 8,
        "model": ["yes", "no"] * 16,
    }
    groups = ["brightness", "status", "brightness*status", "hat", "model"]
    options = {"explainers": ["saliency"], "metrics": ["valid"], "protocol": str(write_light_protocol(tmp_path))}
    result = mavis.evaluate(MeanShade(), MemoryData(32, columns), groups=groups, **options, out=tmp_path / "run")
    found = result.findings
    assert found.data.groups["brightness"] == {"x": 16, "x*y": 16}
    assert sorted(found.data.groups["brightness*status"].values()) == [8, 8, 8, 8]
    assert found.data.groups["hat"] == {"yes": 16, "no": 8}
    assert found.data.notes == ("8 of 32 sampled images have no value in 'hat', so no group of it.",)
    validity = found.models[0].validity
    assert validity.group_calibration["hat", "yes"] == pytest.approx(validity.group_calibration["model", "no"], abs=1)
    frame = result.to_frame()
    assert set(frame["status"]) == {"ok"}
    assert frame["data:status"].nunique() == frame["data:brightness"].nunique() == 2
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "x*y × z" in page
    assert "x × y*z" in page
    assert "nan" not in {cell.strip().lower() for cell in page.replace("<", ">").split(">")}


def test_tables_are_the_same_under_the_caller_s_options_of_pandas(tmp_path) -> None:
    """Another engine for files, other strings: neither the run nor reading it depends on them."""
    options = {"explainers": ["saliency"], "metrics": ["gini"], "protocol": str(write_light_protocol(tmp_path))}
    result = mavis.evaluate(MeanShade(), MemoryData(8), groups=["side"], limit=8, **options, out=tmp_path / "run")
    table = result.to_frame()
    with pd.option_context("io.parquet.engine", "fastparquet", "mode.string_storage", "python"):
        pd.testing.assert_frame_equal(result.to_frame(), table, check_exact=True)
        assert pd.get_option("io.parquet.engine") == "fastparquet"
