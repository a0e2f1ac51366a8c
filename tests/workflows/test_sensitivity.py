"""Rankings under other settings of a metric: tau by hand, every combination run, known truth found under all."""

import json

import pytest

from mavis.core.errors import ProtocolError
from mavis.engine.planning.request import Request
from mavis.protocol import loading
from mavis.protocol.schema import SensitivityRules
from mavis.workflows import sensitivity
from mavis.workflows.sensitivity import Setting, label_settings, mean_kendall_tau


def setting(**means: float | None) -> Setting:
    return Setting(16, {}, means)


def test_tau_is_the_mean_over_all_pairs_of_settings() -> None:
    """Three orders of three methods: one pair agrees, two differ in one of three comparisons (tau 1/3)."""
    orders = [setting(a=1, b=2, c=3), setting(a=10, b=20, c=30), setting(a=2, b=1, c=3)]
    assert mean_kendall_tau(orders) == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)
    assert mean_kendall_tau([orders[0], setting(a=3, b=2, c=1)]) == pytest.approx(-1)


def test_methods_without_a_value_are_left_out_pair_by_pair() -> None:
    """A method that one setting does not score says nothing there; all ties are no agreement."""
    assert mean_kendall_tau([setting(a=1, b=2, c=None), setting(a=1, b=2, c=0)]) == pytest.approx(1)
    assert mean_kendall_tau([setting(a=1, b=1), setting(a=1, b=2)]) == 0
    assert mean_kendall_tau([setting(a=1), setting(a=2)]) is None
    assert mean_kendall_tau([setting(a=1, b=2)]) is None


def test_every_combination_has_its_label() -> None:
    """Two imputers times two numbers of points are four settings, each a metric of its own in the protocol."""
    rules = SensitivityRules(metrics={"nsrg": {"imputers": (["mean"], ["blur"]), "points": (5, 9)}})
    found = list(label_settings(rules))
    assert [label for label, _, _ in found] == ["nsrg@0", "nsrg@1", "nsrg@2", "nsrg@3"]
    assert found[1] == ("nsrg@1", "nsrg", {"imputers": ["mean"], "points": 9})


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[sensitivity.Stability, ...]:
    """Two methods on the hand-wired model, under two grids and two numbers of points."""
    body = loading.load_protocol("quick").model_dump(mode="json", by_alias=True)
    body["data"]["groups"] = ["shade"]
    body["sensitivity"] = {
        "grids": [8, 16],
        "metrics": {"nsrg": {"imputers": [["mean"]], "points": [5, 21]}, "deletion": {"points": [5]}},
    }
    rules = loading.parse_protocol(body, "test")
    asked = Request(
        ("mask_mean",), "planted_square", explainers=("saliency", "input_x_gradient"), limit=8, device="cpu",
        protocol=rules,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("grid")
    found = sensitivity.run_sensitivity(asked, folder)
    written = json.loads((folder / "sensitivity.json").read_text())
    assert [one["tau"] for one in written] == [one.tau for one in found]
    assert sorted(path.name for path in folder.iterdir()) == ["grid16", "grid8", "sensitivity.json"]
    return found


def test_every_setting_is_run(planted: tuple[sensitivity.Stability, ...]) -> None:
    """Per metric every grid with every combination; controls take no part."""
    nsrg, deletion = planted
    assert [(s.grid, s.params["points"]) for s in nsrg.settings] == [(8, 5), (8, 21), (16, 5), (16, 21)]
    assert [s.grid for s in deletion.settings] == [8, 16]
    assert all(set(s.means) == {"saliency", "input_x_gradient"} for s in nsrg.settings)
    assert (nsrg.higher_is_better, deletion.higher_is_better) == (True, False)


def test_the_exact_method_leads_under_every_setting(planted: tuple[sensitivity.Stability, ...]) -> None:
    """The gradient of the hand-wired mean is the planted mask: nothing is above it, whatever the setting."""
    for one in planted:
        best = max if one.higher_is_better else min
        for tried in one.settings:
            assert tried.means["saliency"] == pytest.approx(best(m for m in tried.means.values() if m is not None))
        assert "saliency" in one.winners
    assert [s.means["saliency"] for s in planted[0].settings if s.params["points"] == 21] == pytest.approx([0.75, 0.75])


def test_a_protocol_that_varies_nothing_is_refused(tmp_path) -> None:
    """Without the section there is nothing to compare, and the error says where to put it."""
    rules = loading.load_protocol("quick").model_copy(update={"sensitivity": None})
    with pytest.raises(ProtocolError, match="has no 'sensitivity'"):
        sensitivity.run_sensitivity(Request(("mask_mean",), protocol=rules), tmp_path)
