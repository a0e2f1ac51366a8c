"""mavis list: every kind as a table and as JSON; explainers also by whether they work on a model."""

import json

import pytest

from mavis.core import registry
from mavis.protocol import loading

from .commands import call, error_line, joined

pytestmark = pytest.mark.usefixtures("working_folder")


@pytest.mark.parametrize("kind", ["models", "datasets", "explainers", "metrics", "imputers", "protocols"])
def test_every_name_is_listed(kind: str) -> None:
    """The JSON has every registered name, and the table shows all of them."""
    rows = json.loads(call("list", kind, "--json").stdout)
    text = call("list", kind).stdout
    names = loading.shipped_protocols() if kind == "protocols" else registry.REGISTRIES[kind[:-1]].names()
    assert sorted(row["name"] for row in rows) == sorted(names)
    assert all(name in text for name in names)


def test_an_explainer_has_its_parameters_and_traits() -> None:
    """Defaults and declared traits, in JSON."""
    rows = {row["name"]: row for row in json.loads(call("list", "explainers", "--json").stdout)}
    assert rows["smoothgrad"]["parameters"]["samples"] > 1
    assert rows["smoothgrad"]["traits"]["stochastic"] is True
    assert (rows["random"]["role"], rows["gradcam"]["needs"]) == ("control", "activations, gradient")


def test_a_metric_says_what_it_costs() -> None:
    """Forwards for a curve of 11 points under two imputers; nothing is said of a metric of the map alone."""
    text = joined(call("list", "metrics", width=200).stdout)
    assert "nsrg ↑ -1.5…1.5 · chance 0 · needs forward · cost: " in text
    gini = text[text.index("gini ↑ 0…1") :][:60]
    assert "cost" not in gini


def test_metrics_of_quantus_come_last_with_their_faults() -> None:
    """A refused metric shows its fault in place of its description."""
    text = joined(call("list", "metrics", width=120).stdout)
    assert text.index("valid ↑") < text.index("localisation, of Quantus") < text.index("quantus:AUC ↑")
    assert "Area under the ROC curve of the map against the region. [Quantus 0.6;" in text
    game = text.index("quantus:PointingGame ↑")
    assert text[game:].index("refused: one of several equal maxima") < 100
    assert "Refused metrics run only with --include-faulty." in text


def test_json_of_quantus_is_complete() -> None:
    """Every metric of Quantus, with its description, its traits and open parameters."""
    rows = json.loads(call("list", "metrics", "--json").stdout)
    quantus = [row for row in rows if row["name"].startswith("quantus:")]
    assert rows[-len(quantus) :] == quantus
    assert len(quantus) == 37
    game = next(row for row in quantus if row["name"] == "quantus:PointingGame")
    assert game["about"] == "Whether the map's maximum lies in the region."
    assert game["traits"]["faulty"].endswith("use 'pointing_game'")
    assert game["parameters"] == {"**params": None}
    assert game["cost"] == "its own, not shared"


def test_protocols_have_status_and_hash() -> None:
    """As `mavis protocol list` prints them."""
    rows = {row["name"]: row for row in json.loads(call("list", "protocols", "--json").stdout)}
    assert rows["quick"]["sha256"] == loading.load_protocol("quick").sha256()[:12]
    assert (rows["quick"]["status"], rows["best_practices_v1"]["status"]) == ("preview", "frozen")


def test_explainers_are_tried_on_a_model(tiny_vit: str) -> None:
    """Status, reason and completeness error, as a table and as JSON."""
    table = joined(call("list", "explainers", "--model", tiny_vit).stdout)
    assert "attention_rollout supported" in table
    assert "lrp" in table
    listed = json.loads(call("list", "explainers", "--model", tiny_vit, "--json").stdout)["explainers"]
    assert listed["guided_backprop"]["reason"] == "equals saliency here, since the model has no ReLU"
    assert 0 <= listed["integrated_gradients"]["figures"]["completeness"] < 1
    assert set(listed) >= {entry.name for entry in registry.explainers if entry.traits.role == "method"}


def test_only_explainers_are_tried_on_a_model() -> None:
    """--model with another kind is refused, with the command to use."""
    line = error_line("list", "metrics", "--model", "race_resnet")
    assert "--model goes with explainers: mavis list explainers --model race_resnet" in line
